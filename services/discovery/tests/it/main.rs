//! The binary as its users meet it: started from its configuration, asked over a socket, stopped by a signal.

use quintet_discovery_api::{DiscoveryClient, ErrorKind};
use quintet_service::Service;
use quintet_service::grpc::Transport;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const DEADLINE: Duration = Duration::from_secs(10);

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_quintet-discovery"))
}

/// A running binary, killed when dropped.
struct Running {
    child: Child,
    transport: Transport,
}

impl Running {
    /// Starts it on a free port, which its log tells.
    fn start(mut command: Command) -> Self {
        let command = command.args(["--log.format", "json"]).env("QUINTET_GRPC_PORT", "0");
        let mut child = command.stderr(Stdio::piped()).spawn().expect("starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let line = log.find_map(|line| line.ok().filter(|line| line.contains("gRPC server started")));
        let line = line.expect("the server starts");
        let (_, rest) = line.split_once("\"address\":\"").expect("an address");
        let uri = format!("http://{}", rest.split('"').next().expect("quoted"));
        // What else it logs must not fill the pipe.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, transport: Transport::remote(Service::Gateway, &uri, DEADLINE).expect("valid address") }
    }

    fn client(&self) -> DiscoveryClient {
        DiscoveryClient::new(self.transport.clone())
    }

    /// Sends SIGTERM; gives the exit code.
    fn terminate(mut self) -> Option<i32> {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(sent.success());
        self.child.wait().expect("ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_serves_health_and_its_contract_until_sigterm() {
    let running = Running::start(binary());
    let request = HealthCheckRequest { service: "quintet.discovery.v1.DiscoveryService".to_owned() };
    let health =
        HealthClient::new(running.transport.clone()).check(request).await.expect("answered").into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);
    let info = running.client().info().await.expect("answered");
    assert_eq!((info.service.as_str(), info.version.as_str()), ("discovery", env!("CARGO_PKG_VERSION")));
    let missing = running.client().table().await.expect_err("no table yet");
    assert_eq!(missing.kind, ErrorKind::Unimplemented);
    assert_eq!(missing.message, "not implemented yet: the node table");
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn a_port_in_use_is_one_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("free port");
    let port = taken.local_addr().expect("bound").port();
    let output = binary().args(["--grpc.port", &port.to_string()]).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).expect("text");
    let start = format!("Fatal: listen tcp 127.0.0.1:{port}: bind: address already in use (");
    assert!(error.lines().any(|line| line.starts_with(&start) && line.contains("--grpc.port")), "{error}");
}

#[test]
fn wrong_configuration_is_refused_before_anything_starts() {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    std::io::Write::write_all(&mut file, b"[grpc]\nprot = 1\n").expect("written");
    let path = file.path().to_str().expect("text");
    for (args, says) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--grpc.port", "70000"], "QUINTET_GRPC_PORT"),
        (&["--config", path], "unknown key grpc.prot"),
    ] {
        let output = binary().args(args).output().expect("runs");
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(error.contains(says), "{error}");
    }
}
