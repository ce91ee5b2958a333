//! The trace of a block that is made: one span over build, seal and submission, linked to the transactions that
//! are in it.
//!
//! A transaction's event may come before its block is built or after; the link is made when both are known.

use crate::worker::{Job, JobId};
use alloy_primitives::{B256, map::HashSet};
use quintet_service::propagation::add_link;
use quintet_types::{Block, TraceContext};
use std::collections::VecDeque;
use tracing::Span;
use tracing::field::Empty;

/// Links that a span gets at most.
const LINK_LIMIT: usize = 32;
/// Traces of transactions that wait for their block; the oldest are forgotten.
const WAITING_LIMIT: usize = 1024;
/// Spans of sealing or submitted blocks; more are not under way together.
const SPAN_LIMIT: usize = 16;

/// The open spans, and the traces of transactions that are in no block yet.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    waiting: VecDeque<(B256, TraceContext)>,
    build: Option<(JobId, Span)>,
    sealing: VecDeque<Made>,
}

/// A block that was built.
#[derive(Debug)]
struct Made {
    seal_hash: B256,
    span: Span,
    /// Its transactions whose events have not come.
    unseen: HashSet<B256>,
    links: usize,
}

impl Made {
    fn link(&mut self, hash: &B256, trace: &TraceContext) -> bool {
        let its = self.unseen.remove(hash);
        if its && self.links < LINK_LIMIT {
            add_link(&self.span, trace);
            self.links += 1;
        }
        its
    }
}

impl Traces {
    /// A transaction became pending.
    pub(crate) fn transaction(&mut self, hash: B256, trace: &TraceContext) {
        if trace.0.is_empty() || self.sealing.iter_mut().any(|made| made.link(&hash, trace)) {
            return;
        }
        self.waiting.push_back((hash, trace.clone()));
        if self.waiting.len() > WAITING_LIMIT {
            self.waiting.pop_front();
        }
    }

    /// Begins the trace of a block.
    pub(crate) fn begin(&mut self, job: &Job) -> Span {
        let span = tracing::info_span!(
            target: "quintet_miner",
            parent: None,
            "miner: seal block",
            // OTLP has signed integers only; an unsigned field would become text.
            block.number = job.parent.number.saturating_add(1).cast_signed(),
            block.hash = Empty,
            block.transactions = Empty,
            outcome = Empty,
        );
        self.build = Some((job.id, span.clone()));
        span
    }

    /// The build ended without a block.
    pub(crate) fn end_build(&mut self, job: JobId, outcome: &str) {
        if let Some((_, span)) = self.build.take_if(|(building, _)| *building == job) {
            span.record("outcome", outcome);
        }
    }

    /// The block is built: its span goes on under its seal hash.
    pub(crate) fn built(&mut self, job: JobId, seal_hash: B256, block: &Block) {
        let Some((_, span)) = self.build.take_if(|(building, _)| *building == job) else { return };
        let transactions = &block.body.transactions;
        span.record("block.transactions", transactions.len().cast_signed());
        let unseen = if span.is_disabled() {
            HashSet::default()
        } else {
            transactions.iter().map(|transaction| *transaction.tx_hash()).collect()
        };
        let mut made = Made { seal_hash, span, unseen, links: 0 };
        self.waiting.retain(|(hash, trace)| !made.link(hash, trace));
        self.sealing.push_back(made);
        if self.sealing.len() > SPAN_LIMIT {
            self.sealing.pop_front();
        }
    }

    /// The span of this work.
    pub(crate) fn of(&self, seal_hash: B256) -> Span {
        let made = self.sealing.iter().rev().find(|made| made.seal_hash == seal_hash);
        made.map_or_else(Span::none, |made| made.span.clone())
    }

    /// The work's trace ends.
    pub(crate) fn end(&mut self, seal_hash: B256, block_hash: Option<B256>, outcome: &str) {
        let Some(index) = self.sealing.iter().position(|made| made.seal_hash == seal_hash) else { return };
        if let Some(Made { span, .. }) = self.sealing.remove(index) {
            span.record("outcome", outcome);
            if let Some(hash) = block_hash {
                span.record("block.hash", tracing::field::display(hash));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Made, Traces, WAITING_LIMIT};
    use crate::worker::{Job, JobId};
    use alloy_primitives::{Address, B256, Bytes};
    use quintet_types::{Block, BlockRef, TraceContext};
    use std::time::Duration;
    use tracing::Span;

    fn job(id: u64) -> Job {
        Job {
            id: JobId(id),
            parent: BlockRef::default(),
            timestamp: 1,
            beneficiary: Address::ZERO,
            extra_data: Bytes::new(),
            gas_limit: 0,
            gas_price: 0,
            fill_budget: Duration::ZERO,
            allow_empty: false,
        }
    }

    #[test]
    fn traces_wait_for_their_block_and_are_bounded() {
        let mut traces = Traces::default();
        traces.transaction(B256::ZERO, &TraceContext::default());
        assert!(traces.waiting.is_empty(), "untraced");
        let hash = |number: usize| B256::from(alloy_primitives::U256::from(number));
        (0..2 * WAITING_LIMIT).for_each(|n| traces.transaction(hash(n), &TraceContext(n.to_string().into())));
        assert_eq!(traces.waiting.len(), WAITING_LIMIT);
        traces.begin(&job(0));
        traces.end_build(JobId(0), "interrupted");
        traces.begin(&job(1));
        traces.built(JobId(0), B256::ZERO, &Block::default());
        assert!(traces.sealing.is_empty(), "another job");
        traces.built(JobId(1), B256::ZERO, &Block::default());
        assert_eq!(traces.waiting.len(), WAITING_LIMIT, "none of them is in the block");
        traces.end(B256::ZERO, None, "canonical");
        assert!(traces.sealing.is_empty());
    }

    #[test]
    fn a_link_is_made_whichever_comes_first() {
        let unseen = [B256::with_last_byte(1), B256::with_last_byte(2)].into_iter().collect();
        let mut made = Made { seal_hash: B256::ZERO, span: Span::none(), unseen, links: 0 };
        let trace = TraceContext("trace".into());
        assert!(made.link(&B256::with_last_byte(1), &trace));
        assert!(!made.link(&B256::with_last_byte(3), &trace), "not in the block");
        let mut traces = Traces { sealing: [made].into(), ..Traces::default() };
        traces.transaction(B256::with_last_byte(2), &trace);
        assert!(traces.waiting.is_empty());
        assert_eq!(traces.sealing[0].links, 2);
    }
}
