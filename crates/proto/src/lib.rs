//! The gRPC contract of the five services, generated from `proto/`: messages, clients and servers, and
//! nothing else. Consensus objects are `bytes`; the comment beside each names its encoding.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]

/// Declares the module of one package.
macro_rules! package {
    ($name:ident) => {
        pub mod $name {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/quintet.", stringify!($name), ".v1.rs"));
            }
        }
    };
}

package!(common);
package!(discovery);
package!(p2p);
package!(chain);
package!(miner);

/// All packages' descriptors, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
