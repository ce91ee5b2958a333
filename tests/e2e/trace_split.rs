//! One transaction, sent to one gateway of a split node, is one trace: over `chain`, the miner, the EVM, PostgreSQL and
//! Redis to the subscribers of another gateway. And what the services log on the way names that trace.
//!
//! A trace is *one* where its spans form one graph: a span is joined to its parent, and to what it links to. That graph
//! must hold every step of [`STEPS`], each joined to the step that it names, and no span whose parent is missing.

use crate::fixture::{call, count, deploy_counter, send_and_wait, try_send};
use quintet_testkit::accounts::dev_account;
use quintet_testkit::otlp::SpanKind::{Client, Consumer, Internal, Producer, Server};
use quintet_testkit::otlp::{Collector, Span, SpanKind, Spans};
use quintet_testkit::process::Program;
use quintet_testkit::split::{Options, Service, Split};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The wallet's own trace and span.
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_ID: &str = "b7ad6b7169203331";
const GATEWAY: &str = "quintet-gateway";
const CHAIN: &str = "quintet-chain";
const MINER: &str = "quintet-miner";

/// How a step is joined to an earlier one, which is named by its place.
#[derive(Clone, Copy, Debug)]
enum Joined {
    /// It is a child of the wallet's span.
    Wallet,
    /// It is a child.
    Child(usize),
    /// It is the root of a trace of its own, and links to it.
    Links(usize),
}

/// A span that must be there.
#[derive(Debug)]
struct Step {
    service: &'static str,
    /// The replica, if it matters.
    instance: Option<&'static str>,
    name: &'static str,
    kind: SpanKind,
    joined: Joined,
    /// An attribute with its value; `HASH` stands for the block's hash.
    with: Option<(&'static str, &'static str)>,
}

const HASH: &str = "<hash of the block>";

const fn step(service: &'static str, name: &'static str, kind: SpanKind, joined: Joined) -> Step {
    Step { service, instance: None, name, kind, joined, with: None }
}

impl Step {
    const fn at(self, instance: &'static str) -> Self {
        Self { instance: Some(instance), ..self }
    }

    const fn with(self, key: &'static str, value: &'static str) -> Self {
        Self { with: Some((key, value)), ..self }
    }
}

/// The step in which the pool took the transaction.
const ADDED: usize = 3;
/// The step in which the block was made.
const SEALED: usize = 7;
/// The step of the block's import.
const IMPORTED: usize = 16;
/// The step in which the other gateway took the block.
const TAKEN: usize = 23;
const SEND: &str = "quintet.chain.v1.ChainService/SendTransaction";
const BUILD: &str = "quintet.chain.v1.ChainService/BuildBlock";
const SUBMIT: &str = "quintet.chain.v1.ChainService/SubmitBlock";

/// Every step of the way.
const STEPS: &[Step] = &[
    step(GATEWAY, "eth_sendRawTransaction", Server, Joined::Wallet).at("gateway-0"),
    step(GATEWAY, SEND, Client, Joined::Child(0)).at("gateway-0"),
    step(CHAIN, SEND, Server, Joined::Child(1)),
    step(CHAIN, "pool add", Internal, Joined::Child(2)),
    step(CHAIN, "journal append", Internal, Joined::Child(ADDED)),
    step(CHAIN, "publish", Producer, Joined::Child(ADDED)),
    step(GATEWAY, "eth_subscription", Producer, Joined::Child(ADDED))
        .at("gateway-1")
        .with("quintet.subscription", "newPendingTransactions"),
    step(MINER, "miner: seal block", Internal, Joined::Links(ADDED)).with("block.hash", HASH),
    step(MINER, BUILD, Client, Joined::Child(SEALED)),
    step(CHAIN, BUILD, Server, Joined::Child(8)),
    step(CHAIN, "build block", Internal, Joined::Child(9)),
    step(CHAIN, "execute", Internal, Joined::Child(10)),
    step(CHAIN, "state root", Internal, Joined::Child(10)),
    step(MINER, "seal", Internal, Joined::Child(SEALED)),
    step(MINER, SUBMIT, Client, Joined::Child(SEALED)),
    step(CHAIN, SUBMIT, Server, Joined::Child(14)),
    step(CHAIN, "import block", Internal, Joined::Child(15)).with("hash", HASH),
    step(CHAIN, "commit", Internal, Joined::Child(IMPORTED)),
    step(CHAIN, "PostgreSQL commit", Client, Joined::Child(17)).with("db.system.name", "postgresql"),
    step(CHAIN, "pool reset", Internal, Joined::Child(IMPORTED)),
    step(CHAIN, "publish", Producer, Joined::Child(IMPORTED)),
    step(CHAIN, "XADD block", Producer, Joined::Child(IMPORTED)),
    step(GATEWAY, "block delta", Consumer, Joined::Child(IMPORTED)).at("gateway-0").with("hash", HASH),
    step(GATEWAY, "block delta", Consumer, Joined::Child(IMPORTED)).at("gateway-1").with("hash", HASH),
    step(GATEWAY, "eth_subscription", Producer, Joined::Child(TAKEN))
        .at("gateway-1")
        .with("quintet.subscription", "newHeads"),
    step(GATEWAY, "eth_subscription", Producer, Joined::Child(TAKEN))
        .at("gateway-1")
        .with("quintet.subscription", "logs"),
];

