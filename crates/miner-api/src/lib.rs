//! How other services speak with `miner`: domain types, their conversions from and to the contract's messages,
//! and the gRPC client.
//!
//! The service's trait is the generated `MinerService` itself; over a local transport the client calls it
//! directly.

mod client;
mod convert;
mod types;

pub use client::MinerClient;
pub use convert::{Malformed, address, hash, price, sealer_from_proto, sealer_to_proto, status_to_proto};
pub use types::{MinerStatus, SealerKind, Work};
