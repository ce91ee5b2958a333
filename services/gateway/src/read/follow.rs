//! Keeps the view at the chain's head: applies block deltas, resyncs from the store where some are missing, and
//! tells subscriptions what changed.

use super::{Reads, View};
use crate::error::RpcError;
use crate::notice::{BlockNotice, Notice, Notices};
use alloy_primitives::B256;
use alloy_primitives::map::B256Map;
use quintet_chain_api::ChainClient;
use quintet_events::{Event, EventBus, Follower, Step, Topics};
use quintet_types::{BlockDelta, BlockRef, ChainEvent, PoolEvent, TraceContext};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// After a revert, how long to wait for the blocks that replace the old ones before the shorter chain is shown:
/// a head that only seems to go back confuses clients.
const REORG_GRACE: Duration = Duration::from_millis(100);
/// How long to wait before the bus or the store is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// At most so many blocks are announced one by one after a gap.
const MOST_ANNOUNCED: u64 = 128;

/// Follows the chain until `token` is cancelled.
pub(crate) async fn follow(
    reads: Arc<Reads>,
    events: Arc<dyn EventBus>,
    notices: Notices,
    token: CancellationToken,
) -> Result<(), std::convert::Infallible> {
    let mut task =
        Task { follower: Follower::new(reads.view().head()), reads, notices, step: Batch::default() };
    token.run_until_cancelled(task.run(&*events)).await;
    Ok(())
}

/// Keeps the safe and the finalized block, which `chain` knows, in the view.
pub(crate) async fn follow_markers(
    reads: Arc<Reads>,
    chain: ChainClient,
    token: CancellationToken,
) -> Result<(), std::convert::Infallible> {
    let refresh = async {
        let mut heads = reads.heads();
        loop {
            match chain.head().await {
                Ok(head) => reads.set_markers(head.safe, head.finalized),
                Err(error) => {
                    tracing::debug!(target: "quintet_gateway", %error, "chain does not tell its head");
                }
            }
            if heads.changed().await.is_err() {
                return;
            }
        }
    };
    token.run_until_cancelled(refresh).await;
    Ok(())
}

/// Events taken but not yet shown.
#[derive(Default)]
struct Batch {
    /// How many blocks of the view go.
    reverted: usize,
    /// What comes on top of the rest.
    blocks: Vec<Arc<BlockDelta>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.reverted == 0 && self.blocks.is_empty()
    }
}

struct Task {
    follower: Follower,
    reads: Arc<Reads>,
    notices: Notices,
    step: Batch,
}

