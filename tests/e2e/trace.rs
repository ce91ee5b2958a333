//! One trace shows the whole way of a transaction: from the wallet's request through the pool; then from the miner,
//! linked to it, through building and importing the block to the subscriber that hears of it.

use crate::fixture::{quintet, to_hash, transfer};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, hex};
use quintet_testkit::accounts::dev_account;
use quintet_testkit::otlp::{Collector, Span, SpanKind, Spans};
use serde_json::{Value, json};

/// The wallet's own trace and span.
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID: &str = "b7ad6b7169203331";

/// The spans of the block's trace end with the notification, and the root with the submission: both must have come.
fn is_complete(spans: &Spans) -> Option<()> {
    let notified = spans.named("eth_subscription", SpanKind::Producer).into_iter().next()?;
    let requested = spans.named("eth_sendRawTransaction", SpanKind::Server).len() == 1;
    let sealed = spans.named("miner: seal block", SpanKind::Internal);
    (requested && sealed.iter().any(|root| root.is_in_trace_of(notified))).then_some(())
}

/// The child of `parent` with this name, which must be of this service.
fn child<'a>(spans: &'a Spans, parent: &Span, name: &str, service: &str) -> &'a Span {
    let found = spans.child(parent, name);
    let found = found.unwrap_or_else(|| panic!("no {name:?} below {:?} among\n{spans}", parent.record.name));
    assert_eq!(found.service, service, "{name:?} among\n{spans}");
    found
}

/// The server's span of a call to `chain` below `parent`: the caller's span, of `caller`, lies between.
fn chain_call<'a>(spans: &'a Spans, parent: &Span, method: &str, caller: &str) -> &'a Span {
    let name = format!("quintet.chain.v1.ChainService/{method}");
    let client = child(spans, parent, &name, caller);
    let server = child(spans, client, &name, "quintet-chain");
    for (span, kind) in [(client, SpanKind::Client), (server, SpanKind::Server)] {
        assert_eq!(span.record.kind, kind as i32, "{spans}");
        assert_eq!(span.text("rpc.system"), Some("grpc"));
        assert_eq!(span.text("rpc.service"), Some("quintet.chain.v1.ChainService"));
        assert_eq!(span.text("rpc.method"), Some(method));
        assert_eq!(span.integer("rpc.grpc.status_code"), Some(0));
        assert!(!span.failed(), "{spans}");
    }
    server
}

/// gateway → chain → pool, in the wallet's trace; gives the pool's span.
fn check_request(spans: &Spans) -> &Span {
    let request = spans.one("eth_sendRawTransaction", SpanKind::Server);
    assert_eq!(request.service, "quintet-gateway");
    assert_eq!(request.trace_id(), TRACE_ID);
    assert_eq!(hex::encode(&request.record.parent_span_id), SPAN_ID);
    assert_eq!(request.text("rpc.system"), Some("jsonrpc"));
    assert_eq!(request.text("rpc.method"), Some("eth_sendRawTransaction"));
    assert_eq!(request.text("rpc.jsonrpc.version"), Some("2.0"));
    assert_eq!(request.text("rpc.jsonrpc.request_id"), Some("1"));
    assert!(!request.failed());
    let sent = chain_call(spans, request, "SendTransaction", "quintet-gateway");
    child(spans, sent, "pool add", "quintet-chain")
}

