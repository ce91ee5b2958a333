//! The service in this process, the binary, and what they meet: routers, STUN and DNS servers, other nodes.

mod binary;
mod dual;
mod fakes;
mod flood;
mod nat;
mod network;
mod node;
