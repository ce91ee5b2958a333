//! Tests of the EVM against what EIPs and geth say; the vectors are run by the conformance crate.

mod blocks;
mod calls;
mod eip1283;
mod specs;
