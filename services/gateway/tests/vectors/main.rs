//! Conformance vectors of others, sent to a gateway over HTTP: the `.io` files of ethereum/execution-apis,
//! Besu's requests and responses, and what geth 1.8 answered on a clique network.
//!
//! Every difference from what they expect fails, except those that `exceptions.rs` lists with a reason. So does a
//! file that was not read, an exception that is no longer needed, and a method that is skipped although it is
//! there.

mod besu;
mod compare;
mod exceptions;
mod execution_apis;
mod geth;
mod node;
mod report;
