//! A service's own binary as its users meet it: started from its configuration, asked over gRPC and on its admin
//! port, and stopped by a signal; and what every such binary must refuse.

use crate::process::{DEADLINE, POLL, Process, Program};
use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quintet_proto::common::v1::{GetInfoRequest, GetInfoResponse, ServiceInfo};
use serde_json::Value;
use std::io::Write as _;
use std::net::TcpListener;
use tempfile::NamedTempFile;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// Free ports for gRPC and admin, which the log tells.
const CONFIGURATION: &str = "[grpc]\nport = 0\n[admin]\nport = 0\n[log]\nformat = \"json\"\n";
/// What serves health: the whole server, by the name that the health protocol gives it.
const WHOLE_SERVER: &str = "";

/// A running service. It is killed when this is dropped.
#[derive(Debug)]
pub struct Service {
    /// Its process.
    pub process: Process,
    grpc: String,
    admin: String,
    channel: Channel,
    _configuration: NamedTempFile,
}

impl Service {
    /// Starts a service's binary with a configuration file that names free ports, and waits until it has them.
    ///
    /// # Panics
    /// When it ends, or does not have them within a minute.
    pub async fn start(program: &Program) -> Self {
        let configuration = configuration(CONFIGURATION);
        let program = program.clone().arg("--config").arg(configuration.path());
        let mut process = program.start();
        let admin = address(&mut process, "admin server started").await;
        let grpc = address(&mut process, "gRPC server started").await;
        let channel = Endpoint::from_shared(grpc.clone()).expect("an address").connect_lazy();
        Self { process, grpc, admin, channel, _configuration: configuration }
    }

    /// Where its RPCs are: `http://127.0.0.1:PORT`.
    pub fn grpc_url(&self) -> &str {
        &self.grpc
    }

