//! The genesis files and fork ids of the conformance vectors.

mod classic;
mod fork_ids;
mod genesis;
