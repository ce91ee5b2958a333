//! The chain service over its own gRPC client, on a real store; and its binary.

mod adopt;
mod binary;
mod blocks;
mod bulk;
mod doubt;
mod engines;
mod failing;
mod fixture;
mod forks;
mod peers_gossip;
mod peers_hostile;
mod peers_link;
mod peers_requests;
mod peers_rig;
mod peers_serving;
mod pool;
mod postgres;
mod reorgs;
mod sides;
mod snap;
mod sync_fetch;
mod sync_full;
mod sync_history;
mod sync_hostile;
mod sync_net;
mod sync_wire;
