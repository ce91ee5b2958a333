//! Keeps the view at the chain's head: applies block deltas, resyncs from the store where some are missing, and
//! tells subscriptions what changed.

use super::catchup::Found;
use super::{Reads, View};
use crate::chain_link::ChainLink;
use crate::error::RpcError;
use crate::notice::{BlockNotice, Notice, Notices};
use alloy_primitives::B256;
use alloy_primitives::map::B256Map;
use metrics::Counter;
use quintet_events::{Event, EventBus, Follower, Gap, Step, Subscription, Topics};
use quintet_service::propagation;
use quintet_types::{BlockDelta, BlockRef, ChainEvent, PoolEvent, TraceContext};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

/// After a revert, how long to wait for the blocks that replace the old ones before the shorter chain is shown:
/// a head that only seems to go back confuses clients.
const REORG_GRACE: Duration = Duration::from_millis(100);
/// How long to wait before the bus or the store is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// The same for a store that lags behind the bus.
const LAG_DELAY: Duration = Duration::from_millis(50);
/// How long one look into the store may take.
const LOOK_DEADLINE: Duration = Duration::from_secs(20);
/// While the bus is away, a store whose head is below ours is taken for one that lags; after this long, for a chain
/// that was rewound.
const LAG_PATIENCE: Duration = Duration::from_secs(10);
/// How often the store is looked at although nothing seems to be missing: whatever the bus may have lost in silence is
/// found then.
const GLANCE: Duration = Duration::from_secs(5);
/// At most so many blocks are announced one by one after a gap.
const MOST_ANNOUNCED: u64 = 128;

/// Follows the chain until `token` is cancelled.
pub(crate) async fn follow(
    reads: Arc<Reads>,
    events: Arc<dyn EventBus>,
    notices: Notices,
    token: CancellationToken,
) -> Result<(), std::convert::Infallible> {
    let follower = follower_of(&reads.view());
    let resyncs = metrics::counter!("quintet_gateway_resyncs_total");
    let mut task = Task {
        follower,
        reads,
        notices,
        resyncs,
        step: Batch::default(),
        wanted: None,
        behind: None,
        retry: None,
        grace: None,
    };
    token.run_until_cancelled(task.run(&*events)).await;
    Ok(())
}

/// Keeps the safe and the finalized block, which `chain` knows, in the view.
pub(crate) async fn follow_markers(
    reads: Arc<Reads>,
    chain: ChainLink,
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
    resyncs: Counter,
    step: Batch,
    /// Where the bus, or its last event, said the head is, and when: a store that lags may not have that yet.
    wanted: Option<(BlockRef, Instant)>,
    /// Since when the store's head is below the view's.
    behind: Option<Instant>,
    /// When to look into the store again.
    retry: Option<Instant>,
    /// When to show a revert although nothing replaces it.
    grace: Option<Instant>,
}

