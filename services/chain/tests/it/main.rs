//! The chain service over its own gRPC client, on a real store; and its binary.

mod binary;
mod blocks;
mod fixture;
mod pool;
