//! Health, reflection and shutdown over a real socket; the two kinds of transport.

use crate::fake::{FakeChain, GET_HEAD, SLOW, UNKNOWN, call};
use futures::StreamExt;
use quintet_service::grpc::{GrpcConfig, GrpcServer, RpcError, Transport};
use quintet_service::{Readiness, Service, Supervisor};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

const DEADLINE: Duration = Duration::from_secs(5);

fn any_port() -> GrpcConfig {
    GrpcConfig { addr: "127.0.0.1".to_owned(), port: 0 }
}

/// A running server of the fake chain, and a transport to it.
async fn serve(readiness: Readiness) -> (Supervisor, Transport) {
    let server = GrpcServer::bind(&any_port(), readiness).await.expect("free port").with(FakeChain);
    let uri = format!("http://{}", server.local_addr().expect("bound"));
    let supervisor = Supervisor::new();
    supervisor.spawn("gRPC server", server.serve(supervisor.token()));
    (supervisor, Transport::remote(Service::Gateway, &uri, DEADLINE).expect("valid address"))
}

async fn health(transport: &Transport, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(transport.clone()).check(request).await.expect("an answer").into_inner().status()
}

#[tokio::test]
async fn health_follows_readiness() {
    let readiness = Readiness::new();
    let store = readiness.register("store");
    let (supervisor, transport) = serve(readiness).await;
    assert_eq!(health(&transport, "").await, ServingStatus::NotServing);
    store.ok();
    let serving = async {
        while health(&transport, "quintet.chain.v1.ChainService").await != ServingStatus::Serving {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, serving).await.expect("serving in time");
    let unknown =
        HealthClient::new(transport).check(HealthCheckRequest { service: "other".to_owned() }).await;
    assert_eq!(unknown.expect_err("unknown").code(), Code::NotFound);
    supervisor.shutdown();
    supervisor.run_until_shutdown(DEADLINE).await.expect("orderly");
}

#[tokio::test]
async fn reflection_lists_the_contract_in_both_versions() {
    let (_supervisor, transport) = serve(Readiness::new()).await;
    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(transport.clone());
    let answers = client.server_reflection_info(futures::stream::iter([request])).await.expect("an answer");
    let answer = answers.into_inner().next().await.expect("one").expect("no error");
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.message_response
    else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["quintet.chain.v1.ChainService", "quintet.p2p.v1.PeerService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }

    let symbol = "quintet.discovery.v1.DiscoveryService".to_owned();
    let find = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol);
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(find) };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(transport);
    let answers = client.server_reflection_info(futures::stream::iter([request])).await.expect("an answer");
    let answer = answers.into_inner().next().await.expect("one").expect("no error");
    let response = answer.message_response;
    assert!(
        matches!(
            response,
            Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
        ),
        "{response:?}"
    );
}

#[tokio::test]
async fn local_and_remote_transports_answer_alike() {
    let (_supervisor, remote) = serve(Readiness::new()).await;
    let local = Transport::local(Service::Gateway, FakeChain);
    for transport in [local, remote] {
        assert_eq!(call(transport.clone(), GET_HEAD).await, "0", "{transport:?}");
        assert_eq!(call(transport.clone(), UNKNOWN).await, "5", "{transport:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let free = quintet_service::bind_tcp("127.0.0.1", 0, "--grpc.port").await.expect("free port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let transport =
        Transport::remote(Service::Gateway, &format!("http://{address}"), DEADLINE).expect("valid");
    let status: Status =
        HealthClient::new(transport).check(HealthCheckRequest::default()).await.expect_err("nobody");
    assert_eq!(RpcError::from(status).kind, quintet_service::grpc::ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free port");
    let uri = format!("http://{}", silent.local_addr().expect("bound"));
    let transport = Transport::remote(Service::Gateway, &uri, Duration::from_millis(100)).expect("valid");
    let mut client = HealthClient::new(transport);
    let status = tokio::time::timeout(DEADLINE, client.check(HealthCheckRequest::default()));
    let (status, _connection) = tokio::join!(status, silent.accept());
    let kind = RpcError::from(status.expect("given up in time").map(|_| ()).expect_err("no answer")).kind;
    assert_eq!(kind, quintet_service::grpc::ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn shutdown_waits_for_calls_under_way() {
    let (supervisor, transport) = serve(Readiness::new()).await;
    assert_eq!(call(transport.clone(), GET_HEAD).await, "0");
    let slow = tokio::spawn(call(transport, SLOW));
    tokio::time::sleep(Duration::from_millis(100)).await;
    supervisor.shutdown();
    supervisor.run_until_shutdown(DEADLINE).await.expect("orderly");
    assert_eq!(slow.await.expect("no panic"), "0");
}

/// A client of HTTP/2 whose connection is open but never answers.
#[tokio::test]
async fn shutdown_does_not_wait_for_a_client_that_hangs() {
    let server = GrpcServer::bind(&any_port(), Readiness::new()).await.expect("free port").with(FakeChain);
    let mut client =
        tokio::net::TcpStream::connect(server.local_addr().expect("bound")).await.expect("connected");
    let supervisor = Supervisor::new();
    supervisor.spawn("gRPC server", server.serve(supervisor.token()));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    tokio::io::AsyncWriteExt::write_all(&mut client, preface).await.expect("sent");
    client.readable().await.expect("the server's settings");
    supervisor.shutdown();
    supervisor.run_until_shutdown(Duration::from_secs(2)).await.expect("orderly");
}

#[tokio::test]
async fn an_address_without_scheme_is_refused() {
    let error =
        Transport::remote(Service::Gateway, "chain:9603", DEADLINE).expect_err("no scheme").to_string();
    assert!(error.contains("chain:9603") && error.contains("http://"), "{error}");
}

/// The in-process call is what makes five services in one process cheap. The bound is far above what it takes
/// (about a microsecond), and far below what a socket would.
#[tokio::test]
async fn a_local_call_costs_microseconds() {
    let transport = Transport::local(Service::Gateway, FakeChain);
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = std::time::Instant::now();
        for _ in 0..100 {
            call(transport.clone(), GET_HEAD).await;
        }
        best = best.min(start.elapsed() / 100);
    }
    assert!(best < Duration::from_micros(20), "{best:?} a call");
    println!("{best:?} a call");
}
