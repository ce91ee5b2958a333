//! One trace from the wire: a block that a peer sends, over `p2p`, `chain`, the EVM and the commit, to whoever subscribed at a
//! gateway.

use super::pair::Pair;
use super::split::peers_of;
use crate::chains::{Chain, Home, blocks, imported};
use crate::fixture::{to_u64, until};
use crate::metrics::check;
use alloy_rlp::Decodable as _;
use quintet_p2p_api::NodeRecord;
use quintet_testkit::otlp::SpanKind::{Client, Consumer, Internal, Producer};
use quintet_testkit::otlp::{Collector, Span, SpanKind, Spans};
use quintet_testkit::split::{Options, Service, Split};
use quintet_types::Block;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

const P2P: &str = "quintet-p2p";
const CHAIN: &str = "quintet-chain";
const GATEWAY: &str = "quintet-gateway";

/// The way of the block, each step below the one before it, though not right below.
const STEPS: &[(&str, &str, SpanKind)] = &[
    (P2P, "NewBlock from peer", Consumer),
    (CHAIN, "NewBlock", Consumer),
    (CHAIN, "import block", Internal),
    (CHAIN, "commit", Internal),
    (CHAIN, "PostgreSQL commit", Client),
];
/// What else is below the import.
const BESIDE: &[(&str, &str, SpanKind)] = &[
    (CHAIN, "execute", Internal),
    (CHAIN, "state root", Internal),
    (GATEWAY, "block delta", Consumer),
    (GATEWAY, "eth_subscription", Producer),
];

/// Whether a span is below another, or it.
fn is_below(spans: &Spans, span: &Span, above: &Span) -> bool {
    let mut span = span;
    while span.span_id() != above.span_id() {
        let Some(parent) = spans.parent(span) else { return false };
        span = parent;
    }
    true
}

/// The first span of this kind below another.
fn below<'a>(spans: &'a Spans, above: &Span, step: &(&str, &str, SpanKind)) -> Option<&'a Span> {
    let (service, name, kind) = *step;
    let named = spans.named(name, kind).into_iter();
    named.filter(|span| span.service == service).find(|span| is_below(spans, span, above))
}

/// The steps of one block's way; the first that is missing otherwise.
fn follow(spans: &Spans) -> Result<(), String> {
    let (service, name, kind) = STEPS[0];
    let root = spans.named(name, kind).into_iter().find(|span| span.service == service && span.is_root());
    let root = root.ok_or_else(|| format!("{name} as a root"))?;
    let mut above = root;
    let mut import = root;
    for step in &STEPS[1..] {
        above = below(spans, above, step).ok_or_else(|| format!("{step:?}"))?;
        if step.1 == "import block" {
            import = above;
        }
    }
    BESIDE.iter().try_for_each(|step| below(spans, import, step).map(drop).ok_or_else(|| format!("{step:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_from_a_peer_is_one_trace() {
    let Some(chain) = Chain::clique() else { return };
    let bytes = chain.bytes();
    let places = blocks(&bytes);
    let last = places.last().expect("a block").clone();
    let block = Block::decode(&mut &bytes[last.clone()]).expect("the last block");
    let home = Home::embedded();
    home.init(&chain).await;
    let but_the_last = home.write("chain.rlp", &bytes[..last.start]);
    imported(&home.import(&chain, &but_the_last)).await;
    let giver = Pair::start(home.path(), &[], &[]);

    let collector = Collector::start().await;
    let genesis = chain.genesis().and_then(Path::to_str).expect("a genesis file");
    let network = vec!["--genesis".to_owned(), genesis.to_owned()];
    let otlp = Some(collector.endpoint().to_owned());
    let options = Options::beside(env!("CARGO_BIN_EXE_quintet"));
    let mut split = Split::start(Options { miners: 0, gateways: 1, network, otlp, ..options }).await;
    let node = NodeRecord { enode: giver.enode().await, ..NodeRecord::default() };
    peers_of(&split, 0).add_peer(node).await.expect("added");
    until("the blocks before", async || {
        let number = split.rpc(0).call("eth_blockNumber", json!([])).await.expect("a number");
        (to_u64(&number) + 1 == chain.head.0).then_some(())
    })
    .await;

    let mut ws = split.ws(0).await;
    let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
    giver.chain.submit_block(&block, 0).await.expect("taken");
    let head = ws.next(&heads).await.expect("a head");
    assert_eq!(head["hash"], chain.head.1.to_string(), "{head}");
    let mut told = BTreeSet::new();
    for service in split.services() {
        told.extend(check(service, &split.metrics(service).await));
    }
    let of_peers = [
        "quintet_p2p_messages_total",
        "quintet_chain_peer_messages_total",
        "quintet_chain_sync_headers_total",
    ];
    assert!(of_peers.iter().all(|name| told.contains(*name)), "{told:?}");
    for service in [Service::Gateway(0), Service::P2p(0), Service::Chain] {
        // Stopping sends what spans there are.
        split.stop(service).await;
    }
    collector.wait_for("the way of the block", |spans| follow(spans).ok()).await;
}
