//! What operators are told of metrics is true: the code records those of the catalogue and no others, and
//! `docs/observe.md` and the dashboards know no others.

use quintet_service::metrics::catalogue::{Kind, METRICS, Metric};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "promql.rs"]
mod promql;

/// What every process tells of itself.
const PROCESS: [&str; 5] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];
/// What Prometheus itself puts on every sample, and our scrape configuration.
const TARGET_LABELS: [&str; 3] = ["instance", "job", "service"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|its| its == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The names of all metrics in the sources, outside of tests.
fn recorded() -> BTreeSet<String> {
    let sources = ["crates", "services", "node"].map(|part| files(&root().join(part), "rs")).concat();
    let of_tests = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "tests");
    let mut names = BTreeSet::new();
    for path in sources.iter().filter(|path| !of_tests(path) && !path.ends_with("catalogue.rs")) {
        let text = fs::read_to_string(path).expect("a source");
        for quoted in text.split('"').skip(1).step_by(2) {
            let is_name =
                quoted.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if is_name && METRIC_PREFIXES.iter().any(|prefix| quoted.starts_with(prefix)) {
                names.insert(quoted.to_owned());
            }
        }
    }
    names
}

/// How the names of metrics begin; crates are called `quintet_…` too.
const METRIC_PREFIXES: [&str; 11] = [
    "quintet_build_",
    "quintet_chain_",
    "quintet_check_",
    "quintet_discovery_",
    "quintet_events_",
    "quintet_gateway_",
    "quintet_grpc_",
    "quintet_miner_",
    "quintet_p2p_",
    "quintet_redis_",
    "quintet_rpc_",
];

#[test]
fn the_catalogue_has_every_metric_and_no_other() {
    let catalogue: BTreeSet<_> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    let begins = |name: &String| METRIC_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    assert!(catalogue.iter().all(begins), "a prefix is missing: {catalogue:?}");
    // Those that the catalogue itself records.
    let own =
        ["quintet_build_info".to_owned(), "quintet_chain_api".to_owned(), "quintet_miner_api".to_owned()];
    let recorded: BTreeSet<_> = recorded().into_iter().filter(|name| !own.contains(name)).collect();
    let catalogue: BTreeSet<_> = catalogue.into_iter().filter(|name| !own.contains(name)).collect();
    assert_eq!(
        recorded, catalogue,
        "recorded in the sources, and in crates/service/src/metrics/catalogue.rs"
    );
}

/// A row of the page's table.
fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let labels = metric.labels.iter().map(|label| {
        if label.values.is_empty() {
            format!("`{}`", label.name)
        } else {
            format!("`{}` ({})", label.name, label.values.join(", "))
        }
    });
    let labels = labels.collect::<Vec<_>>().join("; ");
    let services: Vec<_> = metric.services.iter().map(|service| service.name()).collect();
    let services = if services.len() == 5 { "all".to_owned() } else { services.join(", ") };
    let help = metric.help.trim_end_matches('.');
    format!("| `{}` | {kind} | {labels} | {services} | {help} |", metric.name)
}

#[test]
fn the_page_lists_every_metric() {
    let page = fs::read_to_string(root().join("docs/observe.md")).expect("docs/observe.md");
    let listed: Vec<_> = page.lines().filter(|line| line.starts_with("| `quintet_")).collect();
    let rows: Vec<_> = METRICS.iter().map(row).collect();
    assert!(listed == rows, "the table of docs/observe.md must be:\n{}", rows.join("\n"));
    for name in PROCESS {
        assert!(page.contains(name), "{name}");
    }
}

/// The labels that a name in a query can have, by name: histograms have three names.
fn known() -> BTreeMap<String, Vec<&'static str>> {
    let mut known: BTreeMap<_, _> = PROCESS.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
    known.insert("up".to_owned(), Vec::new());
    for metric in METRICS.iter() {
        let labels: Vec<_> = metric.labels.iter().map(|label| label.name).collect();
        if metric.kind == Kind::Histogram {
            known.insert(format!("{}_bucket", metric.name), [&labels[..], &["le"]].concat());
            known.insert(format!("{}_sum", metric.name), labels.clone());
            known.insert(format!("{}_count", metric.name), labels);
        } else {
            known.insert(metric.name.to_owned(), labels);
        }
    }
    known
}

#[test]
fn dashboards_ask_for_metrics_and_labels_that_exist() {
    let (known, mut queries) = (known(), 0);
    for query in promql::dashboards(&root()) {
        let used = promql::used(&query.expression);
        assert!(!used.metrics.is_empty(), "{query}: no metric");
        let mut labels: BTreeSet<&str> = TARGET_LABELS.into();
        for name in &used.metrics {
            let of_metric = known.get(name).unwrap_or_else(|| panic!("{query}: there is no metric {name}"));
            labels.extend(of_metric);
        }
        for label in used.labels.iter().chain(&promql::legend_labels(&query.legend)) {
            assert!(labels.contains(label.as_str()), "{query}: no label {label}; there are {labels:?}");
        }
        for (name, label, value) in &used.matchers {
            let metric = METRICS.iter().find(|metric| name.starts_with(metric.name));
            let known = metric.and_then(|metric| metric.labels.iter().find(|its| its.name == label));
            let values = known.map(|label| label.values).unwrap_or_default();
            assert!(
                values.is_empty() || values.contains(&value.as_str()),
                "{query}: {label} is never {value}"
            );
        }
        queries += 1;
    }
    assert!(queries > 30, "only {queries} queries were found");
}

#[test]
fn dashboards_show_every_metric() {
    let shown: BTreeSet<_> = promql::dashboards(&root())
        .iter()
        .flat_map(|query| promql::used(&query.expression).metrics)
        .collect();
    for metric in METRICS.iter() {
        let names =
            [metric.name.to_owned(), format!("{}_bucket", metric.name), format!("{}_count", metric.name)];
        assert!(names.iter().any(|name| shown.contains(name)), "{} is on no dashboard", metric.name);
    }
}
