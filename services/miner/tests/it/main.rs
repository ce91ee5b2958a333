//! The miner against a scripted `ChainService`: in one process, as several replicas on a real Redis, and as a binary
//! over the network.

mod binary;
mod failover;
mod in_process;
mod orders;
mod replicas;
mod scripted_chain;
mod trace;
mod work;
