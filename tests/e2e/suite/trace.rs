//! One transaction, sent to one gateway, is one trace: over `chain`, the miner, the EVM, PostgreSQL and Redis to the
//! subscribers of another gateway. And what the services log on the way names that trace.
//!
//! A trace is *one* where its spans form one graph: a span is joined to its parent, and to what it links to. That graph
//! must hold every step of [`STEPS`], each joined to the step that it names, and no span whose parent is missing.

use super::deployment::Deployment;
use super::wallet::next_nonce;
use crate::fixture::{call, try_send, until};
use crate::load::{Plan, deploy_tally};
use quintet_testkit::accounts::dev_account;
use quintet_testkit::otlp::SpanKind::{Client, Consumer, Internal, Producer, Server};
use quintet_testkit::otlp::{Collector, Span, SpanKind, Spans};
use quintet_testkit::rpc::{HttpClient, WsClient};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The wallet's own trace and span.
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID: &str = "b7ad6b7169203331";
const GATEWAY: &str = "quintet-gateway";
const CHAIN: &str = "quintet-chain";
const MINER: &str = "quintet-miner";
/// Subscribers, so that a load balancer gives some to another gateway than the one that takes the transaction.
const SUBSCRIBERS: usize = 4;

/// How a step is joined to an earlier one, which is named by its place.
#[derive(Clone, Copy, Debug)]
enum Joined {
    /// It is a child of the wallet's span.
    Wallet,
    /// It is a child.
    Child(usize),
    /// It is the parent.
    Parent(usize),
    /// It links to it.
    Links(usize),
}

/// Which replica's step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replica {
    Any,
    /// The one that took the transaction.
    Asked,
    /// One that did not.
    Other,
}

/// A span that must be there.
#[derive(Debug)]
struct Step {
    service: &'static str,
    replica: Replica,
    name: &'static str,
    kind: SpanKind,
    joined: Joined,
    /// An attribute with its value; `HASH` stands for the block's hash.
    with: Option<(&'static str, &'static str)>,
    /// Whether one process has no such step.
    only_split: bool,
}

const HASH: &str = "<hash of the block>";

const fn step(service: &'static str, name: &'static str, kind: SpanKind, joined: Joined) -> Step {
    Step { service, replica: Replica::Any, name, kind, joined, with: None, only_split: false }
}

impl Step {
    const fn at(self, replica: Replica) -> Self {
        Self { replica, ..self }
    }

    const fn with(self, key: &'static str, value: &'static str) -> Self {
        Self { with: Some((key, value)), ..self }
    }

    const fn only_split(self) -> Self {
        Self { only_split: true, ..self }
    }
}

/// The step in which the pool took the transaction.
const ADDED: usize = 3;
/// The step of the block's import, from which the miner is found upwards.
const IMPORTED: usize = 7;
/// The step in which the block was made.
const SEALED: usize = 10;
/// The step in which the other gateway took the block.
const TAKEN: usize = 17;
const SEND: &str = "quintet.chain.v1.ChainService/SendTransaction";
const BUILD: &str = "quintet.chain.v1.ChainService/BuildBlock";
const SUBMIT: &str = "quintet.chain.v1.ChainService/SubmitBlock";

/// Every step of the way.
const STEPS: &[Step] = &[
    step(GATEWAY, "eth_sendRawTransaction", Server, Joined::Wallet),
    step(GATEWAY, SEND, Client, Joined::Child(0)).at(Replica::Asked),
    step(CHAIN, SEND, Server, Joined::Child(1)),
    step(CHAIN, "pool add", Internal, Joined::Child(2)),
    step(CHAIN, "journal append", Internal, Joined::Child(ADDED)),
    step(CHAIN, "publish", Producer, Joined::Child(ADDED)),
    step(GATEWAY, "eth_subscription", Producer, Joined::Child(ADDED))
        .at(Replica::Other)
        .with("quintet.subscription", "newPendingTransactions"),
    step(CHAIN, "import block", Internal, Joined::Links(ADDED)).with("hash", HASH),
    step(CHAIN, SUBMIT, Server, Joined::Parent(IMPORTED)),
    step(MINER, SUBMIT, Client, Joined::Parent(8)),
    step(MINER, "miner: seal block", Internal, Joined::Parent(9)).with("block.hash", HASH),
    step(MINER, BUILD, Client, Joined::Child(SEALED)),
    step(CHAIN, BUILD, Server, Joined::Child(11)),
    step(CHAIN, "build block", Internal, Joined::Child(12)),
    step(CHAIN, "execute", Internal, Joined::Child(13)),
    step(CHAIN, "state root", Internal, Joined::Child(13)),
    step(GATEWAY, "block delta", Consumer, Joined::Child(IMPORTED)).at(Replica::Asked).with("hash", HASH),
    step(GATEWAY, "block delta", Consumer, Joined::Child(IMPORTED)).at(Replica::Other).with("hash", HASH),
    step(GATEWAY, "eth_subscription", Producer, Joined::Child(TAKEN))
        .at(Replica::Other)
        .with("quintet.subscription", "newHeads"),
    step(GATEWAY, "eth_subscription", Producer, Joined::Child(TAKEN))
        .at(Replica::Other)
        .with("quintet.subscription", "logs"),
    step(MINER, "seal", Internal, Joined::Child(SEALED)),
    step(CHAIN, "commit", Internal, Joined::Child(IMPORTED)),
    step(CHAIN, "PostgreSQL commit", Client, Joined::Child(21))
        .with("db.system.name", "postgresql")
        .only_split(),
    step(CHAIN, "pool reset", Internal, Joined::Child(IMPORTED)),
    step(CHAIN, "publish", Producer, Joined::Child(IMPORTED)),
    step(CHAIN, "XADD block", Producer, Joined::Child(IMPORTED)).only_split(),
    step(MINER, "publish", Producer, Joined::Child(SEALED)),
    step(MINER, "XADD work", Producer, Joined::Child(26)).only_split(),
    step(MINER, "new work", Consumer, Joined::Child(26)).only_split(),
];

