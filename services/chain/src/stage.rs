//! The parts that building and importing a block are made of, each a span whose time is also a metric.

use std::time::Instant;
use tracing::Span;

/// Does one part within its span, and takes its time as `stage`.
pub(crate) fn timed<T>(stage: &'static str, span: &Span, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let outcome = span.in_scope(work);
    metrics::histogram!("quintet_chain_stage_duration_seconds", "stage" => stage).record(start.elapsed());
    outcome
}
