//! The p2p service with scripted chains, scripted peers, and others of its kind; and the binary as its users meet it.

mod binary;
mod chain;
mod chain_spec;
mod discovery;
mod handshakes;
mod hostile;
mod node;
mod peers;
mod trace;
mod wire;
