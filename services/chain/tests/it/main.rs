//! The chain service over its own gRPC client, on a real store.

mod blocks;
mod fixture;
mod pool;
