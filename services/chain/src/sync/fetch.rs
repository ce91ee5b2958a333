//! The block fetcher's shell: what peers tell goes into [`Fetcher`], and what it wants done is done.

use super::ancestor::SealedHeader;
use super::bodies::BodyRoots;
use super::context::{Context, sealed};
use super::fetcher::{Action, Arrived, Fetcher};
use super::network::{Change, HeadersRequest, PeerId, Start};
use super::propagated::{Outcome, take_in};
use super::report_fault;
use crate::error::ChainError;
use alloy_primitives::B256;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use quintet_types::{Body, TraceContext};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// No request takes longer.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// Announcements of one message that are looked at.
const MOST_OF_MESSAGE: usize = 512;
/// While so much is under way, announcements are passed over.
const MOST_TASKS: usize = 1024;

/// Follows what peers announce and send until `token` is cancelled, and an import under way has ended.
pub(crate) async fn fetch_blocks(context: Arc<Context>, token: CancellationToken) {
    let mut shell = Shell { context, fetcher: Fetcher::default(), tasks: FuturesUnordered::new() };
    token.run_until_cancelled(shell.run()).await;
    while shell.fetcher.is_importing()
        && let Some(done) = shell.tasks.next().await
    {
        shell.take_in(done);
    }
}

enum Done {
    Unheld { peer: PeerId, blocks: Vec<(B256, u64)>, trace: TraceContext },
    Header { peer: PeerId, hash: B256, header: Option<Box<SealedHeader>> },
    Bodies { peer: PeerId, asked: Vec<SealedHeader>, bodies: Vec<(Body, BodyRoots)> },
    Imported { peer: PeerId, outcome: Outcome },
}

struct Shell {
    context: Arc<Context>,
    fetcher: Fetcher,
    tasks: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl Shell {
    async fn run(&mut self) {
        let mut changes = self.context.network.changes();
        loop {
            let now = Instant::now();
            for action in self.fetcher.due(now, self.head()) {
                self.act(action);
            }
            let deadline = self.fetcher.deadline(now);
            tokio::select! {
                Some(change) = changes.next() => self.heed(change),
                Some(done) = self.tasks.next() => self.take_in(done),
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn head(&self) -> u64 {
        self.context.chain.head().block.number
    }

    fn heed(&mut self, change: Change) {
        match change {
            // They are a sync's.
            Change::Announced { .. } | Change::Block { .. } if self.context.chain.is_fetching_state() => {}
            Change::Announced { .. } if self.tasks.len() >= MOST_TASKS => {
                metrics::counter!("quintet_chain_fetcher_dropped_total", "reason" => "busy").increment(1);
            }
            Change::Announced { peer, mut blocks, trace } => {
                blocks.truncate(MOST_OF_MESSAGE);
                metrics::counter!("quintet_chain_fetcher_announced_total").increment(blocks.len() as u64);
                let chain = Arc::clone(&self.context.chain);
                let unheld = move || {
                    blocks.retain(|(hash, _)| matches!(chain.store.block_number(hash), Ok(None)));
                    blocks
                };
                let task = async move {
                    let blocks = tokio::task::spawn_blocking(unheld).await.unwrap_or_default();
                    Done::Unheld { peer, blocks, trace }
                };
                self.tasks.push(task.boxed());
            }
            Change::Block { peer, block, trace, .. } => {
                metrics::counter!("quintet_chain_fetcher_blocks_total").increment(1);
                let hash = block.header.hash_slow();
                let action = self.fetcher.arrive(Arrived { peer, block, hash, trace }, self.head());
                self.act_on(action);
            }
            Change::Down(peer) => self.fetcher.left(Instant::now(), peer),
            Change::Up(_) | Change::Head(_) => {}
        }
    }

    fn take_in(&mut self, done: Done) {
        let (now, head) = (Instant::now(), self.head());
        match done {
            Done::Unheld { peer, blocks, trace } => {
                let mut flooded = None;
                for block in blocks {
                    flooded = self.fetcher.announce(now, (peer, &trace), block, head).or(flooded);
                }
                // However many it was.
                self.act_on(flooded);
            }
            Done::Header { peer, hash, header } => {
                let header = header.map(|header| *header);
                let action = self.fetcher.header(now, (peer, hash), header, head);
                self.act_on(action);
            }
            Done::Bodies { peer, asked, bodies } => {
                for action in self.fetcher.bodies(now, peer, &asked, bodies, head) {
                    self.act(action);
                }
            }
            Done::Imported { peer, outcome } => {
                let again = if let Outcome::Early(wait) = &outcome { Some(now + *wait) } else { None };
                self.fetcher.imported(again);
                match outcome {
                    Outcome::Fault(fault) => report_fault(self.context.network.as_ref(), peer, &fault),
                    Outcome::Node(error) => tracing::warn!(%error, "a block from a peer was not imported"),
                    Outcome::Imported | Outcome::Orphan | Outcome::Early(_) => {}
                }
            }
        }
    }

    fn act_on(&mut self, action: Option<Action>) {
        if let Some(action) = action {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        let context = Arc::clone(&self.context);
        let task = match action {
            Action::Fault(peer, fault) => return report_fault(context.network.as_ref(), peer, &fault),
            Action::FetchHeader { peer, hash } => async move {
                let request = HeadersRequest::one(Start::Hash(hash));
                let answer = timeout(REQUEST_LIMIT, context.network.headers(peer, request)).await;
                let header = answer
                    .ok()
                    .and_then(Result::ok)
                    .map(sealed)
                    .and_then(|mut headers| headers.pop())
                    .map(Box::new);
                Done::Header { peer, hash, header }
            }
            .boxed(),
            Action::FetchBodies { peer, headers: asked } => async move {
                let hashes = asked.iter().map(SealedHeader::hash).collect();
                let answer = timeout(REQUEST_LIMIT, context.network.bodies(peer, hashes)).await;
                let bodies = answer.ok().and_then(Result::ok).unwrap_or_default();
                let with_roots = |body: Body| {
                    let roots = BodyRoots::of(&body);
                    (body, roots)
                };
                Done::Bodies { peer, asked, bodies: bodies.into_iter().map(with_roots).collect() }
            }
            .boxed(),
            Action::Import(arrived) => import(context, arrived).boxed(),
        };
        self.tasks.push(task);
    }
}

async fn import(context: Arc<Context>, arrived: Arrived) -> Done {
    let peer = arrived.peer;
    let work = move || take_in(&context.chain, context.network.as_ref(), &context.rejected, arrived);
    let outcome = tokio::task::spawn_blocking(work).await;
    let outcome = outcome.unwrap_or_else(|error| Outcome::Node(ChainError::from(error)));
    Done::Imported { peer, outcome }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
