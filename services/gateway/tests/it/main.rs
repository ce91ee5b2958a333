//! The gateway over real sockets, on real chains.

mod chain;
mod protocol;
mod reads;