impl Step {
    fn is(&self, span: &Span, hash: &str, found: &[&Span]) -> bool {
        let joined = match self.joined {
            Joined::Wallet => span.trace_id() == TRACE_ID && parent_id(span) == SPAN_ID,
            Joined::Child(at) => span.is_child_of(found[at]),
            Joined::Links(at) => span.is_root() && span.links_to(found[at]),
        };
        let value = |wanted| if wanted == HASH { hash } else { wanted };
        joined
            && (span.service == self.service && span.record.name == self.name)
            && span.record.kind == self.kind as i32
            && self.instance.is_none_or(|instance| span.instance == instance)
            && self.with.is_none_or(|(key, wanted)| span.text(key) == Some(value(wanted)))
    }
}

fn parent_id(span: &Span) -> String {
    alloy_primitives::hex::encode(&span.record.parent_span_id)
}

/// The spans of all steps, in their order, or the first one that is missing.
fn follow<'a>(spans: &'a Spans, hash: &str) -> Result<Vec<&'a Span>, &'static Step> {
    let mut found: Vec<&Span> = Vec::new();
    for step in STEPS {
        let next = spans.iter().find(|span| step.is(span, hash, &found)).ok_or(step)?;
        found.push(next);
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

/// A service's command, with its name in its spans, and logs for machines.
fn observed(split: &Split, service: Service) -> Program {
    split
        .program(service)
        .args(["--log.format", "json", "--log.filter", "warn,quintet=debug"])
        .env("OTEL_RESOURCE_ATTRIBUTES", format!("service.instance.id={service}"))
}

async fn start(collector: &Collector) -> Split {
    let options = Options {
        otlp: Some(collector.endpoint().to_owned()),
        ..Options::beside(env!("CARGO_BIN_EXE_quintet"))
    };
    let mut split = Split::prepare(options).await;
    for service in split.services() {
        let program = observed(&split, service);
        split.launch_as(service, &program);
    }
    for service in split.services() {
        split.wait_ready(service).await;
    }
    split
}

/// Waits until the miner has looked for more work after its block and found none: what is sent next is in a block that
/// begins with it.
async fn wait_for_rest(collector: &Collector, block_hash: &str) {
    let rested = |spans: &Spans| {
        let attempts = spans.named("miner: seal block", SpanKind::Internal);
        let of_block = attempts.iter().position(|span| span.text("block.hash") == Some(block_hash))?;
        let idle = |span: &&Span| span.text("outcome") == Some("nothing to include");
        attempts.iter().skip(of_block + 1).any(idle).then_some(())
    };
    collector.wait_for("rest after the block", rested).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_one_trace_over_all_services() {
    let collector = Collector::start().await;
    let mut split = start(&collector).await;
    let deployed = send_and_wait(&split.rpc(0), &deploy_counter()).await;
    wait_for_rest(&collector, deployed["blockHash"].as_str().expect("a hash")).await;
    let mut ws = split.ws(1).await;
    let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
    for topic in ["logs", "newPendingTransactions"] {
        ws.subscribe(json!([topic])).await.expect("subscribed");
    }

    let wallet = split.rpc(0).with_header("traceparent", &format!("00-{TRACE_ID}-{SPAN_ID}-01"));
    let sent = try_send(&wallet, &count(dev_account(0), 1)).await.expect("taken");
    let head = ws.next(&heads).await.expect("a head");
    let hash = head["hash"].as_str().expect("a hash").to_owned();
    let receipt = call(&split.rpc(1), "eth_getTransactionReceipt", json!([sent])).await;
    assert_eq!(receipt["blockHash"], head["hash"], "the head that was told of has the transaction");

    // Spans come in batches: the last are those that end last.
    let arrived = std::time::Instant::now();
    while let Err(missing) = follow(&collector.spans(), &hash) {
        let spans = collector.spans();
        assert!(arrived.elapsed().as_secs() < 30, "no {missing:?} in\n{}", rendered(&spans));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for service in split.services() {
        // Stopping sends what has not been sent yet.
        split.stop(service).await;
    }
    let spans = collector.spans();
    let steps =
        follow(&spans, &hash).unwrap_or_else(|missing| panic!("no {missing:?} in\n{}", rendered(&spans)));
    check_graph(&spans, steps[0]);
    check_logs(&split, &steps);
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
fn check_logs(split: &Split, steps: &[&Span]) {
    let miner = steps[SEALED].instance.clone();
    let miner = split.services().into_iter().find(|service| service.to_string() == miner).expect("a miner");
    for (service, message, step) in [
        (Service::Gateway(0), "Served", 0),
        (Service::Chain, "Imported new chain segment", IMPORTED),
        (Service::Chain, "RPC answered", 2),
        (miner, "Successfully sealed new block", SEALED),
    ] {
        let (trace, span) = (steps[step].trace_id(), steps[step].span_id());
        let log = split.log(service);
        let lines: Vec<_> = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect();
        let said = lines.iter().any(|line| {
            line["message"] == message
                && line["trace_id"] == trace.as_str()
                && line["span_id"] == span.as_str()
        });
        assert!(said, "{service} does not log {message:?} in {trace} {span}:\n{log}");
    }
    for service in split.services() {
        for line in split.log(service).lines() {
            let line: Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("{service}: no JSON: {line}"));
            let fields = ["timestamp", "level", "target", "message"];
            assert!(fields.iter().all(|field| line[field].is_string()), "{service}: {line}");
        }
    }
}
