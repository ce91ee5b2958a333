//! The trace that begins at a peer's message, and the one that ends at a message to peers.

use crate::chain::{Chain, DEADLINE};
use crate::node::{Node, settings};
use crate::wire::{ETH, Wire};
use opentelemetry::trace::{SpanId, SpanKind, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use parking_lot::Mutex;
use quintet_chain_api::{LinkCommand, SendMessage, Traced, WireProtocol};
use quintet_types::TraceContext;
use std::sync::Arc;
use tokio::time::timeout;
use tracing_subscriber::layer::SubscriberExt;

/// The spans that have ended.
#[derive(Clone, Debug, Default)]
struct Collected(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collected {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().extend(batch);
        Ok(())
    }
}

impl Collected {
    async fn named(&self, name: &str) -> SpanData {
        let looking = async {
            loop {
                if let Some(span) = self.0.lock().iter().find(|span| span.name == name) {
                    return span.clone();
                }
                tokio::time::sleep(crate::node::POLL).await;
            }
        };
        timeout(DEADLINE, looking).await.expect("exported in time")
    }
}

#[tokio::test]
async fn traces_begin_at_messages_from_peers_and_end_at_messages_to_them() {
    let collected = Collected::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(collected.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    // The test's runtime has one thread, so this is the subscriber of all tasks.
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let mut chain = Chain::start().await;
    let node = Node::start(settings(), &mut chain).await;
    let mut wire = Wire::connect(&node.enode()).await;
    chain.up().await;

    wire.send(ETH + 7, &[0xc0]).await;
    let trace = chain.frame().await.trace.0.to_string();
    let span = collected.named("NewBlock from peer").await;
    let id = &span.span_context;
    assert_eq!(trace, format!("00-{}-{}-01", id.trace_id(), id.span_id()));
    assert_eq!((span.span_kind, span.parent_span_id), (SpanKind::Consumer, SpanId::INVALID));

    let protocol = WireProtocol::Eth(69);
    let send = SendMessage { peers: vec![wire.id()], protocol, code: 7, payload: vec![0xc0].into() };
    chain.traced(Traced { trace: TraceContext(trace.into()), value: LinkCommand::Send(send) });
    assert_eq!(wire.receive().await.expect("a message").code, ETH + 7);
    let sent = collected.named("message to peers").await;
    assert_eq!(sent.span_context.trace_id(), id.trace_id());
    assert_eq!(sent.parent_span_id, id.span_id());
}
