//! The miner against a scripted `ChainService`: in one process, and as a binary over the network.

mod binary;
mod in_process;
mod scripted_chain;
mod trace;
