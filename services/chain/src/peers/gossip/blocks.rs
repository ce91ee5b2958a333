//! Gossip of blocks: a new one goes whole to the square root of the peers as soon as its header is known to be valid, and
//! once it is imported its hash is announced to the rest. Nobody is told what it has.

use super::put;
use crate::peers::peer::{Peer, PeerId};
use crate::peers::{Peers, outbox::Outbox};
use alloy_primitives::{B256, U256};
use bytes::{Bytes, BytesMut};
use quintet_chain_api::WireProtocol;
use quintet_chainspec::Consensus;
use quintet_eth_wire::{BlockHashNumber, EthMessage, EthMessageId, NewBlock};
use quintet_service::propagation;
use quintet_types::{Block, BlockRef};
use rand::Rng;
use std::sync::Arc;
use tracing::{debug, info_span};

/// How many of so many peers get a whole block: the square root, rounded down, as geth has it.
pub(crate) const fn whole_block_share(peers: usize) -> usize {
    peers.isqrt()
}

/// Keeps `share` of a list, whichever they are.
pub(crate) fn some_of<T>(list: &mut Vec<T>, share: usize, rng: &mut impl Rng) {
    for place in 0..share.min(list.len()) {
        let other = rng.random_range(place..list.len());
        list.swap(place, other);
    }
    list.truncate(share);
}

impl Peers {
    /// Sends a block whole to some of the peers that do not have it. To be called as soon as its header and seal are
    /// known to be valid. `td` is the total difficulty with the block's own.
    pub fn broadcast_block(&self, block: &Block, td: U256) {
        if !self.gossips_blocks(block.header.difficulty.is_zero()) {
            return;
        }
        let hash = block.header.hash_slow();
        let mut lacking = self.lacking(&hash);
        // Who is chosen differs from block to block.
        let share = whole_block_share(lacking.len());
        some_of(&mut lacking, share, &mut rand::rng());
        if lacking.is_empty() {
            return;
        }
        let span = info_span!("broadcast block", otel.kind = "producer", %hash);
        let _entered = span.enter();
        let mut payload = BytesMut::new();
        NewBlock::encode_parts(block, &td, &mut payload);
        debug!(%hash, number = block.header.number, recipients = lacking.len(), "Propagated block");
        tell(&lacking, hash, EthMessageId::NewBlock, "block", &payload.freeze());
    }

    /// Announces a block to all peers that do not have it. To be called once it is imported. Whoever takes blocks one by
    /// one is in sync, so transactions are taken from then on, as in geth.
    pub fn announce_block(&self, block: BlockRef) {
        self.accept_transactions();
        let head = self.shared.chain.head();
        let is_merged = if head.block.hash == block.hash {
            head.header.difficulty.is_zero()
        } else {
            self.shared.chain.spec.is_merged_after(head.total_difficulty)
        };
        if !self.gossips_blocks(is_merged) {
            return;
        }
        let lacking = self.lacking(&block.hash);
        if lacking.is_empty() {
            return;
        }
        let span = info_span!("announce block", otel.kind = "producer", hash = %block.hash);
        let _entered = span.enter();
        let announced = BlockHashNumber { hash: block.hash, number: block.number };
        // The message is the same in every version.
        let message = EthMessage::NewBlockHashes(vec![announced]);
        let payload = message.encode(quintet_eth_wire::EthVersion::Eth68);
        debug!(hash = %block.hash, number = block.number, recipients = lacking.len(), "Announced block");
        tell(&lacking, block.hash, EthMessageId::NewBlockHashes, "announcement", &payload);
    }

    /// Whether blocks are told to peers. Those after the merge are not: peers would break off (EIP-3675). A development network has
    /// no other way.
    fn gossips_blocks(&self, is_merged: bool) -> bool {
        !is_merged || matches!(self.shared.chain.spec.consensus(), Consensus::Dev { .. })
    }

