//! Every metric that Quintet has: what it is called, which labels it has, who tells it, and what it means.
//!
//! What must hold: no metric is recorded that is not here, and `docs/observe.md` and the dashboards know no other.
//! Names follow Prometheus: a base unit at the end, `_total` for counters, labels rather than names for kinds of a
//! thing. What has label values that are known shows from the start, at zero: a rate needs a value to rise from.

use super::peers::PEERS;
use crate::names::Service;
use crate::readiness::{CHECK_HELP, CHECK_STATE};
use Kind::{Counter, Gauge, Histogram};
use std::sync::LazyLock;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Samples by size.
    Histogram,
}

/// A label.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// All the values that it can have; none where they are not known beforehand.
    pub values: &'static [&'static str],
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [Label],
    /// The services that tell it.
    pub services: &'static [Service],
    /// What it means.
    pub help: &'static str,
}

/// All services.
const ALL: &[Service] = &Service::ALL;
/// Those that hear events.
const SUBSCRIBERS: &[Service] = &[Service::Chain, Service::Miner, Service::Gateway];
/// Those that publish events.
const PUBLISHERS: &[Service] = &[Service::Chain, Service::Miner];
pub(super) const CHAIN: &[Service] = &[Service::Chain];
const MINER: &[Service] = &[Service::Miner];
const GATEWAY: &[Service] = &[Service::Gateway];

const METHOD: Label = Label { name: "method", values: &[] };
const CODE: Label = Label { name: "code", values: &[] };
const TOPIC: Label = Label { name: "topic", values: &["chain", "pool"] };
const ANY_TOPIC: Label = Label { name: "topic", values: &["chain", "pool", "work"] };

pub(super) const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [Label],
    services: &'static [Service],
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels, services, help }
}

/// Them all, but for the `process_*` figures.
pub static METRICS: LazyLock<Vec<Metric>> = LazyLock::new(|| [NODE, PEERS].concat());