    /// Waits until the health of a contract, such as `quintet.p2p.v1.PeerService`, is as wanted; the empty name
    /// is the whole server's.
    ///
    /// # Panics
    /// When it is not within a minute.
    pub async fn wait_for_health(&self, contract: &str, wanted: ServingStatus) {
        let waiting = async {
            loop {
                let request = HealthCheckRequest { service: contract.to_owned() };
                let answer = HealthClient::new(self.channel.clone()).check(request).await;
                if answer.is_ok_and(|answer| answer.into_inner().status() == wanted) {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        assert!(waited.is_ok(), "{contract:?} is never {wanted:?}:\n{}", self.process.log());
    }

    /// Checks that the service is up and does its work, as gRPC clients and operators see it: health of the
    /// server and of each contract that it serves, reflection with these contracts, `/livez` and `/readyz`.
    ///
    /// # Panics
    /// When it is not so.
    pub async fn assert_serving(&self, contracts: &[&str]) {
        let reflected = self.reflected().await;
        for contract in contracts {
            assert!(reflected.iter().any(|name| name == contract), "{contract} in {reflected:?}");
        }
        for contract in contracts.iter().chain(&[WHOLE_SERVER]) {
            self.wait_for_health(contract, ServingStatus::Serving).await;
        }
        assert_eq!(self.admin("/livez").await, (StatusCode::OK, "ok\n".to_owned()));
        let (status, report) = self.admin("/readyz").await;
        assert!(status == StatusCode::OK && report.ends_with("ready\n"), "{status}: {report}");
    }

    /// Checks that the service is alive but says, on `/readyz` and to gRPC's health checks, that it cannot do
    /// its work; gives the report.
    ///
    /// # Panics
    /// When it is not so.
    pub async fn assert_not_ready(&self, contracts: &[&str]) -> String {
        for contract in contracts.iter().chain(&[WHOLE_SERVER]) {
            self.wait_for_health(contract, ServingStatus::NotServing).await;
        }
        assert_eq!(self.admin("/livez").await, (StatusCode::OK, "ok\n".to_owned()));
        let (status, report) = self.admin("/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{report}");
        report
    }

    /// Checks what a contract's `GetInfo` says: the service's name, and the release.
    ///
    /// # Panics
    /// When it says something else, or nothing.
    pub async fn assert_info(&self, contract: &str, name: &str) {
        let path = format!("/{contract}/GetInfo").parse().expect("a path");
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.expect("connected");
        let codec = ProstCodec::<GetInfoRequest, GetInfoResponse>::default();
        let answer = client.unary(Request::new(GetInfoRequest {}), path, codec).await;
        let info: ServiceInfo = answer.expect("answered").into_inner().info.expect("information");
        // All crates of the workspace have one version.
        assert_eq!((info.service.as_str(), info.version.as_str()), (name, env!("CARGO_PKG_VERSION")));
    }

    /// What a path of the admin port answers.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn admin(&self, path: &str) -> (StatusCode, String) {
        let uri: Uri = format!("{}{path}", self.admin).parse().expect("a path");
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let (head, body) = client.get(uri).await.expect("answered").into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        (head.status, String::from_utf8(body.to_vec()).expect("text"))
    }

    /// Sends SIGTERM, and checks that the service ends in order.
    ///
    /// # Panics
    /// When its exit code is not 0, or it does not end within a minute.
    pub async fn assert_ends_on_sigterm(mut self) {
        let status = self.process.signal("TERM").await;
        assert_eq!(status.code(), Some(0), "{status}:\n{}", self.process.log());
    }

    /// The names of the contracts that reflection lists.
    async fn reflected(&self) -> Vec<String> {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let mut client = ServerReflectionClient::new(self.channel.clone());
        let answers = client.server_reflection_info(tokio_stream::iter([request])).await.expect("answered");
        let answer = answers.into_inner().message().await.expect("no error").expect("one answer");
        match answer.message_response {
            Some(MessageResponse::ListServicesResponse(list)) => {
                list.service.into_iter().map(|service| service.name).collect()
            }
            other => panic!("no list of services: {other:?}"),
        }
    }
}

/// Checks that a service whose gRPC port somebody has ends with one clear error, which names the flag. The
/// program has all that it needs otherwise.
///
/// # Panics
/// When it is not so.
pub async fn assert_refuses_a_port_in_use(program: &Program) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let finished = program.clone().arg("--grpc.port").arg(port.to_string()).run().await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    let start = format!("Fatal: listen tcp 127.0.0.1:{port}: bind: address already in use (");
    let clear = |line: &str| line.starts_with(&start) && line.contains("--grpc.port");
    assert!(finished.stderr.lines().any(clear), "{}", finished.stderr);
}

/// Checks that a service names what is wrong in its configuration, be it a flag or a key of the file, and does
/// not start. The program has all that it needs otherwise.
///
/// # Panics
/// When it is not so.
pub async fn assert_refuses_wrong_configuration(program: &Program) {
    let unknown_key = configuration("[grpc]\nprot = 1\n");
    let path = unknown_key.path().to_str().expect("text");
    for (args, says) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--grpc.port", "70000"], "QUINTET_GRPC_PORT"),
        (&["--config", path], "unknown key grpc.prot"),
    ] {
        assert_refuses(&program.clone().args(args.iter().copied()), says).await;
    }
}

/// Checks that a program fails, and says why in these words.
///
/// # Panics
/// When it is not so.
pub async fn assert_refuses(program: &Program, says: &str) {
    let finished = program.run().await;
    let stderr = &finished.stderr;
    assert!(!finished.status.success() && stderr.contains(says), "{}: {stderr}", finished.status);
}

fn configuration(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

/// Waits until a process logs `message`, and gives the address beside it as a URL.
async fn address(process: &mut Process, message: &str) -> String {
    let waiting = async {
        loop {
            let ended = process.exit_status();
            let log = process.log();
            // The last line may not be whole yet.
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = lines.into_iter().find(|line| line["message"] == message) {
                return format!("http://{}", line["address"].as_str().expect("an address"));
            }
            assert_eq!(ended, None, "it ended:\n{log}");
            tokio::time::sleep(POLL).await;
        }
    };
    let found = tokio::time::timeout(DEADLINE, waiting).await;
    found.unwrap_or_else(|_| panic!("never {message:?}:\n{}", process.log()))
}