    /// Tells of a block that was mined here and is the head: whole to some, its hash to the rest.
    pub(crate) fn tell_mined(&self, block: &Block) {
        // A node that mines takes itself to be in sync.
        self.accept_transactions();
        let hash = block.header.hash_slow();
        let head = self.shared.chain.head();
        let td = if head.block.hash == hash {
            Some(head.total_difficulty)
        } else {
            // Another one has come since.
            self.shared.chain.store.total_difficulty(&hash).ok().flatten()
        };
        if let Some(td) = td {
            self.broadcast_block(block, td);
        }
        self.announce_block(BlockRef { number: block.header.number, hash });
    }

    fn lacking(&self, hash: &B256) -> Vec<Arc<Peer>> {
        let wanted = |peer: &Arc<Peer>| !peer.has_block(hash) && takes_blocks(&peer.name);
        self.list().into_iter().filter(wanted).collect()
    }
}

/// Whether a client of this name takes blocks by gossip. geth from 1.14 on and reth know no chain that is not merged, and
/// break off, though every version of `eth` has the messages; they stay as peers that fetch and serve.
fn takes_blocks(name: &str) -> bool {
    let mut parts = name.split('/');
    match parts.next() {
        Some("reth") => false,
        // Between the name and the version there may be one that the operator gave.
        Some("Geth") => parts.find_map(release).is_none_or(|release| release < (1, 14)),
        _ => true,
    }
}

/// Major and minor number of a version such as `v1.17.6-stable`.
fn release(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.strip_prefix('v')?.split_once('.')?;
    Some((major.parse().ok()?, rest.split('.').next()?.parse().ok()?))
}

/// Sends the same message to several peers: once over each link and in each version.
fn tell(peers: &[Arc<Peer>], block: B256, id: EthMessageId, what: &'static str, payload: &Bytes) {
    let trace = propagation::current_trace();
    let mut groups: Vec<(&Arc<Outbox>, WireProtocol, Vec<PeerId>)> = Vec::new();
    for peer in peers {
        peer.blocks.lock().insert(block);
        let group = groups
            .iter_mut()
            .find(|(outbox, protocol, _)| Arc::ptr_eq(outbox, &peer.outbox) && *protocol == peer.eth());
        match group {
            Some((_, _, ids)) => ids.push(peer.id),
            None => groups.push((&peer.outbox, peer.eth(), vec![peer.id])),
        }
    }
    for (outbox, protocol, ids) in groups {
        put(outbox, protocol, ids, id, payload, what, &trace);
    }
}

#[cfg(test)]
mod tests {
    use super::{takes_blocks, whole_block_share};

    #[test]
    fn the_share_is_the_square_root() {
        assert_eq!([0, 1, 2, 3, 4, 8, 9, 50, 200].map(whole_block_share), [0, 1, 1, 1, 2, 2, 3, 7, 14]);
    }

    #[test]
    fn clients_that_break_off_at_blocks_are_told_of_none() {
        for (name, is_told) in [
            ("Geth/v1.8.27-stable-4bcc0a37/linux-amd64/go1.10.4", true),
            ("Geth/v1.13.15-stable/linux-amd64/go1.21", true),
            ("Geth/v1.14.0-stable/linux-amd64/go1.22", false),
            ("Geth/v1.17.6-unstable/linux-amd64/go1.25.5", false),
            ("Geth/vault.7/v1.17.6-stable/linux-amd64/go1.25.5", false),
            ("Geth/v2.0.0/linux-amd64", false),
            ("Geth/ours", true),
            ("CoreGeth/v1.12.20-stable/linux-amd64/go1.21", true),
            ("reth/v1.8.2-9c30bf7/x86_64-unknown-linux-gnu", false),
            ("besu/v25.7.0/linux-x86_64/openjdk-java-21", true),
            ("Quintet/v0.1.0/linux-x86_64/rust1.95.0", true),
            ("", true),
        ] {
            assert_eq!(takes_blocks(name), is_told, "{name}");
        }
    }
}