/// Those that have nothing to do with peers.
const NODE: &[Metric] = &[
    metric(
        "quintet_build_info",
        Gauge,
        &[Label { name: "binary", values: &[] }, Label { name: "version", values: &[] }],
        ALL,
        "1, with the release of each service of the process.",
    ),
    metric(CHECK_STATE, Gauge, &[Label { name: "check", values: &[] }], ALL, CHECK_HELP),
    metric(
        "quintet_grpc_server_duration_seconds",
        Histogram,
        &[METHOD, CODE],
        ALL,
        "gRPC calls from the network, until the head of the answer.",
    ),
    metric(
        "quintet_grpc_client_duration_seconds",
        Histogram,
        &[METHOD, CODE],
        ALL,
        "gRPC calls over the network to other services, until the head of the answer.",
    ),
    // Events.
    metric("quintet_events_published_total", Counter, &[ANY_TOPIC], PUBLISHERS, "Events that the bus took."),
    metric(
        "quintet_events_unpublished_total",
        Counter,
        &[ANY_TOPIC],
        PUBLISHERS,
        "Events that the bus did not take; its subscribers look into the store.",
    ),
    metric(
        "quintet_events_received_total",
        Counter,
        &[ANY_TOPIC],
        SUBSCRIBERS,
        "Events that came from the bus.",
    ),
    metric(
        "quintet_events_gaps_total",
        Counter,
        &[],
        SUBSCRIBERS,
        "Times that chain events were missing, or the bus away.",
    ),
    metric(
        "quintet_events_dropped_total",
        Counter,
        &[TOPIC],
        CHAIN,
        "Events that Redis was away for too long to be given; of blocks, subscribers then find them in the store.",
    ),
    metric(
        "quintet_events_lag_seconds",
        Histogram,
        &[],
        SUBSCRIBERS,
        "From a block's entry in Redis until a subscriber has it.",
    ),
    metric("quintet_redis_up", Gauge, &[], ALL, "1 where Redis answers, 0 where it does not."),
    // Chain.
    metric("quintet_chain_head_number", Gauge, &[], CHAIN, "Number of the head."),
    metric("quintet_chain_head_timestamp_seconds", Gauge, &[], CHAIN, "Timestamp of the head."),
    metric(
        "quintet_chain_blocks_total",
        Counter,
        &[Label { name: "outcome", values: &["head", "side", "known", "refused", "history"] }],
        CHAIN,
        "Blocks that came, by what became of them.",
    ),
    metric(
        "quintet_chain_transactions_total",
        Counter,
        &[],
        CHAIN,
        "Transactions in blocks that became the head.",
    ),
    metric("quintet_chain_gas_total", Counter, &[], CHAIN, "Gas used by blocks that became the head."),
    metric(
        "quintet_chain_import_duration_seconds",
        Histogram,
        &[],
        CHAIN,
        "Import of a block on the head, from its check to its being the head.",
    ),
    metric(
        "quintet_chain_stage_duration_seconds",
        Histogram,
        &[Label { name: "stage", values: &["execute", "state_root", "commit", "pool_reset", "publish"] }],
        CHAIN,
        "Parts of building and importing blocks.",
    ),
    metric("quintet_chain_reorgs_total", Counter, &[], CHAIN, "Times that blocks left the canonical chain."),
    metric(
        "quintet_chain_reverted_blocks_total",
        Counter,
        &[],
        CHAIN,
        "Blocks that left the canonical chain.",
    ),
    metric(
        "quintet_chain_side_executions_total",
        Counter,
        &[],
        CHAIN,
        "Blocks beside the chain that were executed.",
    ),
    metric(
        "quintet_chain_pool_transactions",
        Gauge,
        &[Label { name: "state", values: &["pending", "queued"] }],
        CHAIN,
        "Transactions in the pool.",
    ),
    metric(
        "quintet_chain_pool_submissions_total",
        Counter,
        &[Label { name: "outcome", values: &["accepted", "refused"] }],
        CHAIN,
        "Transactions that were sent to the pool.",
    ),
    metric(
        "quintet_chain_pool_events_dropped_total",
        Counter,
        &[],
        CHAIN,
        "Pool events for which there was no room on their way to the bus.",
    ),
    metric(
        "quintet_chain_journal_records_total",
        Counter,
        &[],
        CHAIN,
        "Transactions written to the pool's journal.",
    ),
    metric(
        "quintet_chain_journal_sync_duration_seconds",
        Histogram,
        &[],
        CHAIN,
        "Writes of the journal to the disk, each for all transactions that waited.",
    ),
    metric("quintet_chain_journal_bytes", Gauge, &[], CHAIN, "Size of the journal."),
    // Miner.
    metric(
        "quintet_miner_blocks_total",
        Counter,
        &[Label { name: "outcome", values: &["canonical", "side", "refused"] }],
        MINER,
        "Blocks that were sealed and submitted, by what became of them.",
    ),
    metric(
        "quintet_miner_leader",
        Gauge,
        &[],
        MINER,
        "1 where this replica prepares blocks, 0 where it stands by.",
    ),
    metric(
        "quintet_miner_lease_token",
        Gauge,
        &[],
        MINER,
        "Fencing token of the lease that this replica holds; 0 without.",
    ),
    metric("quintet_miner_takeovers_total", Counter, &[], MINER, "Times that this replica took the lease."),
    metric("quintet_miner_build_seconds", Histogram, &[], MINER, "Calls to chain that build a block."),
    // Gateway.
    metric(
        "quintet_gateway_reads_total",
        Counter,
        &[
            Label { name: "kind", values: &["account", "slot", "block", "receipts"] },
            Label { name: "source", values: &["overlay", "cache", "store"] },
        ],
        GATEWAY,
        "Reads of the chain, by what answered them.",
    ),
    metric("quintet_gateway_head_number", Gauge, &[], GATEWAY, "Number of the newest block that is shown."),
    metric(
        "quintet_gateway_resyncs_total",
        Counter,
        &[],
        GATEWAY,
        "Times that the view was made anew from the store, since block deltas were missing.",
    ),
    metric(
        "quintet_rpc_duration_seconds",
        Histogram,
        &[METHOD],
        GATEWAY,
        "JSON-RPC calls, from the parsed request to the written answer.",
    ),
    metric(
        "quintet_rpc_limited_total",
        Counter,
        &[Label { name: "by", values: &["key", "ip"] }],
        GATEWAY,
        "Requests that were refused for their caller's rate.",
    ),
    metric(
        "quintet_rpc_collapsed_total",
        Counter,
        &[],
        GATEWAY,
        "Requests that were answered with the answer to a like one under way.",
    ),
    metric(
        "quintet_rpc_keys_errors_total",
        Counter,
        &[],
        GATEWAY,
        "Times that the file of API keys could not be read.",
    ),
    metric(
        "quintet_gateway_connections",
        Gauge,
        &[Label { name: "protocol", values: &["http", "websocket"] }],
        GATEWAY,
        "Open connections.",
    ),
    metric(
        "quintet_gateway_subscriptions",
        Gauge,
        &[Label {
            name: "topic",
            values: &["newHeads", "logs", "newPendingTransactions", "syncing", "peerEvents"],
        }],
        GATEWAY,
        "Subscriptions over WebSocket.",
    ),
    metric("quintet_gateway_notifications_total", Counter, &[], GATEWAY, "Messages to subscriptions."),
    metric(
        "quintet_gateway_slow_clients_total",
        Counter,
        &[],
        GATEWAY,
        "Connections that were closed since their client did not take its notifications.",
    ),
    metric(
        "quintet_rpc_errors_total",
        Counter,
        &[METHOD],
        GATEWAY,
        "JSON-RPC calls that were answered with an error.",
    ),
];

