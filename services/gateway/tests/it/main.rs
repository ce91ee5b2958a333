//! The gateway over real sockets, on real chains.

mod binary;
mod chain;
mod edge;
mod edge_access;
mod edge_end;
mod edge_filters;
mod edge_limits;
mod protocol;
mod reads;
mod split;
mod split_faults;
mod split_reads;