impl Step {
    fn is(&self, span: &Span, hash: &str, found: &[&Span]) -> bool {
        let joined = match self.joined {
            Joined::Wallet => span.trace_id() == TRACE_ID && parent_id(span) == SPAN_ID,
            Joined::Child(at) => span.is_child_of(found[at]),
            Joined::Parent(at) => found[at].is_child_of(span),
            Joined::Links(at) => span.links_to(found[at]),
        };
        let replica = match self.replica {
            Replica::Any => true,
            Replica::Asked => span.instance == found[0].instance,
            Replica::Other => span.instance != found[0].instance,
        };
        let value = |wanted| if wanted == HASH { hash } else { wanted };
        joined
            && replica
            && (span.service == self.service && span.record.name == self.name)
            && span.record.kind == self.kind as i32
            && self.with.is_none_or(|(key, wanted)| span.text(key) == Some(value(wanted)))
    }
}

fn parent_id(span: &Span) -> String {
    alloy_primitives::hex::encode(&span.record.parent_span_id)
}

/// The spans of all steps, in their order, or the first one that is missing.
fn follow<'a>(spans: &'a Spans, hash: &str, split: bool) -> Result<Vec<&'a Span>, &'static Step> {
    let mut found: Vec<&Span> = Vec::new();
    for step in STEPS {
        // One process has one gateway, and what it leaves out keeps its place.
        let own = if split { Step { ..*step } } else { Step { replica: Replica::Any, ..*step } };
        match spans.iter().find(|span| own.is(span, hash, &found)) {
            Some(next) => found.push(next),
            None if step.only_split && !split => found.push(found[0]),
            None => return Err(step),
        }
    }
    Ok(found)
}

/// Everything that is joined to `start`, over parents and links, in the order in which it began.
fn joined_to<'a>(spans: &'a Spans, start: &Span) -> Vec<&'a Span> {
    let joins = |one: &Span, other: &Span| {
        one.is_child_of(other) || other.is_child_of(one) || one.links_to(other) || other.links_to(one)
    };
    let (mut reached, mut rest): (Vec<_>, Vec<_>) =
        spans.iter().partition(|span| span.span_id() == start.span_id());
    let mut next = 0;
    while let Some(span) = reached.get(next).copied() {
        let (more, others) = rest.into_iter().partition(|other| joins(span, other));
        reached.extend::<Vec<_>>(more);
        rest = others;
        next += 1;
    }
    reached.sort_by_key(|span| span.record.start_time_unix_nano);
    reached
}

/// The graph, for people: trees of parents and children, each root with what it links to.
fn render(graph: &[&Span]) -> String {
    let mut text = String::new();
    for top in graph.iter().filter(|span| !graph.iter().any(|parent| span.is_child_of(parent))) {
        render_below(graph, top, 0, &mut text);
    }
    text
}

fn render_below(graph: &[&Span], span: &Span, depth: usize, text: &mut String) {
    let (instance, name, id) = (&span.instance, &span.record.name, span.span_id());
    let parent =
        if depth == 0 && !span.is_root() { format!(" below {}", parent_id(span)) } else { String::new() };
    write!(text, "{:1$}{instance}: {name} {id}{parent}", "", 2 * depth).expect("memory");
    for other in graph.iter().filter(|other| span.links_to(other)) {
        write!(text, " => {} {}", other.record.name, other.span_id()).expect("memory");
    }
    text.push('\n');
    for child in graph.iter().filter(|child| child.is_child_of(span)) {
        render_below(graph, child, depth + 1, text);
    }
}

/// What is joined to the wallet's request, rendered.
fn rendered(spans: &Spans) -> String {
    let request = spans.iter().find(|span| parent_id(span) == SPAN_ID);
    request.map_or_else(
        || format!("the request is missing among\n{spans}"),
        |start| render(&joined_to(spans, start)),
    )
}

