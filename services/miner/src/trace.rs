//! The trace of a block that is made: one span over build, seal and submission, linked to the transactions that
//! asked for it.

use crate::worker::{Job, JobId};
use alloy_primitives::B256;
use quintet_service::propagation::add_link;
use quintet_types::TraceContext;
use std::collections::VecDeque;
use tracing::Span;
use tracing::field::Empty;

/// Links that a span gets at most: the first transactions since the block before.
const LINK_LIMIT: usize = 32;
/// Spans of sealing or submitted blocks; more are not under way together.
const SPAN_LIMIT: usize = 16;

/// The open spans, and the links of the next.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    links: Vec<TraceContext>,
    build: Option<Build>,
    sealing: VecDeque<(B256, Span)>,
}

#[derive(Debug)]
struct Build {
    job: JobId,
    span: Span,
    /// Links that it took; they are the next build's again if this one is interrupted.
    links: usize,
}

impl Traces {
    /// A transaction asks for a block.
    pub(crate) fn transaction(&mut self, trace: &TraceContext) {
        if !trace.0.is_empty() && self.links.len() < LINK_LIMIT {
            self.links.push(trace.clone());
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
        self.links.iter().for_each(|link| add_link(&span, link));
        self.build = Some(Build { job: job.id, span: span.clone(), links: self.links.len() });
        span
    }

    /// The build ended without a block.
    pub(crate) fn end_build(&mut self, job: JobId, outcome: &str, transactions_taken: bool) {
        if let Some(build) = self.build.take_if(|build| build.job == job) {
            build.span.record("outcome", outcome);
            if transactions_taken {
                self.links.drain(..build.links);
            }
        }
    }

    /// The block is built: its span goes on under its seal hash.
    pub(crate) fn built(&mut self, job: JobId, seal_hash: B256, transactions: u32) {
        let Some(build) = self.build.take_if(|build| build.job == job) else { return };
        build.span.record("block.transactions", i64::from(transactions));
        self.links.drain(..build.links);
        self.sealing.push_back((seal_hash, build.span));
        if self.sealing.len() > SPAN_LIMIT {
            self.sealing.pop_front();
        }
    }

    /// The span of this work.
    pub(crate) fn of(&self, seal_hash: B256) -> Span {
        let span = self.sealing.iter().rev().find(|(hash, _)| *hash == seal_hash);
        span.map_or_else(Span::none, |(_, span)| span.clone())
    }

    /// The work's trace ends.
    pub(crate) fn end(&mut self, seal_hash: B256, block_hash: Option<B256>, outcome: &str) {
        let Some(index) = self.sealing.iter().position(|(hash, _)| *hash == seal_hash) else { return };
        if let Some((_, span)) = self.sealing.remove(index) {
            span.record("outcome", outcome);
            if let Some(hash) = block_hash {
                span.record("block.hash", tracing::field::display(hash));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LINK_LIMIT, Traces};
    use crate::worker::{Job, JobId};
    use alloy_primitives::{Address, B256, Bytes};
    use quintet_types::{BlockRef, TraceContext};
    use std::time::Duration;

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
    fn links_are_bounded_and_outlive_an_interrupted_build() {
        let mut traces = Traces::default();
        traces.transaction(&TraceContext::default());
        assert!(traces.links.is_empty(), "untraced");
        (0..2 * LINK_LIMIT).for_each(|number| traces.transaction(&TraceContext(number.to_string().into())));
        assert_eq!(traces.links.len(), LINK_LIMIT);
        traces.begin(&job(0));
        traces.end_build(JobId(0), "interrupted", false);
        assert_eq!(traces.links.len(), LINK_LIMIT);
        traces.begin(&job(1));
        traces.built(JobId(0), B256::ZERO, 1);
        assert!(traces.sealing.is_empty(), "another job");
        traces.built(JobId(1), B256::ZERO, 1);
        assert!(traces.links.is_empty());
        traces.end(B256::ZERO, None, "canonical");
        assert!(traces.sealing.is_empty());
    }
}
