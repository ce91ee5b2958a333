//! End to end: the node as people run it, a process of its own, spoken to over JSON-RPC.

mod dev;
mod faults;
mod fixture;
mod kill;
mod trace;
