//! What tests share: conformance vectors, accounts with keys, the networks that vectors name.
//!
//! For tests only: it panics where a test should fail.

pub mod accounts;
pub mod networks;
pub mod vectors;