/// miner → chain → EVM → state root, then import → commit → event → gateway, in the block's trace.
fn check_block(spans: &Spans, added: &Span, hash: &str) {
    let linked = |span: &&&Span| span.links_to(added) && span.text("block.hash") == Some(hash);
    let roots = spans.named("miner: seal block", SpanKind::Internal);
    let root =
        roots.iter().find(linked).unwrap_or_else(|| panic!("no block of the transaction among\n{spans}"));
    assert_eq!(root.service, "quintet-miner");
    assert!(root.is_root() && !root.is_in_trace_of(added), "{spans}");
    assert_eq!(root.integer("block.number"), Some(1));
    assert_eq!(root.integer("block.transactions"), Some(1));

    let build = chain_call(spans, root, "BuildBlock", "quintet-miner");
    let build = child(spans, build, "build block", "quintet-chain");
    child(spans, build, "execute", "quintet-chain");
    child(spans, build, "state root", "quintet-chain");
    assert_eq!((build.integer("number"), build.integer("txs")), (Some(1), Some(1)));

    child(spans, root, "seal", "quintet-miner");
    let submit = chain_call(spans, root, "SubmitBlock", "quintet-miner");
    let import = child(spans, submit, "import block", "quintet-chain");
    assert!(import.links_to(added), "the block's import links to its transaction:\n{spans}");
    assert_eq!(import.text("hash"), Some(hash));
    assert_eq!((import.integer("number"), import.integer("txs")), (Some(1), Some(1)));
    child(spans, import, "commit", "quintet-chain");
    child(spans, import, "pool reset", "quintet-chain");
    child(spans, import, "publish", "quintet-chain");

    let delta = child(spans, import, "block delta", "quintet-gateway");
    assert_eq!(delta.record.kind, SpanKind::Consumer as i32);
    assert_eq!(delta.text("hash"), Some(hash));
    let notified = child(spans, delta, "eth_subscription", "quintet-gateway");
    assert_eq!(notified.record.kind, SpanKind::Producer as i32);
    assert_eq!(notified.text("rpc.system"), Some("jsonrpc"));
    assert_eq!(notified.text("rpc.method"), Some("eth_subscription"));
    assert_eq!(notified.text("quintet.subscription"), Some("newHeads"));
}

#[tokio::test]
async fn a_transaction_is_traced_from_the_wallet_to_the_subscriber() {
    let collector = Collector::start().await;
    let node = quintet("dev")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_TRACES_SAMPLER", "always_on")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start_node()
        .await;
    let mut ws = node.ws().await;
    let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");

    // The miner's first attempt finds an empty pool. It must be over, or it takes the transaction before it knows
    // where it comes from.
    let first = |spans: &Spans| spans.named("miner: seal block", SpanKind::Internal).first().map(|_| ());
    collector.wait_for("first attempt at a block", first).await;

    let transfer = transfer(dev_account(0), 0, Address::repeat_byte(1), 1);
    let wallet = node.rpc.clone().with_header("traceparent", &format!("00-{TRACE_ID}-{SPAN_ID}-01"));
    let raw = hex::encode_prefixed(transfer.encoded_2718());
    let sent: Value = wallet.call("eth_sendRawTransaction", json!([raw])).await.expect("taken");
    assert_eq!(to_hash(&sent), *transfer.tx_hash());
    let head = ws.next(&heads).await.expect("a head");
    let hash = head["hash"].as_str().expect("a hash");

    collector.wait_for("complete traces", is_complete).await;
    // Stopping sends what has not been sent yet.
    node.stop().await;
    let spans = collector.spans();
    let added = check_request(&spans);
    check_block(&spans, added, hash);
    let services = ["quintet-gateway", "quintet-chain", "quintet-miner", "quintet-p2p"];
    assert!(spans.iter().all(|span| services.contains(&span.service.as_str())), "{spans}");
}

#[tokio::test]
async fn a_refused_transaction_is_a_failed_span() {
    let collector = Collector::start().await;
    let node = quintet("dev").env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()).start_node().await;
    let wrong = transfer(dev_account(0), 0, Address::repeat_byte(1), u64::MAX);
    let poor = quintet_testkit::accounts::TestAccount::from_secret([7; 32].into());
    let wrong = poor.sign(wrong.as_eip1559().expect("its type").tx().clone());
    let raw = hex::encode_prefixed(wrong.encoded_2718());
    let refused = node.rpc.call("eth_sendRawTransaction", json!([raw])).await.expect_err("refused").rpc();
    assert_eq!(refused.code, -32000);
    assert!(refused.message.starts_with("insufficient funds for gas * price + value"), "{refused}");
    node.stop().await;

    let spans = collector.spans();
    let request = spans.one("eth_sendRawTransaction", SpanKind::Server);
    assert!(request.failed() && request.is_root(), "{spans}");
    assert_eq!(request.integer("rpc.jsonrpc.error_code"), Some(-32000));
    assert_eq!(request.text("rpc.jsonrpc.error_message"), Some(refused.message.as_str()));
}
