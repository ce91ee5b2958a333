//! The chain service over its own gRPC client, on a real store; and its binary.

mod binary;
mod blocks;
mod bulk;
mod doubt;
mod engines;
mod failing;
mod fixture;
mod forks;
mod pool;
mod postgres;
mod reorgs;
mod sides;