impl Task {
    async fn run(&mut self, events: &dyn EventBus) {
        loop {
            let mut subscription = events.subscribe(Topics::ALL, Some(self.follower.head()));
            while let Some(next) = self.next(&mut subscription).await {
                match next {
                    Next::Event(Ok(event)) => self.take(event).await,
                    Next::Event(Err(gap)) => {
                        tracing::debug!(target: "quintet_gateway", ?gap, "chain events were missed");
                        self.wanted = gap.head.map(|head| (head, Instant::now()));
                        self.catch_up().await;
                    }
                    Next::Grace => self.show().await,
                    Next::Retry => self.catch_up().await,
                    Next::Glance => self.glance().await,
                }
            }
            tracing::warn!(target: "quintet_gateway", "event bus is gone, subscribing again");
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// What comes next: an event, or the time for something. `None` when the bus is gone.
    async fn next(&self, subscription: &mut Subscription) -> Option<Next> {
        let (due, what) = match (self.grace, self.retry) {
            (Some(grace), _) => (grace, Next::Grace),
            (None, Some(retry)) => (retry, Next::Retry),
            (None, None) => (Instant::now() + GLANCE, Next::Glance),
        };
        if due <= Instant::now() {
            return Some(what);
        }
        match tokio::time::timeout_at(due, subscription.next()).await {
            Ok(next) => next.map(Next::Event),
            Err(_) => Some(what),
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
            (Step::Gap, _) => self.catch_up().await,
            (Step::Known | Step::Extend, _) => {}
        }
    }

    /// Takes everything above `to` off.
    fn revert(&mut self, to: BlockRef) {
        self.step.blocks.retain(|delta| delta.block_ref().number <= to.number);
        let head = self.reads.head_number();
        let gone = head.saturating_sub(to.number);
        self.step.reverted = self.step.reverted.max(usize::try_from(gone).unwrap_or(usize::MAX));
        self.grace.get_or_insert_with(|| Instant::now() + REORG_GRACE);
    }

    /// Shows what was taken.
    async fn show(&mut self) {
        self.grace = None;
        let step = std::mem::take(&mut self.step);
        if step.is_empty() {
            return;
        }
        let old = self.reads.view();
        let blocks: Vec<_> = step.blocks.iter().map(|delta| Arc::new(delta.executed.clone())).collect();
        let spans: Vec<_> = step.blocks.iter().map(|delta| received(delta)).collect();
        if let Some(new) = self.reads.advance(&old, step.reverted, &blocks) {
            (self.wanted, self.behind, self.retry) = (None, None, None);
            let traces = spans.iter().map(propagation::trace_of);
            let traces = step.blocks.iter().map(|delta| delta.block_ref().hash).zip(traces);
            self.announce(&old, &new, &traces.collect());
        } else {
            self.wanted = Some((self.follower.head(), Instant::now()));
            self.look().await;
        }
    }

    /// Where the store is elsewhere, and no event says so soon, it is read.
    async fn glance(&mut self) {
        let reads = Arc::clone(&self.reads);
        let same = tokio::task::spawn_blocking(move || reads.is_at_head(&reads.view())).await;
        if !same.unwrap_or_default() {
            self.retry = Some(Instant::now() + RETRY_DELAY);
        }
    }

    /// Shows what was taken, and then what the store has beyond it.
    async fn catch_up(&mut self) {
        self.show().await;
        self.look().await;
    }

    /// Brings the view to the store's head, keeping of it what is still true. Whatever cannot be done now is tried
    /// again soon; events are taken meanwhile.
    async fn look(&mut self) {
        let (reads, old) = (Arc::clone(&self.reads), self.reads.view());
        let view = Arc::clone(&old);
        let look = tokio::task::spawn_blocking(move || reads.look(&view));
        let found = match tokio::time::timeout(LOOK_DEADLINE, look).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => Err(RpcError::Unavailable("the store does not answer".to_owned())),
        };
        self.retry = None;
        match found {
            Ok(found) => self.apply(&old, found),
            Err(RpcError::ChainChanged) => self.retry = Some(Instant::now() + LAG_DELAY),
            Err(error) => {
                tracing::debug!(target: "quintet_gateway", %error, "the store cannot be read, trying again");
                self.retry = Some(Instant::now() + RETRY_DELAY);
            }
        }
        let view = self.reads.view();
        if self.follower.head() != view.head() {
            self.follower = follower_of(&view);
        }
        if self.retry.is_none() && self.lags(&view) {
            self.retry = Some(Instant::now() + LAG_DELAY);
        }
    }

    /// Whether the store is still expected to have what the bus said. After a while that is taken for gone.
    fn lags(&self, view: &View) -> bool {
        self.wanted.is_some_and(|(wanted, since)| {
            since.elapsed() < LAG_PATIENCE && view.known_hash(wanted.number) != Some(wanted.hash)
        })
    }

    fn apply(&mut self, old: &View, found: Found) {
        let new = match found {
            Found::Same => {
                self.behind = None;
                return;
            }
            Found::Behind { above, head } => {
                let since = *self.behind.get_or_insert_with(Instant::now);
                let is_said = self.wanted.is_some_and(|(wanted, _)| wanted == head.block_ref());
                if !is_said && since.elapsed() < LAG_PATIENCE {
                    self.retry = Some(Instant::now() + RETRY_DELAY);
                    return;
                }
                self.reads.advance(old, above, &[]).or_else(|| Some(self.reads.restart(*head)))
            }
            Found::Ahead { reverted, blocks } => self.reads.advance(old, reverted, &blocks),
            Found::Apart(fresh) => Some(self.reads.restart(*fresh)),
        };
        self.behind = None;
        self.resyncs.increment(1);
        match new {
            Some(new) => self.announce(old, &new, &B256Map::default()),
            None => self.retry = Some(Instant::now() + LAG_DELAY),
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

/// Something for the follower to do.
enum Next {
    Event(Result<Event, Gap>),
    Grace,
    Retry,
    Glance,
}

/// A follower that holds the view's blocks.
fn follower_of(view: &View) -> Follower {
    let mut follower = Follower::new(view.base);
    for executed in &view.recent {
        follower.extend(executed.block.block_ref(), executed.block.header().parent_hash);
    }
    follower
}

/// The span of what a block delta leads to here, child of the block's import.
fn received(delta: &BlockDelta) -> Span {
    let block = delta.block_ref();
    let span = tracing::info_span!(
        target: "quintet_gateway",
        parent: None,
        "block delta",
        otel.kind = "consumer",
        number = block.number.cast_signed(),
        hash = %block.hash,
    );
    propagation::set_parent(&span, &delta.trace);
    span
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
