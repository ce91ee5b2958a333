//! Work on the bus: the leader tells what it prepares, and those who stand by say what they were told.

use alloy_primitives::B256;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use quintet_events::WorkTopic;
use quintet_service::propagation::{set_parent, trace_of};
use quintet_types::{Header, Work};
use std::sync::Arc;
use tracing::Span;

/// Tells the other replicas what is prepared under `token`. `block` is the span of the block.
pub(crate) fn tell(topic: &dyn WorkTopic, header: &Header, seal_hash: B256, token: u64, block: &Span) {
    let span = tracing::info_span!(parent: block, "publish", otel.kind = "producer");
    let work = Work { header: header.clone(), seal_hash, token, trace: trace_of(&span) };
    let told = span.in_scope(|| topic.publish_work(Arc::new(work)));
    let counter =
        if told.is_ok() { "quintet_events_published_total" } else { "quintet_events_unpublished_total" };
    metrics::counter!(counter, "topic" => "work").increment(1);
    if let Err(error) = told {
        tracing::debug!(%error, "work not published");
    }
}

/// What is prepared, where there are other replicas; it has no end.
pub(crate) fn follow(topic: Option<&dyn WorkTopic>) -> BoxStream<'static, Arc<Work>> {
    let works = topic.map(WorkTopic::follow_work);
    stream::iter(works).flatten().chain(stream::pending()).boxed()
}

/// Says what the leader prepares, in the trace of its block.
pub(super) fn received(work: &Work) {
    let number = work.header.number;
    let span = tracing::info_span!(
        parent: None, "new work", otel.kind = "consumer", block.number = number.cast_signed()
    );
    set_parent(&span, &work.trace);
    let _entered = span.enter();
    let Work { seal_hash, token, .. } = work;
    let parent = work.header.parent_hash;
    tracing::debug!(number, %parent, sealhash = %seal_hash, token, "the leader prepares a block");
}