/// Waits until the miner has looked for more work after a block and found none: what is sent next is in a block that
/// begins with it.
async fn wait_for_rest(collector: &Collector) {
    let rested = |spans: &Spans| {
        let attempts = spans.named("miner: seal block", SpanKind::Internal);
        let sealed = attempts.iter().rposition(|span| span.text("block.hash").is_some())?;
        let idle = |span: &&Span| span.text("outcome") == Some("nothing to include");
        attempts.iter().skip(sealed + 1).any(idle).then_some(())
    };
    collector.wait_for("rest after the block", rested).await;
}

/// Sends to one gateway what others subscribed to, and gives the hash of its block.
async fn send_watched(deployment: &Deployment, collector: &Collector) -> String {
    let urls = deployment.urls();
    let account = dev_account(6);
    let rpc = HttpClient::new(urls[0].clone());
    let tally = deploy_tally(&rpc, account).await;
    if deployment.seals_at_once() {
        wait_for_rest(collector).await;
    }
    let mut subscribers = Vec::new();
    for url in urls.iter().rev().cycle().take(SUBSCRIBERS) {
        let mut ws = WsClient::connect(&url.replacen("http", "ws", 1)).await.expect("connected");
        let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
        for topic in ["logs", "newPendingTransactions"] {
            ws.subscribe(json!([topic])).await.expect("subscribed");
        }
        subscribers.push((ws, heads));
    }
    let nonce = next_nonce(&rpc, account).await;
    let wallet = rpc.clone().with_header("traceparent", &format!("00-{TRACE_ID}-{SPAN_ID}-01"));
    let sent = try_send(&wallet, &Plan::tally(account, nonce, tally)).await.expect("taken");
    let other = HttpClient::new(urls[1].clone());
    let receipt = until("receipt", async || {
        let receipt = call(&other, "eth_getTransactionReceipt", json!([sent])).await;
        (!receipt.is_null()).then_some(receipt)
    })
    .await;
    let hash = receipt["blockHash"].as_str().expect("a hash").to_owned();
    for (ws, heads) in &mut subscribers {
        while ws.next(heads).await.expect("a head")["hash"] != hash.as_str() {}
    }
    hash
}

pub(super) async fn a_transaction_is_one_trace() {
    let (mut deployment, collector) = Deployment::start_observed().await;
    let split = deployment.is_split();
    let hash = send_watched(&deployment, &collector).await;
    // Spans come in batches: the last are those that end last.
    let arrived = std::time::Instant::now();
    while let Err(missing) = follow(&collector.spans(), &hash, split) {
        let spans = collector.spans();
        assert!(arrived.elapsed().as_secs() < 30, "no {missing:?} in\n{}", rendered(&spans));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // Stopping sends what has not been sent yet.
    deployment.send_spans().await;
    let spans = collector.spans();
    let steps = follow(&spans, &hash, split)
        .unwrap_or_else(|missing| panic!("no {missing:?} in\n{}", rendered(&spans)));
    if deployment.seals_at_once() {
        let (sealed, added) = (steps[SEALED], steps[ADDED]);
        assert!(sealed.is_root() && sealed.links_to(added), "{}", rendered(&spans));
    }
    check_graph(&spans, steps[0]);
    check_logs(&deployment, &steps).await;
}

/// The graph of the request has every step's service in it, and no hole.
fn check_graph(spans: &Spans, request: &Span) {
    let graph = joined_to(spans, request);
    let rendered = render(&graph);
    for span in &graph {
        let has_parent = span.is_root() || parent_id(span) == SPAN_ID || spans.parent(span).is_some();
        assert!(has_parent, "the parent of {} {} is missing:\n{rendered}", span.record.name, span.span_id());
        assert!(!span.failed(), "{} {} failed:\n{rendered}", span.record.name, span.span_id());
    }
    let services: BTreeSet<_> = graph.iter().map(|span| span.service.as_str()).collect();
    assert_eq!(services, [CHAIN, GATEWAY, MINER].into(), "{rendered}");
    let ours: Vec<_> = graph.iter().filter(|span| span.trace_id() == TRACE_ID).collect();
    assert!(ours.len() > ADDED, "the wallet's own trace goes on in the node:\n{rendered}");
}

/// What was logged within a span says so.
async fn check_logs(deployment: &Deployment, steps: &[&Span]) {
    let Some(details) = deployment.json_logs() else { return };
    let mut messages =
        vec![("Imported new chain segment", IMPORTED), ("Successfully sealed new block", SEALED)];
    if details {
        messages.extend([("Served", 0), ("RPC answered", 2)]);
    }
    for (message, step) in messages {
        let (service, trace, span) = (&steps[step].service, steps[step].trace_id(), steps[step].span_id());
        let log = deployment.logs(service).await;
        let said = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| {
            line["message"] == message
                && line["trace_id"] == trace.as_str()
                && line["span_id"] == span.as_str()
        });
        assert!(said, "{service} does not log {message:?} in {trace} {span}:\n{log}");
    }
    for service in [GATEWAY, CHAIN, MINER, "quintet-p2p", "quintet-discovery"] {
        for line in deployment.logs(service).await.lines() {
            let line: Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("{service}: no JSON: {line}"));
            let fields = ["timestamp", "level", "target", "message"];
            assert!(fields.iter().all(|field| line[field].is_string()), "{service}: {line}");
        }
    }
}
