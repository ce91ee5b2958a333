//! The metrics of a split node at work: every one is in the catalogue, with its labels, and a real Prometheus, which
//! scrapes the node as ours is configured to, answers every query of the dashboards.

use crate::fixture::{call, count, deploy_counter, send_and_wait, until};
use crate::promql::{self, Query};
use quintet_service::metrics::catalogue::{Kind, METRICS};
use quintet_testkit::accounts::dev_account;
use quintet_testkit::process::{Process, Program, free_port};
use quintet_testkit::split::{Options, Service, Split};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Between scrapes.
const INTERVAL: Duration = Duration::from_secs(1);
/// Panels that show only what went wrong: their queries have no series on a node that is well.
const OF_TROUBLE: [&str; 3] = ["failed", "Checks that do not hold", "Errors by method"];
/// The dashboard of what only a node with peers has to tell; `peers` has some.
const OF_PEERS: &str = "peers.json";
/// What is told only in certain cases: after a lease, with limits or a file of keys, with a block from Redis, with peers.
const NOT_ALWAYS: [&str; 7] = [
    "quintet_rpc_",
    "quintet_miner_lease_token",
    "quintet_discovery_",
    "quintet_p2p_",
    "quintet_chain_peer",
    "quintet_chain_sync",
    "quintet_chain_fetcher",
];

/// Samples of a text: names, each with its labels.
fn samples(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let used = promql::used(line.rsplit_once(' ').expect("a name and a value").0);
        let name = used.metrics.into_iter().next().unwrap_or_else(|| panic!("no name: {line}"));
        found.entry(name).or_default().extend(used.labels);
    }
    found
}

/// The metric that a sample belongs to.
fn metric_of<'a>(name: &'a str, text: &str) -> &'a str {
    let parts = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
    parts.filter(|whole| text.contains(&format!("# TYPE {whole} histogram"))).unwrap_or(name)
}

/// Checks one service's text against the catalogue; gives the names that it tells.
pub(crate) fn check(service: Service, text: &str) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for (name, labels) in samples(text) {
        let whole = metric_of(&name, text);
        if whole.starts_with("process_") {
            continue;
        }
        let metric = METRICS.iter().find(|metric| metric.name == whole);
        let metric =
            metric.unwrap_or_else(|| panic!("{service} tells {whole}, which is not in the catalogue"));
        let known: BTreeSet<_> = metric.labels.iter().map(|label| label.name).chain(["le"]).collect();
        let unknown: Vec<_> = labels.iter().filter(|label| !known.contains(label.as_str())).collect();
        assert!(
            unknown.is_empty(),
            "{service}: {name} has labels {unknown:?}, which the catalogue does not know"
        );
        let of = metric.services.iter().any(|its| service.binary() == its.full_name());
        assert!(of, "{service} tells {name}, and the catalogue does not say so");
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        for line in [format!("# TYPE {whole} {kind}\n"), format!("# HELP {whole} ")] {
            assert!(text.contains(&line), "{service}: no {line:?}");
        }
        told.insert(whole.to_owned());
    }
    told
}

/// Blocks, logs, reads and subscriptions, so that there is something to tell.
async fn work(split: &Split) {
    let mut ws = split.ws(1).await;
    let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
    let deployed = send_and_wait(&split.rpc(0), &deploy_counter()).await;
    for nonce in 1..4 {
        send_and_wait(&split.rpc(0), &count(dev_account(0), nonce)).await;
        ws.next(&heads).await.expect("a head");
    }
    for gateway in 0..split.gateways() {
        let rpc = split.rpc(gateway);
        let contract = &deployed["contractAddress"];
        call(&rpc, "eth_call", json!([{ "to": contract }, "latest"])).await;
        call(&rpc, "eth_getBlockByNumber", json!(["0x1", true])).await;
        call(&rpc, "eth_getBalance", json!([contract, "0x0"])).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_node_tells_what_the_catalogue_and_the_dashboards_say() {
    let split = Split::start(Options::beside(env!("CARGO_BIN_EXE_quintet"))).await;
    let prometheus = Prometheus::start(&split).await;
    work(&split).await;

    let mut told: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for service in split.services() {
        let names = check(service, &split.metrics(service).await);
        told.entry(service.binary()).or_default().extend(names);
    }
    for metric in METRICS.iter().filter(|metric| !NOT_ALWAYS.iter().any(|name| metric.name.starts_with(name)))
    {
        // What all may tell, not all have reason to.
        let by = metric.services.iter().any(|service| told[service.full_name()].contains(metric.name));
        assert!(by, "none of {:?} tells {}", metric.services, metric.name);
    }
    let Some(prometheus) = prometheus else { return };
    prometheus.check_dashboards().await;
}

/// A real Prometheus.
struct Prometheus {
    process: Process,
    address: String,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes every service of `split`; none where it is not installed.
    async fn start(split: &Split) -> Option<Self> {
        if !Path::new("/usr/bin/prometheus").exists() {
            eprintln!("no prometheus: the dashboards' queries are checked by their names alone");
            return None;
        }
        let target = |service: Service| {
            let name = service.binary().trim_start_matches("quintet-");
            json!({ "targets": [split.admin(service)], "labels": { "service": name } })
        };
        let targets: Vec<_> = split.services().into_iter().map(target).collect();
        let interval = format!("{}s", INTERVAL.as_secs());
        // JSON is YAML.
        let configuration = json!({
            "global": { "scrape_interval": interval, "scrape_timeout": interval },
            "scrape_configs": [{ "job_name": "quintet", "static_configs": targets }],
        });
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration.to_string()).expect("written");
        let address = format!("127.0.0.1:{}", free_port());
        let process = Program::new("/usr/bin/prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .start();
        let started = Self { process, address, _folder: folder };
        until("Prometheus", async || started.query("vector(1)").await.ok()).await;
        Some(started)
    }

    /// The series that a query gives.
    async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let address = &self.address;
        let output = tokio::process::Command::new("promtool")
            .args(["query", "instant", "-o", "json", &format!("http://{address}"), expression])
            .output()
            .await
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let answer: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        Ok(answer.as_array().cloned().unwrap_or_default())
    }

    /// Every query is one, and has series unless it looks for trouble.
    async fn check_dashboards(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        for query in promql::dashboards(root) {
            let expression = query.expanded();
            let valid = self.query(&expression).await;
            assert!(valid.is_ok(), "{query}: {}\n{}", valid.unwrap_err(), self.process.log());
            if query.place.contains(OF_PEERS) || OF_TROUBLE.iter().any(|title| query.place.contains(title)) {
                continue;
            }
            self.wait_for_series(&query, &expression).await;
        }
    }

    /// Waits for series, since rates need two scrapes; these must have the labels that name them.
    async fn wait_for_series(&self, query: &Query, expression: &str) {
        let found = tokio::time::timeout(20 * INTERVAL, async {
            loop {
                match self.query(expression).await {
                    Ok(series) if !series.is_empty() => return series,
                    _ => tokio::time::sleep(INTERVAL / 4).await,
                }
            }
        });
        let found = found.await.unwrap_or_else(|_| panic!("{query}: no series for {expression}"));
        for label in promql::legend_labels(&query.legend) {
            let has = |series: &Value| series["metric"][&label].is_string();
            assert!(found.iter().all(has), "{query}: a series without the label {label}: {found:?}");
        }
    }
}
