//! What goes on by itself while there may be peers.

use super::status::block_range;
use super::{Peers, gossip, peer::message};
use crate::error::ChainError;
use quintet_chain_api::Traced;
use quintet_eth_wire::{BlockRange, EthMessage};
use quintet_service::Supervisor;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How far the head must have moved for peers to be told the range of blocks (EIP-7642: an epoch).
const RANGE_STEP: u64 = 32;
/// Heads that follow each other more quickly than this are told together.
const STATUS_PAUSE: Duration = Duration::from_millis(50);

impl Peers {
    /// Starts what goes on by itself: telling of new heads, sending on transactions, asking for announced ones.
    pub fn spawn(&self, supervisor: &Supervisor) {
        let token = supervisor.token();
        supervisor.spawn("peer status", follow_head(self.clone(), token.clone()));
        let pending = self.shared.chain.pool.subscribe_pending();
        supervisor.spawn("transaction relay", gossip::relay(self.clone(), pending, token.clone()));
        supervisor.spawn("transaction fetcher", gossip::fetch_announced(self.clone(), token));
    }
}

/// Tells p2p of each new head, and peers from `eth/69` on of the range of blocks now and then.
async fn follow_head(peers: Peers, token: CancellationToken) -> Result<(), ChainError> {
    let mut heads = peers.shared.chain.heads();
    let mut told = block_range(&peers.shared.chain.head());
    while let Some(Ok(())) = token.run_until_cancelled(heads.changed()).await {
        heads.borrow_and_update();
        peers.send_status();
        let range = block_range(&peers.shared.chain.head());
        if range.latest.abs_diff(told.latest) >= RANGE_STEP || range.latest < told.latest {
            told = range;
            peers.send_range(range);
        }
        if token.run_until_cancelled(tokio::time::sleep(STATUS_PAUSE)).await.is_none() {
            break;
        }
    }
    Ok(())
}

impl Peers {
    fn send_range(&self, range: BlockRange) {
        let update = EthMessage::BlockRangeUpdate(range);
        for peer in self.list().into_iter().filter(|peer| peer.version.has_block_range()) {
            let payload = update.encode(peer.version);
            let value = message(vec![peer.id], peer.eth(), update.id().code(), payload);
            peer.outbox.gossip(Traced::untraced(value));
        }
    }
}
