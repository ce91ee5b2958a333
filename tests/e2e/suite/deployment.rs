//! A running node of the shape that the suite is run for.

use super::compose::Compose;
use super::one_process::OneProcess;
use quintet_testkit::split::{Options, Service, Split};
use std::fmt;

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

/// The node under test.
pub(super) enum Deployment {
    Node(Box<OneProcess>),
    Split(Box<Split>),
    Compose(Compose),
}

impl Deployment {
    /// Starts a node, or takes the one that runs.
    pub(super) async fn start() -> Self {
        let shape = std::env::var("QUINTET_E2E").unwrap_or_else(|_| "node".to_owned());
        match shape.as_str() {
            "node" => Self::Node(Box::new(OneProcess::start().await)),
            "split" => {
                let options = Options::beside(env!("CARGO_BIN_EXE_quintet"));
                Self::Split(Box::new(Split::start(options).await))
            }
            "compose" => Self::Compose(Compose::take().await),
            other => panic!("QUINTET_E2E is {other:?}; expected node, split or compose"),
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
