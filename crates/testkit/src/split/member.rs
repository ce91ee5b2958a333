//! One service of a split node: its ports, links, process, and what it printed.

use super::{Peer, Service};
use crate::process::{Process, Program, free_port};
use crate::proxy::Proxy;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the admin port may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Lines of a log that are shown when a test failed.
const SHOWN: usize = 120;

/// What `/readyz` answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether the service is ready.
    pub ready: bool,
    /// Its checks, one a line.
    pub text: String,
}

impl Status {
    /// Whether it is ready and nothing is degraded.
    pub fn is_sound(&self) -> bool {
        self.ready && !self.text.contains("[~]")
    }
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) grpc: u16,
    pub(super) admin: u16,
    /// JSON-RPC over HTTP and WebSocket; of gateways.
    pub(super) http: u16,
    /// Peers, of those that have any.
    pub(super) rlpx: u16,
    /// Its database, if it has one.
    pub(super) database: String,
    pub(super) links: BTreeMap<Peer, Proxy>,
    process: Option<Process>,
    /// What its ended processes printed.
    past: String,
}

impl Member {
    pub(super) fn new(database: &str) -> Self {
        let [grpc, admin, http, rlpx] = [(); 4].map(|()| free_port());
        let database = database.to_owned();
        Self { grpc, admin, http, rlpx, database, links: BTreeMap::new(), process: None, past: String::new() }
    }

    pub(super) fn launch(&mut self, service: Service, program: &Program) {
        if let Some(mut before) = self.process.take() {
            assert!(before.exit_status().is_some(), "{service} runs");
            self.past.push_str(&before.log());
        }
        self.process = Some(program.start());
    }

    fn running(&mut self, service: Service) -> &mut Process {
        let process = self.process.as_mut().unwrap_or_else(|| panic!("{service} was not started"));
        let ended = process.exit_status();
        assert_eq!(ended, None, "{service} ended by itself:\n{}", process.log());
        process
    }

    pub(super) async fn kill(&mut self, service: Service) {
        self.running(service).kill().await;
    }

    pub(super) async fn stop(&mut self, service: Service) {
        let status = self.running(service).signal("TERM").await;
        assert!(status.success(), "{service}: {status}:\n{}", self.last_lines());
    }

    pub(super) async fn signal(&mut self, service: Service, name: &str) {
        self.running(service).send_signal(name).await;
    }

    /// How the process ended; -1 for a signal.
    pub(super) fn exit_code(&mut self) -> Option<i32> {
        Some(self.process.as_mut()?.exit_status()?.code().unwrap_or(-1))
    }

    pub(super) fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.exit_status().is_none())
    }

    pub(super) fn log(&self) -> String {
        let now = self.process.as_ref().map(Process::log).unwrap_or_default();
        format!("{}{now}", self.past)
    }

    pub(super) fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }

    /// What a path of the admin port answers, if it does in time.
    pub(super) async fn admin(&self, path: &str) -> Option<Status> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let uri = format!("http://127.0.0.1:{}{path}", self.admin).parse().ok()?;
        let exchange = async {
            let (head, body) = client.get(uri).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            Some(Status { ready: head.status.is_success(), text })
        };
        tokio::time::timeout(ANSWER, exchange).await.ok().flatten()
    }
}

/// The sum of the samples of `name` whose line has all of `pieces`.
pub(super) fn metric(text: &str, name: &str, pieces: &[&str]) -> Option<f64> {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let wanted = |line: &&str| pieces.iter().all(|piece| line.contains(piece));
    let values = text.lines().filter(of_name).filter(wanted);
    let values: Vec<f64> = values.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::metric;

    #[test]
    fn samples_are_found_and_added() {
        let text = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\nb 1.5\n";
        assert_eq!(metric(text, "a", &[]), Some(5.0));
        assert_eq!(metric(text, "a", &["x=\"2\""]), Some(3.0));
        assert_eq!(metric(text, "b", &[]), Some(1.5));
        assert_eq!(metric(text, "c", &[]), None);
    }
}
