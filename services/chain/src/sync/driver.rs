//! When to sync: as soon as a peer has a better chain, and every so often in case that went unseen. One sync at a time.

use super::choose::{Chooser, Plan};
use super::context::Context;
use super::network::{Change, Fault, PeerId, PeerView};
use super::{SyncError, report_fault};
use alloy_primitives::U256;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use rand::seq::IndexedRandom as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// A look at all peers is due this often (geth's `forceSyncCycle`).
const FORCED: Duration = Duration::from_secs(10);
/// A peer's new head is the block fetcher's first; if it is still ahead after this, it is a sync's.
const HEAD_PATIENCE: Duration = Duration::from_secs(3);
/// The same for a block whose parent has more work than our head: its parent may be on its way.
const BLOCK_PATIENCE: Duration = Duration::from_millis(500);
/// How long to wait with a peer whose blocks our clock takes to be of the future.
const EARLY_PAUSE: Duration = Duration::from_secs(5);
/// How long to wait with a peer that should be gone.
const GONE_PAUSE: Duration = Duration::from_secs(2);

/// Starts syncs until `token` is cancelled.
pub(crate) async fn drive(context: Arc<Context>, token: CancellationToken) {
    let mut driver = Driver { context, token, chooser: Chooser::default(), look_at: None };
    driver.run().await;
    driver.context.status.end();
}

struct Driver {
    context: Arc<Context>,
    token: CancellationToken,
    chooser: Chooser,
    /// When to look at the peers, if that is before the next forced look.
    look_at: Option<Instant>,
}

type Running = (PeerId, BoxFuture<'static, Result<(), SyncError>>);

impl Driver {
    async fn run(&mut self) {
        let mut changes = self.context.network.changes();
        let mut ticks = interval(FORCED);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running: Option<Running> = None;
        loop {
            let look_at = self.look_at.filter(|_| running.is_none());
            tokio::select! {
                () = self.token.cancelled() => break,
                _ = ticks.tick(), if running.is_none() => running = self.start(true),
                () = until(look_at) => {
                    self.look_at = None;
                    running = self.start(false);
                }
                Some(change) = changes.next() => self.heed(change),
                (peer, outcome) = ended(&mut running) => {
                    self.context.status.end();
                    self.conclude(peer, outcome);
                }
            }
        }
        if let Some((_, sync)) = running {
            let _ = sync.await;
        }
    }

    /// Begins a sync, if there is a peer to sync with. A peer that is one block ahead is left to the block fetcher,
    /// unless it has been for long.
    fn start(&mut self, forced: bool) -> Option<Running> {
        let (context, ours) = (Arc::clone(&self.context), self.context.chain.head());
        let merged = context.chain.spec.is_merged_after(ours.total_difficulty);
        let mut peers = context.network.peers();
        if !forced {
            let next = ours.block.number.saturating_add(1);
            peers.retain(|peer| peer.head.number != Some(next));
        }
        let token = self.token.clone();
        if let Some(master) = self.chooser.best(Instant::now(), &peers, &ours, merged) {
            let plan = self.chooser.plan(master);
            let sync = async move { context.synchronise(plan, &token).await };
            return Some((master.id, sync.boxed()));
        }
        // After the merge nobody announces blocks, and `eth/69` tells of a new head every 32 blocks only.
        let peer = *peers.choose(&mut rand::rng()).filter(|_| forced && merged)?;
        let plan = self.chooser.plan(peer);
        let sync = async move {
            let head = token.run_until_cancelled(context.newer_than(&plan, ours.block)).await;
            let head = head.unwrap_or(Err(SyncError::Cancelled))?;
            let plan = Plan { master: PeerView { head, ..peer }, ..plan };
            context.synchronise(plan, &token).await
        };
        Some((peer.id, sync.boxed()))
    }

    fn heed(&mut self, change: Change) {
        let now = Instant::now();
        let ours = self.context.chain.head();
        let wait = match change {
            Change::Up(_) => Some(Duration::ZERO),
            Change::Down(_) => None,
            Change::Head(_) => Some(HEAD_PATIENCE),
            Change::Announced { peer, blocks, .. } => {
                let far = self.chooser.announced(peer, &blocks, ours.block.number);
                far.then_some(Duration::ZERO)
            }
            Change::Block { block, total_difficulty, .. } => {
                let parent: U256 = total_difficulty.saturating_sub(block.header.difficulty);
                (parent > ours.total_difficulty).then_some(BLOCK_PATIENCE)
            }
        };
        if let Some(wait) = wait {
            let at = now + wait;
            self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
        }
    }

    fn conclude(&mut self, peer: PeerId, outcome: Result<(), SyncError>) {
        let now = Instant::now();
        let head = self.context.chain.head().block;
        let outcome_name = outcome.as_ref().map_or_else(SyncError::name, |()| "done");
        metrics::counter!("quintet_chain_syncs_total", "outcome" => outcome_name).increment(1);
        // There may be another peer to go on with, unless the node itself is in the way.
        self.look_at = Some(now);
        match outcome {
            Ok(()) => {
                tracing::debug!(%peer, number = head.number, hash = %head.hash, "Block synchronisation finished");
                self.chooser.succeeded(peer);
                // Peers that know each other by this node only would not hear of it otherwise.
                self.context.network.synced();
                self.context.network.announce_block(head);
            }
            Err(SyncError::Fault(peer, fault)) => self.condemn(peer, &fault),
            Err(SyncError::Moved(peer)) => {
                if self.chooser.moved(peer) {
                    self.condemn(peer, &Fault::Unsteady);
                }
            }
            Err(SyncError::NotAhead(peer, head)) => self.chooser.not_ahead(peer, head),
            Err(SyncError::Cancelled) => {}
            Err(SyncError::Gone(peer)) => self.chooser.pause(now, peer, GONE_PAUSE),
            // Until another peer comes, or the next forced look.
            Err(SyncError::NoState) => self.look_at = None,
            Err(SyncError::Early(peer)) => self.chooser.pause(now, peer, EARLY_PAUSE),
            Err(SyncError::Node(error)) => {
                tracing::warn!(%error, "Synchronisation failed");
                self.look_at = None;
            }
        }
    }

    fn condemn(&mut self, peer: PeerId, fault: &Fault) {
        tracing::warn!(%peer, error = %fault, "Synchronisation failed, dropping peer");
        report_fault(self.context.network.as_ref(), peer, fault);
        self.chooser.shun(Instant::now(), peer, fault);
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The end of the sync under way; never, if there is none.
async fn ended(running: &mut Option<Running>) -> (PeerId, Result<(), SyncError>) {
    let Some((peer, sync)) = running else { return std::future::pending().await };
    let (peer, outcome) = (*peer, sync.await);
    *running = None;
    (peer, outcome)
}
