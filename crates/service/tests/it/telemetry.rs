//! Spans of two services in one process, received by a real OTLP/gRPC collector. The traced work runs in a process of
//! its own, as telemetry is per process and set up by variables.

use crate::fake::{FakeChain, GET_HEAD, UNKNOWN, call};
use quintet_service::grpc::{GrpcConfig, GrpcServer, Transport};
use quintet_service::telemetry::{self, LogFormat, TelemetryConfig};
use quintet_service::{Readiness, Service, Supervisor, propagation};
use quintet_testkit::otlp::{Collector, Span, SpanKind, Spans};
use std::process::Output;
use std::time::Duration;
use tracing::Instrument;

const DEADLINE: Duration = Duration::from_secs(5);

fn config() -> TelemetryConfig {
    TelemetryConfig {
        verbosity: 3,
        format: LogFormat::Json,
        filter: None,
        trace_filter: "quintet=info".to_owned(),
    }
}

/// A gateway's request that asks the chain twice, in this process and over a socket, and a block import linked to it.
#[tokio::test]
#[ignore = "a child of the tests below"]
async fn child() {
    let telemetry = telemetry::init(&config(), &[Service::Gateway, Service::Chain]).expect("telemetry");
    let supervisor = Supervisor::new();
    let grpc = GrpcConfig { addr: "127.0.0.1".to_owned(), port: 0 };
    let server = GrpcServer::bind(&grpc, Readiness::new()).await.expect("free port").with(FakeChain);
    let uri = format!("http://{}", server.local_addr().expect("bound"));
    supervisor.spawn("gRPC server", server.serve(supervisor.token()));

    let request = tracing::info_span!(target: "quintet_gateway::rpc", "request", otel.kind = "server");
    println!("<disabled: {}>", request.is_disabled());
    let trace = propagation::trace_of(&request);
    async {
        tracing::info!(target: "quintet_gateway", answer = 42, "inside");
        tracing::info_span!(target: "quintet_evm", "execute").in_scope(|| ());
        call(Transport::local(Service::Gateway, FakeChain), GET_HEAD).await;
        call(Transport::remote(Service::Gateway, &uri, DEADLINE).expect("valid"), UNKNOWN).await;
    }
    .instrument(request)
    .await;
    let import = tracing::info_span!(target: "quintet_chain", "import");
    propagation::add_link(&import, &trace);
    import.in_scope(|| tracing::debug_span!(target: "quintet_chain", "too fine").in_scope(|| ()));
    drop(import);
    let follow = tracing::info_span!(target: "quintet_chain", "follow");
    propagation::set_parent(&follow, &trace);
    drop(follow);
    telemetry.shutdown(DEADLINE).await;
}

async fn run_child(variables: &[(&str, &str)]) -> Output {
    let mut command = tokio::process::Command::new(std::env::current_exe().expect("own path"));
    command.args(["--ignored", "--exact", "telemetry::child", "--nocapture"]);
    let output = command.envs(variables.iter().copied()).output();
    let output = tokio::time::timeout(Duration::from_secs(30), output).await.expect("in time").expect("runs");
    assert!(output.status.success(), "{output:?}");
    output
}

/// Checks one call: client span of the gateway, server span of the chain below it, library spans below that.
fn check_call(spans: &Spans, path: &str, request: &Span, code: i64) {
    let name = path.trim_start_matches('/');
    let client = spans.one(name, SpanKind::Client);
    let server = spans.one(name, SpanKind::Server);
    assert_eq!((client.service.as_str(), server.service.as_str()), ("quintet-gateway", "quintet-chain"));
    assert!(client.is_child_of(request) && server.is_child_of(client), "{spans}");
    for span in [client, server] {
        assert_eq!(span.text("rpc.system"), Some("grpc"));
        assert_eq!(span.text("rpc.service"), Some("quintet.chain.v1.ChainService"));
        assert_eq!(span.integer("rpc.grpc.status_code"), Some(code));
    }
    // A client's error is not the server's fault.
    assert_eq!((client.failed(), server.failed()), (code != 0, false));
    let read = spans.child(server, "read").expect("read below");
    let node = spans.child(read, "node").expect("node below");
    assert_eq!((read.service.as_str(), node.service.as_str()), ("quintet-chain", "quintet-chain"));
}

#[tokio::test]
async fn each_span_is_exported_under_its_own_service_in_one_trace() {
    let collector = Collector::start().await;
    let output = run_child(&[("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())]).await;

    let spans = collector.spans();
    let request = spans.one("request", SpanKind::Server);
    assert_eq!(request.service, "quintet-gateway");
    check_call(&spans, GET_HEAD, request, 0);
    check_call(&spans, UNKNOWN, request, 5);
    let execute = spans.child(request, "execute").expect("execute below");
    assert_eq!(execute.service, "quintet-gateway");
    let import = spans.one("import", SpanKind::Internal);
    assert_eq!(import.service, "quintet-chain");
    assert!(import.is_root() && import.links_to(request), "{spans}");
    let follow = spans.child(request, "follow").expect("follow below");
    assert_eq!(follow.service, "quintet-chain");
    assert!(spans.named("too fine", SpanKind::Internal).is_empty());

    let log = String::from_utf8(output.stderr).expect("text");
    let line = log.lines().find(|line| line.contains("\"inside\"")).expect("logged");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let ids = (request.trace_id().into(), request.span_id().into());
    assert_eq!((&line["trace_id"], &line["span_id"]), (&ids.0, &ids.1));
    assert_eq!((&line["level"], &line["answer"]), (&"INFO".into(), &42.into()));
}

#[tokio::test]
async fn a_name_and_a_sampler_of_the_environment_stand() {
    let collector = Collector::start().await;
    let endpoint = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.endpoint());
    run_child(&[endpoint, ("OTEL_SERVICE_NAME", "lab")]).await;
    assert_eq!(collector.spans().one(GET_HEAD.trim_start_matches('/'), SpanKind::Server).service, "lab");

    collector.clear();
    run_child(&[endpoint, ("OTEL_TRACES_SAMPLER", "always_off")]).await;
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn without_an_exporter_no_span_exists() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    for variables in
        [&[][..], &[endpoint, ("OTEL_SDK_DISABLED", "true")], &[endpoint, ("OTEL_TRACES_EXPORTER", "none")]]
    {
        let output = run_child(variables).await;
        let says = String::from_utf8(output.stdout).expect("text");
        assert!(says.contains("<disabled: true>"), "{says}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("\"inside\""), "events are still logged");
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_nothing_up() {
    let start = std::time::Instant::now();
    let output = run_child(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]).await;
    assert!(start.elapsed() < DEADLINE + Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(String::from_utf8_lossy(&output.stdout).contains("<disabled: false>"));
}
