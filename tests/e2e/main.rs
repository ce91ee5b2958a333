//! End to end: the node as people run it, a process of its own, spoken to over JSON-RPC; and the operator's commands.

mod bad_files;
mod chains;
mod dev;
mod faults;
mod fixture;
mod import;
mod kill;
mod load;
mod metrics;
mod peers;
#[path = "../promql.rs"]
mod promql;
mod split_faults;
mod store_faults;
mod suite;
mod trace;
