//! Names of nodes: keys, `enode://` URLs, and signed records (EIP-778); and the networks in which they are.
//!
//! A node is known by its public key, which [`PublicKey`] holds as discovery and RLPx write it: 64 bytes, no leading
//! `04`. Its place among the others is [`node_id`], the keccak of that. Nothing here touches the network; only
//! [`NodeKey::load_or_create`] touches the disk. Texts from outside are refused in geth's words.

mod base64url;
mod enode;
mod error;
mod identity;
mod key;
mod key_file;
mod net;
mod record;
mod url;

pub use alloy_eip2124::{ForkHash, ForkId};
pub use enode::Enode;
pub use error::{EnodeError, KeyError, RecordError};
pub use identity::IdentityArgs;
pub use key::{NodeKey, PublicKey, from_secp, node_id, to_secp};
pub use net::{Netlist, NetlistError, is_lan, may_relay, subnet};
pub use record::{MAX_RECORD_SIZE, Record, RecordBuilder};
