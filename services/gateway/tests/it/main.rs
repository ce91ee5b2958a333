//! The gateway over real sockets, on real chains.

mod chain;
mod conformance;
mod protocol;
mod reads;