/// Tells the process's recorder what the metrics mean.
pub(super) fn describe() {
    for Metric { name, kind, help, .. } in METRICS.iter() {
        match kind {
            Counter => metrics::describe_counter!(*name, *help),
            Gauge => metrics::describe_gauge!(*name, *help),
            Histogram => metrics::describe_histogram!(*name, *help),
        }
    }
}

/// Begins the metrics of `services`, as far as their label values are known, and says which release
/// these services are. Does nothing without a recorder.
pub fn begin(services: &[Service]) {
    for service in services {
        metrics::gauge!(
            "quintet_build_info", "binary" => service.full_name(), "version" => crate::info::VERSION
        )
        .set(1.0);
    }
    let told = |metric: &&Metric| metric.services.iter().any(|service| services.contains(service));
    for metric in METRICS.iter().filter(told) {
        for labels in combinations(metric.labels) {
            match metric.kind {
                Counter => metrics::counter!(metric.name, labels).increment(0),
                Histogram => drop(metrics::histogram!(metric.name, labels)),
                // What is not known yet is not zero, but nothing of a kind is.
                Gauge if !metric.labels.is_empty() => metrics::gauge!(metric.name, labels).set(0.0),
                Gauge => {}
            }
        }
    }
}

/// All that labels can be; nothing where a value is not known beforehand.
fn combinations(labels: &[Label]) -> Vec<Vec<metrics::Label>> {
    labels.iter().fold(vec![Vec::new()], |all, label| {
        let with = |rest: &Vec<metrics::Label>, value: &'static str| {
            let mut longer = rest.clone();
            longer.push(metrics::Label::from_static_parts(label.name, value));
            longer
        };
        all.iter().flat_map(|rest| label.values.iter().map(|value| with(rest, value))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::{Counter, Histogram, METRICS, TOPIC, combinations};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS.iter() {
            let name = metric.name;
            assert!(name.starts_with("quintet_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Counter, "{name}");
            assert!(
                metric.kind != Histogram || name.ends_with("_seconds"),
                "{name}: buckets are those of seconds"
            );
            assert!(metric.help.ends_with('.') && !metric.services.is_empty(), "{name}");
            assert!(
                metric.labels.iter().all(|label| !["le", "job", "instance", "service"].contains(&label.name)),
                "{name}"
            );
        }
    }

    #[test]
    fn labels_are_combined() {
        assert_eq!(combinations(&[]), [Vec::new()]);
        assert_eq!(combinations(&[TOPIC, TOPIC]).len(), 4);
        assert!(combinations(&[TOPIC, super::METHOD]).is_empty(), "open");
    }
}
