//! What the `eth` status handshake says of this chain.

use crate::chain::{Chain, Head};
use quintet_chain_api::LinkStatus;
use quintet_chainspec::Head as ForkHead;
use quintet_eth_wire::BlockRange;

/// The status at `head`, for the instance with this identity.
pub(crate) fn link_status(chain: &Chain, head: &Head, identity: u32) -> LinkStatus {
    let spec = &chain.spec;
    let at = ForkHead { number: head.block.number, timestamp: head.header.timestamp };
    let fork = spec.fork_id(at);
    LinkStatus {
        network_id: chain.config.network_id,
        genesis: spec.genesis_hash(),
        head: head.block,
        total_difficulty: head.total_difficulty,
        fork_hash: fork.hash.0,
        fork_next: fork.next,
        earliest_block: EARLIEST_BLOCK,
        identity,
    }
}

/// The blocks that peers can have, for `eth/69`.
pub(crate) const fn block_range(head: &Head) -> BlockRange {
    BlockRange { earliest: EARLIEST_BLOCK, latest: head.block.number, latest_hash: head.block.hash }
}

/// Blocks are never pruned.
const EARLIEST_BLOCK: u64 = 0;
