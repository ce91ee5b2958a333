//! Dials: what the scheduler asks for is done here, and candidates come from discovery.

mod candidates;
mod scheduler;
#[cfg(test)]
mod scheduler_property;
#[cfg(test)]
mod scheduler_tests;

pub(crate) use scheduler::{Action, DialKind, DialLimits, Scheduler};

use crate::connection::Failure;
use crate::hub::Hub;
use crate::{metrics, session};
use quintet_discovery_api::{DiscoveryClient, NodeRecord, Protocol};
use quintet_enode::{Enode, Record};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Candidates that wait for a place.
const CANDIDATES: usize = 16;
/// How long the dialer rests at most, and how often it has the hub forget.
const REST: Duration = Duration::from_secs(10);
/// How long discovery may look for a node.
const LOOKUP: Duration = Duration::from_secs(20);

/// The dialer: its loop, and what its tasks need.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) hub: Arc<Hub>,
    pub(crate) discovery: Option<DiscoveryClient>,
    pub(crate) sessions: TaskTracker,
    pub(crate) token: CancellationToken,
}

impl Dialer {
    /// Dials until shutdown.
    pub(crate) async fn run(self) -> Result<(), Infallible> {
        let (sender, mut found) = mpsc::channel(CANDIDATES);
        let finding = async {
            match self.discovery.clone() {
                Some(discovery) => candidates::find(discovery, &self.hub, &sender).await,
                None => std::future::pending().await,
            }
        };
        let dialing = async {
            let mut forgotten = None;
            loop {
                let now = Instant::now();
                if forgotten.is_none_or(|last| now.duration_since(last) >= REST) {
                    self.hub.expire(now);
                    forgotten = Some(now);
                }
                let (actions, wake) = self.hub.poll_dials(now);
                for action in actions {
                    self.start(action);
                }
                let rest = wake.map_or(REST, |wake| wake.saturating_duration_since(now));
                tokio::select! {
                    () = self.hub.dial.notified() => {}
                    () = tokio::time::sleep(rest.min(REST)) => {}
                    Some(node) = found.recv(), if self.hub.wants_candidates() => {
                        if let Some(action) = self.hub.offer(node, Instant::now()) {
                            self.start(action);
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = finding => {}
            () = dialing => {}
            () = self.token.cancelled() => {}
        }
        Ok(())
    }

    /// Begins what the scheduler asks for.
    fn start(&self, action: Action) {
        let dialer = self.clone();
        self.sessions.spawn(async move {
            let mut next = Some(action);
            while let Some(action) = next {
                next = dialer.perform(action).await;
            }
        });
    }

    async fn perform(&self, action: Action) -> Option<Action> {
        match action {
            Action::Dial { node, kind } => self.dial(node, kind).await,
            Action::Resolve { node } => {
                let id = node.node_id();
                let found = self.resolve(id).await;
                tracing::debug!(%node, found = found.map(|node| node.to_string()), "static node looked up");
                self.hub.resolved(&id, found, Instant::now())
            }
        }
    }

    async fn dial(&self, node: Enode, kind: DialKind) -> Option<Action> {
        let id = node.node_id();
        let connecting = timeout(self.hub.settings.limits.dial, TcpStream::connect(node.tcp_addr()));
        let connected = self.token.run_until_cancelled(connecting).await?;
        let stream = match connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%node, ?kind, %error, "dial failed");
                metrics::dial("unreachable");
                return self.hub.dial_failed(&id, true, Instant::now());
            }
        };
        metrics::dial("connected");
        match session::outbound(&self.hub, stream, node).await {
            Ok(session) => {
                self.sessions.spawn(session);
                None
            }
            Err(failure) => {
                let words =
                    if let Failure::Disconnected(_) = failure { "no session" } else { "handshake failed" };
                tracing::debug!(%node, ?kind, %failure, "{words} with a node that was dialled");
                self.hub.dial_failed(&id, false, Instant::now())
            }
        }
    }

    /// Asks discovery where a node is.
    async fn resolve(&self, id: alloy_primitives::B256) -> Option<Enode> {
        let discovery = self.discovery.as_ref()?;
        for protocol in [Protocol::Discv4, Protocol::Discv5] {
            let lookup = timeout(LOOKUP, discovery.lookup(id, protocol));
            let Ok(Ok(nodes)) = self.token.run_until_cancelled(lookup).await? else { continue };
            if let Some(node) = nodes.iter().filter_map(enode).find(|node| node.node_id() == id) {
                return Some(node);
            }
        }
        None
    }
}

/// Where a node is, by its record or else its URL.
pub(crate) fn enode(node: &NodeRecord) -> Option<Enode> {
    let record = Record::decode(&node.enr).ok().and_then(|record| record.to_enode());
    record.filter(|node| node.tcp != 0).or_else(|| node.enode.parse().ok())
}
