//! The gateway over real sockets, on real chains.

mod binary;
mod chain;
mod protocol;
mod reads;
