//! Runs a program of this project as a process of its own: started, waited for, asked to end, killed.

use crate::rpc::{HttpClient, WsClient};
use serde_json::json;
use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long a process may take to be ready, or to end when it is asked to.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
/// Between looks at a process that is starting.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// Free ports are looked for here: below the range that the system takes connections' own ports from, so that
/// a port which was free a moment ago is not taken by a connection.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A TCP port of 127.0.0.1 that nobody uses, and that this process gives to nobody else.
///
/// # Panics
/// When all are in use.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Processes of tests that run side by side begin at different places.
    let start = u16::try_from(std::process::id() * 97 % u32::from(count)).expect("less than the count");
    for _ in 0..count {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let port = PORTS.start + (start + step) % count;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// A program to run, with the arguments and variables that it is always given. Variables of the project's own
/// that the tests were started with are not passed on.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    variables: Vec<(String, String)>,
}

impl Program {
    /// The program at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args: Vec::new(), variables: Vec::new() }
    }

    /// The same program with one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The same program with more arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The same program with a variable set.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars() {
            if ["QUINTET_", "OTEL_", "RUST_LOG"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.args(&self.args).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// When it cannot be started, or does not end within a minute.
    pub async fn run(&self) -> Finished {
        let output = tokio::time::timeout(DEADLINE, self.command().output()).await;
        let output = output.unwrap_or_else(|_| panic!("{self:?} does not end"));
        let output = output.unwrap_or_else(|error| panic!("{self:?} does not start: {error}"));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Finished { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Starts the program, and does not wait for anything. What it prints is kept in a file.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self) -> Process {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = directory.path().join("log");
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        let copy = file.try_clone().expect("a second handle");
        let child = self.command().stdout(file).stderr(copy).spawn();
        let child = child.unwrap_or_else(|error| panic!("{self:?} does not start: {error}"));
        Process { child, log, _directory: directory }
    }

    /// Starts the program as a node that serves JSON-RPC, over HTTP and WebSocket on one free port, and waits until
    /// it answers.
    ///
    /// # Panics
    /// When it ends, or does not answer within a minute.
    pub async fn start_node(&self) -> Node {
        let mut node = self.spawn_node();
        node.wait_until_ready().await;
        node
    }

    /// Starts the program as [`Self::start_node`] does, and does not wait for anything.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn_node(&self) -> Node {
        let port = free_port();
        let port_text = port.to_string();
        // By address: what `localhost` is, and whether IPv6 comes first, differs between machines.
        let http = ["--http.addr", "127.0.0.1", "--http.port", &port_text];
        let ws = ["--ws.addr", "127.0.0.1", "--ws.port", &port_text];
        let process = self.clone().args(http).args(ws).start();
        Node { process, port, rpc: HttpClient::new(format!("http://127.0.0.1:{port}")) }
    }
}

/// A program that ran to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it had to say.
    pub stderr: String,
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    _directory: TempDir,
}

impl Process {
    /// Everything that it printed so far, on standard output and standard error.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("the log")).into_owned()
    }

    /// The file that it prints to.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it did.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child's status")
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub async fn wait(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("it does not end:\n{}", self.log()));
        ended.expect("a child's status")
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    ///
    /// # Panics
    /// When the system refuses.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Sends a signal, `TERM` or `INT`, and waits until it ends.
    ///
    /// # Panics
    /// When it ended before, or does not end within a minute.
    pub async fn signal(&mut self, name: &str) -> ExitStatus {
        self.send_signal(name).await;
        self.wait().await
    }

    /// Sends a signal, and does not wait for anything.
    ///
    /// # Panics
    /// When it ended before.
    pub async fn send_signal(&mut self, name: &str) {
        let id = self.child.id().unwrap_or_else(|| panic!("it ended before:\n{}", self.log()));
        let sent = Command::new("kill").args([format!("-{name}"), id.to_string()]).status().await;
        assert!(sent.expect("kill runs").success(), "no such process:\n{}", self.log());
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    /// Its process.
    pub process: Process,
    /// Its port of HTTP and WebSocket.
    pub port: u16,
    /// A client of it.
    pub rpc: HttpClient,
}

impl Node {
    /// Waits until it answers.
    ///
    /// # Panics
    /// When it ends, or does not answer within a minute.
    pub async fn wait_until_ready(&mut self) {
        let start = Instant::now();
        while self.rpc.call("eth_chainId", json!([])).await.is_err() {
            let ended = self.process.exit_status();
            assert_eq!(ended, None, "the node ended:\n{}", self.process.log());
            assert!(start.elapsed() < DEADLINE, "the node does not answer:\n{}", self.process.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Connects over WebSocket.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn ws(&self) -> WsClient {
        let connected = WsClient::connect(&format!("ws://127.0.0.1:{}", self.port)).await;
        connected.unwrap_or_else(|error| panic!("no WebSocket: {error}\n{}", self.process.log()))
    }

    /// Asks it to end with SIGTERM.
    ///
    /// # Panics
    /// When it does not end in order within a minute.
    pub async fn stop(mut self) {
        let status = self.process.signal("TERM").await;
        assert!(status.success(), "{status}:\n{}", self.process.log());
    }
}

#[cfg(test)]
mod tests {
    use super::{Program, free_port};
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn ports_are_given_once() {
        assert_ne!(free_port(), free_port());
    }

    #[tokio::test]
    async fn programs_are_run_and_stopped() {
        let shell = Program::new("sh").args(["-c", "echo out $X; echo err >&2; exit 3"]).env("X", "1");
        let finished = shell.run().await;
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out 1\n", "err\n"));

        let mut shell = shell.start();
        assert_eq!(shell.wait().await.code(), Some(3));
        assert_eq!(shell.log(), "out 1\nerr\n");

        let mut sleep = Program::new("sleep").arg("60").start();
        assert_eq!(sleep.exit_status(), None);
        assert_eq!(sleep.signal("TERM").await.signal(), Some(15));
        let mut sleep = Program::new("sleep").arg("60").start();
        sleep.kill().await;
        assert_eq!(sleep.wait().await.signal(), Some(9));
    }
}
