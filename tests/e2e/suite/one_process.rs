//! The one-process node, which keeps its port and data over restarts.

use crate::fixture::quintet_on;
use quintet_testkit::process::{Process, Program, free_port};
use quintet_testkit::rpc::HttpClient;
use serde_json::json;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);
const MODULES: &str = "eth,net,txpool,web3";

pub(super) struct OneProcess {
    process: Process,
    program: Program,
    port: u16,
    _datadir: TempDir,
}

impl OneProcess {
    /// Starts one, whose spans go to `otlp` if that is given.
    pub(super) async fn start(otlp: Option<&str>) -> Self {
        let datadir = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let text = port.to_string();
        let mut program = quintet_on("dev", datadir.path())
            .args(["--http.addr", "127.0.0.1", "--http.port", &text, "--http.api", MODULES])
            .args(["--ws", "--ws.addr", "127.0.0.1", "--ws.port", &text, "--ws.api", MODULES]);
        if let Some(otlp) = otlp {
            program = program.env("OTEL_EXPORTER_OTLP_ENDPOINT", otlp).env("OTEL_BSP_SCHEDULE_DELAY", "50");
        }
        let mut node = Self { process: program.start(), program, port, _datadir: datadir };
        node.wait().await;
        node
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn log(&self) -> String {
        self.process.log()
    }

    async fn wait(&mut self) {
        let (rpc, start) = (HttpClient::new(self.url()), Instant::now());
        while rpc.call("eth_chainId", json!([])).await.is_err() {
            assert_eq!(self.process.exit_status(), None, "{}", self.process.log());
            assert!(start.elapsed() < DEADLINE, "no answer: {}", self.process.log());
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn end_process(&mut self, kill: bool) {
        assert_eq!(self.process.exit_status(), None, "{}", self.process.log());
        if kill {
            self.process.kill().await;
            return;
        }
        let status = self.process.signal("TERM").await;
        assert!(status.success(), "{status}: {}", self.process.log());
    }

    pub(super) async fn start_again(&mut self) {
        self.process = self.program.start();
        self.wait().await;
    }
}