impl Task {
    async fn run(&mut self, events: &dyn EventBus) {
        loop {
            let mut subscription = events.subscribe(Topics::ALL, Some(self.follower.head()));
            loop {
                let next = if self.is_reorganising() {
                    let Ok(next) = tokio::time::timeout(REORG_GRACE, subscription.next()).await else {
                        self.show().await;
                        continue;
                    };
                    next
                } else {
                    subscription.next().await
                };
                match next {
                    Some(Ok(event)) => self.take(event).await,
                    Some(Err(gap)) => {
                        tracing::debug!(target: "quintet_gateway", ?gap, "chain events were missed");
                        self.resync().await;
                    }
                    None => break,
                }
            }
            tracing::warn!(target: "quintet_gateway", "event bus is gone, subscribing again");
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// Whether blocks went and those that replace them have not all come.
    fn is_reorganising(&self) -> bool {
        self.step.reverted > 0
    }

    async fn take(&mut self, event: Event) {
        let event = match event {
            Event::Pool(PoolEvent::Pending(transaction)) => {
                return self.notices.send(Notice::Pending(transaction));
            }
            Event::Chain(event) => event,
        };
        match (self.follower.apply(&event), event) {
            (Step::Extend, ChainEvent::Block(delta)) => {
                self.step.blocks.push(delta);
                let head = self.reads.head_number();
                if !self.is_reorganising() || self.follower.head().number >= head {
                    self.show().await;
                }
            }
            (Step::Revert { to }, _) => self.revert(to),
            (Step::Gap, _) => self.resync().await,
            (Step::Known | Step::Extend, _) => {}
        }
    }

    /// Takes everything above `to` off.
    fn revert(&mut self, to: BlockRef) {
        self.step.blocks.retain(|delta| delta.block_ref().number <= to.number);
        let head = self.reads.head_number();
        let gone = head.saturating_sub(to.number);
        self.step.reverted = self.step.reverted.max(usize::try_from(gone).unwrap_or(usize::MAX));
    }

    /// Shows what was taken.
    async fn show(&mut self) {
        let step = std::mem::take(&mut self.step);
        if step.is_empty() {
            return;
        }
        let old = self.reads.view();
        let blocks: Vec<_> = step.blocks.iter().map(|delta| Arc::new(delta.executed.clone())).collect();
        match self.reads.advance(&old, step.reverted, &blocks) {
            Ok(new) => {
                let traces = step.blocks.iter().map(|delta| (delta.block_ref().hash, delta.trace.clone()));
                self.announce(&old, &new, &traces.collect());
                if new.head() != self.follower.head() {
                    // The overlay did not reach back far enough, and was made anew from the store.
                    self.follower.reset(new.head());
                }
            }
            Err(error) => {
                tracing::warn!(target: "quintet_gateway", %error, "a block delta could not be applied");
                self.resync().await;
            }
        }
    }

    /// Starts again from the store's head, as soon as the store can be read.
    async fn resync(&mut self) {
        self.step = Batch::default();
        let old = self.reads.view();
        loop {
            match self.reads.resync() {
                Ok(new) => {
                    self.follower.reset(new.head());
                    self.announce(&old, &new, &B256Map::default());
                    return;
                }
                Err(error) => {
                    tracing::warn!(target: "quintet_gateway", %error, "the store cannot be read, trying again");
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    fn announce(&self, old: &View, new: &View, traces: &B256Map<TraceContext>) {
        if let Err(error) = self.try_announce(old, new, traces) {
            tracing::warn!(target: "quintet_gateway", %error, "subscriptions were not told of a block");
        }
    }

    /// Tells subscriptions how to get from the old view to the new one.
    fn try_announce(&self, old: &View, new: &View, traces: &B256Map<TraceContext>) -> Result<(), RpcError> {
        let mut common = None;
        for notice in held_newest_first(old) {
            let block = notice.block.block_ref();
            if self.reads.canonical(new, block.number)? == Some(block) {
                common = Some(block.number);
                break;
            }
            self.notices.send(Notice::Reverted(notice));
        }
        let head = new.head().number;
        let first = common.unwrap_or(old.base.number).saturating_add(1);
        for number in first.max(head.saturating_sub(MOST_ANNOUNCED - 1))..=head {
            let Some(notice) = self.block_notice(new, number, traces)? else { break };
            self.notices.send(Notice::Block(notice));
        }
        Ok(())
    }

    fn block_notice(
        &self,
        view: &View,
        number: u64,
        traces: &B256Map<TraceContext>,
    ) -> Result<Option<BlockNotice>, RpcError> {
        let Some(block) = self.reads.canonical(view, number)? else { return Ok(None) };
        let Some(recovered) = self.reads.block(view, &block.hash)? else { return Ok(None) };
        let receipts = self.reads.receipts(view, &block.hash)?.unwrap_or_default();
        let trace = trace_of(traces, &block.hash);
        Ok(Some(BlockNotice { block: recovered, receipts, trace }))
    }
}

fn trace_of(traces: &B256Map<TraceContext>, hash: &B256) -> TraceContext {
    traces.get(hash).cloned().unwrap_or_default()
}

/// The blocks that a view holds whole, newest first.
fn held_newest_first(view: &View) -> Vec<BlockNotice> {
    let notice = |block: &_, receipts: &_| BlockNotice {
        block: Arc::clone(block),
        receipts: Arc::clone(receipts),
        trace: TraceContext::default(),
    };
    if view.recent.is_empty() {
        return vec![notice(&view.head, &view.head_receipts)];
    }
    view.recent.iter().rev().map(|executed| notice(&executed.block, &executed.receipts)).collect()
}
