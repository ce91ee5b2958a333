//! Tests of the EVM against other people's vectors, and of its parts together.

mod archive;
mod blockchain_tests;
mod blocks;
mod calls;
mod eip1283;
mod specs;
mod state_tests;
