//! A running node of the shape that the suite is run for.

use super::compose::Compose;
use super::one_process::OneProcess;
use quintet_testkit::otlp::Collector;
use quintet_testkit::split::{Options, Service, Split};
use std::fmt;
use std::time::Duration;

/// A part that can be stopped and started by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The whole node.
    Node,
    /// A service's process.
    Process(Service),
    /// A service of compose, all its containers.
    Containers(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("the node"),
            Self::Process(service) => service.fmt(f),
            Self::Containers(name) => f.write_str(name),
        }
    }
}

/// The shapes of a node.
enum Shape {
    Node,
    Split,
    Compose,
}

impl Shape {
    fn chosen() -> Self {
        match std::env::var("QUINTET_E2E").as_deref() {
            Err(_) | Ok("node") => Self::Node,
            Ok("split") => Self::Split,
            Ok("compose") => Self::Compose,
            Ok(other) => panic!("QUINTET_E2E is {other:?}; expected node, split or compose"),
        }
    }
}

/// The node under test.
pub(super) enum Deployment {
    Node(Box<OneProcess>),
    Split(Box<Split>),
    Compose(Compose),
}

impl Deployment {
    /// Starts a node, or takes the one that runs.
    pub(super) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same, with a receiver of its spans.
    pub(super) async fn start_observed() -> (Self, Collector) {
        let collector = match Shape::chosen() {
            Shape::Compose => Compose::collector().await,
            Shape::Node | Shape::Split => Collector::start().await,
        };
        (Self::start_with(Some(collector.endpoint())).await, collector)
    }

    async fn start_with(otlp: Option<&str>) -> Self {
        match Shape::chosen() {
            Shape::Node => Self::Node(Box::new(OneProcess::start(otlp).await)),
            Shape::Split => {
                let otlp = otlp.map(str::to_owned);
                let options = Options { otlp, ..Options::beside(env!("CARGO_BIN_EXE_quintet")) };
                Self::Split(Box::new(Split::start(options).await))
            }
            // It sends its spans where it was told to when it was started.
            Shape::Compose => Self::Compose(Compose::take().await),
        }
    }

    /// Whether its services are processes of their own.
    pub(super) const fn is_split(&self) -> bool {
        !matches!(self, Self::Node(_))
    }

    /// Whether a block is sealed for each transaction, and not at intervals.
    pub(super) const fn seals_at_once(&self) -> bool {
        !matches!(self, Self::Compose(_))
    }

    /// Whether its logs have details, if they are for machines.
    pub(super) const fn json_logs(&self) -> Option<bool> {
        match self {
            Self::Node(_) => None,
            Self::Split(_) => Some(true),
            Self::Compose(_) => Some(false),
        }
    }

    /// What all replicas of a service wrote.
    pub(super) async fn logs(&self, service: &str) -> String {
        match self {
            Self::Node(node) => node.log(),
            Self::Split(split) => {
                let replicas = split.services().into_iter().filter(|each| each.binary() == service);
                replicas.map(|each| split.log(each)).collect()
            }
            Self::Compose(compose) => compose.logs(service.trim_start_matches("quintet-")).await,
        }
    }

    /// Has all spans sent: what can be stopped is, which sends them.
    pub(super) async fn send_spans(&mut self) {
        match self {
            Self::Node(node) => node.end_process(false).await,
            Self::Split(split) => {
                for service in split.services() {
                    split.stop(service).await;
                }
            }
            // Its services send what they have each second.
            Self::Compose(_) => tokio::time::sleep(Duration::from_secs(3)).await,
        }
    }

    /// Where its replicas serve JSON-RPC, over HTTP and WebSocket on one port: two at least, which may be one and the
    /// same, or a load balancer before many.
    pub(super) fn urls(&self) -> Vec<String> {
        match self {
            Self::Node(node) => vec![node.url(); 2],
            Self::Split(split) => split.urls(),
            Self::Compose(compose) => vec![compose.url(); 2],
        }
    }

    /// Where peers come in by a load balancer, if there is one, and who the node is to them.
    pub(super) async fn enode(&self) -> Option<String> {
        match self {
            Self::Node(_) | Self::Split(_) => None,
            Self::Compose(compose) => Some(compose.enode().await),
        }
    }

    /// What can be stopped while the others go on.
    pub(super) fn parts(&self) -> Vec<Part> {
        match self {
            Self::Node(_) => vec![Part::Node],
            Self::Split(split) => split.services().into_iter().map(Part::Process).collect(),
            Self::Compose(_) => Compose::services().into_iter().map(Part::Containers).collect(),
        }
    }

    /// Stops a part in order, or kills it.
    pub(super) async fn end_part(&mut self, part: &Part, kill: bool) {
        match (self, part) {
            (Self::Node(node), Part::Node) => node.end_process(kill).await,
            (Self::Split(split), Part::Process(service)) if kill => split.kill(*service).await,
            (Self::Split(split), Part::Process(service)) => split.stop(*service).await,
            (Self::Compose(compose), Part::Containers(name)) => compose.end(name, kill).await,
            (_, part) => panic!("{part} is no part of this deployment"),
        }
    }

    /// Starts a part again, and waits until it is ready.
    pub(super) async fn start_part(&mut self, part: &Part) {
        match (self, part) {
            (Self::Node(node), Part::Node) => node.start_again().await,
            (Self::Split(split), Part::Process(service)) => {
                split.launch(*service);
                split.wait_ready(*service).await;
            }
            (Self::Compose(compose), Part::Containers(name)) => compose.start(name).await,
            (_, part) => panic!("{part} is no part of this deployment"),
        }
    }

    /// Ends what was started here, in order.
    pub(super) async fn end(self) {
        match self {
            Self::Node(mut node) => node.end_process(false).await,
            Self::Split(mut split) => split.stop_all().await,
            Self::Compose(_) => {}
        }
    }
}
