//! The chain service over its own gRPC client, on a real store; and its binary.

mod binary;
mod blocks;
mod bulk;
mod engines;
mod failing;
mod fixture;
mod forks;
mod pool;
mod reorgs;
mod sides;
