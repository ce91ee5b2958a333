//! The trace of a block: one tree over build, seal and submission, linked to the transaction that asked for it.

use crate::in_process::{mining, run};
use opentelemetry::trace::TracerProvider;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use parking_lot::Mutex;
use quintet_types::TraceContext;
use std::sync::Arc;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

/// Keeps what is exported.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collected(pub(crate) Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collected {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().extend(batch);
        Ok(())
    }
}

/// Collects the spans of this thread alone, which a test's runtime has no other of.
pub(crate) fn collect() -> (Collected, DefaultGuard) {
    let collected = Collected::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(collected.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    (collected, tracing::subscriber::set_default(tracing_subscriber::registry().with(layer)))
}

#[tokio::test]
async fn a_block_is_one_tree_linked_to_its_transaction() {
    let (collected, _subscriber) = collect();
    let running = run(&mining());
    running.chain.wait_until("first attempt", |chain| !chain.builds().is_empty()).await;
    let transaction = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    running.chain.add_traced_transaction(TraceContext(transaction.into())).await;
    running.chain.wait_for_blocks(1).await;
    let sealed = |spans: &[SpanData]| {
        let mut seals = spans.iter().filter(|span| span.name == "miner: seal block");
        seals
            .find(|span| span.attributes.iter().any(|attribute| attribute.value.as_str() == "canonical"))
            .cloned()
    };
    running.chain.wait_until("finished span", |_| sealed(&collected.0.lock()).is_some()).await;

    let spans = collected.0.lock().clone();
    let root = sealed(&spans).expect("waited for");
    assert_eq!(root.parent_span_id, SpanId::INVALID, "a root");
    let links: Vec<_> = root.links.iter().map(|link| link.span_context.trace_id()).collect();
    assert_eq!(links, [TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").expect("hex")]);
    let below = |span: &SpanData| span.parent_span_id == root.span_context.span_id();
    assert!(spans.iter().any(|span| span.name == "publish" && below(span)), "its work is told");
    for method in ["quintet.chain.v1.ChainService/BuildBlock", "quintet.chain.v1.ChainService/SubmitBlock"] {
        let of_block = |span: &&SpanData| {
            span.name == method && span.span_context.trace_id() == root.span_context.trace_id()
        };
        let calls: Vec<_> = spans.iter().filter(of_block).collect();
        assert_eq!(calls.len(), 2, "{method}: the caller's span and the server's");
        let child = |parent: SpanId| calls.iter().find(|span| span.parent_span_id == parent);
        let client = child(root.span_context.span_id()).expect("below the root");
        assert!(child(client.span_context.span_id()).is_some(), "{method}: below the caller's");
    }
}
