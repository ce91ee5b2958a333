//! A deployment by compose that runs already.

use alloy_primitives::hex;
use quintet_enode::NodeKey;
use quintet_testkit::otlp::Collector;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};

/// What may be stopped while the others go on.
const SERVICES: [&str; 7] = ["discovery", "p2p", "gateway", "miner", "chain", "redis", "postgres"];
/// Until containers are healthy again.
const DEADLINE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(500);

/// There is one deployment, so one test at a time has it.
static ONE: Mutex<()> = Mutex::const_new(());

pub(super) struct Compose {
    url: String,
    /// The program and its first arguments.
    command: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

impl Compose {
    pub(super) async fn take() -> Self {
        let turn = ONE.lock().await;
        let url = std::env::var("QUINTET_RPC_URL").unwrap_or_else(|_| "http://127.0.0.1:8545".to_owned());
        let command = std::env::var("QUINTET_COMPOSE").unwrap_or_else(|_| "docker compose".to_owned());
        let command = command.split_whitespace().map(str::to_owned).collect();
        Self { url, command, _turn: turn }
    }

    /// A receiver where the services send their spans.
    pub(super) async fn collector() -> Collector {
        let port = std::env::var("QUINTET_OTLP_PORT").expect("QUINTET_OTLP_PORT says where spans are sent");
        // Containers reach this machine by another address than its own.
        Collector::listen(&format!("0.0.0.0:{port}")).await
    }

    /// What the containers of a service wrote while the test ran.
    pub(super) async fn logs(&self, service: &str) -> String {
        self.compose(&["logs", "--no-log-prefix", "--no-color", "--since", "1m", service]).await
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// Where peers come in, and who the node is to them.
    pub(super) async fn enode(&self) -> String {
        let port = self.compose(&["port", "lb", "30303"]).await;
        let show = ["run", "--rm", "--no-deps", "-T", "init", "/init/secrets.sh", "show", "nodekey"];
        let key = NodeKey::from_hex(self.compose(&show).await.trim()).expect("a node key");
        format!("enode://{}@{}", hex::encode(key.public()), port.trim())
    }

    pub(super) fn services() -> Vec<String> {
        SERVICES.map(str::to_owned).to_vec()
    }

    pub(super) async fn end(&self, service: &str, kill: bool) {
        if kill {
            self.compose(&["kill", "--signal", "KILL", service]).await;
        } else {
            self.compose(&["stop", service]).await;
        }
    }

    /// Starts a service's containers, and waits until all are healthy.
    pub(super) async fn start(&self, service: &str) {
        self.compose(&["start", service]).await;
        let start = Instant::now();
        loop {
            let states = self.compose(&["ps", "--all", "--format", "{{.State}} {{.Health}}", service]).await;
            if !states.trim().is_empty() && states.lines().all(|state| state == "running healthy") {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{service} is not healthy in {DEADLINE:?}: {states}");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn compose(&self, words: &[&str]) -> String {
        let (program, first) = self.command.split_first().expect("QUINTET_COMPOSE is a command");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let output = Command::new(program).args(first).args(words).current_dir(root).output().await;
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {words:?}: {said}", self.command);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
