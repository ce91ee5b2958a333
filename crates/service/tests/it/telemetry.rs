//! Spans of two services in one process, received by a real OTLP/gRPC collector. The traced work runs in a process of
//! its own, as telemetry is per process and set up by variables.

use crate::fake::{FakeChain, GET_HEAD, UNKNOWN, call};
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1 as otlp;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use quintet_service::grpc::{GrpcConfig, GrpcServer, Transport};
use quintet_service::telemetry::{self, LogFormat, TelemetryConfig};
use quintet_service::{Readiness, Service, Supervisor, propagation};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_stream::wrappers::TcpListenerStream;
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

#[derive(Clone, Default)]
struct Collector {
    /// Spans with the name of the service that their resource names.
    spans: Arc<Mutex<Vec<(String, Span)>>>,
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<otlp::ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<otlp::ExportTraceServiceResponse>, tonic::Status> {
        for group in request.into_inner().resource_spans {
            let attributes = group.resource.unwrap_or_default().attributes;
            let service = text(&attributes, "service.name").unwrap_or_default();
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().expect("not poisoned").extend(spans.map(|span| (service.to_owned(), span)));
        }
        Ok(tonic::Response::new(otlp::ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts it; gives its address.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn named(&self, name: &str, kind: SpanKind) -> Vec<(String, Span)> {
        let spans = self.spans.lock().expect("not poisoned");
        spans.iter().filter(|(_, span)| span.name == name && span.kind == kind as i32).cloned().collect()
    }

    fn one(&self, name: &str, kind: SpanKind) -> (String, Span) {
        let mut found = self.named(name, kind);
        assert_eq!(found.len(), 1, "spans {name} of {kind:?}: {:?}", self.spans);
        found.remove(0)
    }
}

/// Checks one call: client span of the gateway, server span of the chain below it, library spans below that.
fn check_call(collector: &Collector, path: &str, request: &Span, code: i64) {
    let name = path.trim_start_matches('/');
    let (client_service, client) = collector.one(name, SpanKind::Client);
    let (server_service, server) = collector.one(name, SpanKind::Server);
    assert_eq!((client_service.as_str(), server_service.as_str()), ("quintet-gateway", "quintet-chain"));
    for span in [&client, &server] {
        assert_eq!(span.trace_id, request.trace_id);
        assert_eq!(text(&span.attributes, "rpc.system"), Some("grpc"));
        assert_eq!(text(&span.attributes, "rpc.service"), Some("quintet.chain.v1.ChainService"));
        let status = span.attributes.iter().find(|attribute| attribute.key == "rpc.grpc.status_code");
        let status = status.and_then(|attribute| attribute.value.clone()?.value);
        assert_eq!(status, Some(Value::IntValue(code)));
    }
    assert_eq!(client.parent_span_id, request.span_id);
    assert_eq!(server.parent_span_id, client.span_id);
    let failed = |span: &Span| span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
    // A client's error is not the server's fault.
    assert_eq!((failed(&client), failed(&server)), (code != 0, false));
    let read = collector.named("read", SpanKind::Internal);
    let (service, read) =
        read.iter().find(|(_, read)| read.parent_span_id == server.span_id).expect("read below");
    assert_eq!(service, "quintet-chain");
    let node = collector.named("node", SpanKind::Internal);
    let (service, _) = node.iter().find(|(_, node)| node.parent_span_id == read.span_id).expect("node below");
    assert_eq!(service, "quintet-chain");
}

#[tokio::test]
async fn each_span_is_exported_under_its_own_service_in_one_trace() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let output = run_child(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;

    let (service, request) = collector.one("request", SpanKind::Server);
    assert_eq!(service, "quintet-gateway");
    check_call(&collector, GET_HEAD, &request, 0);
    check_call(&collector, UNKNOWN, &request, 5);
    let (service, execute) = collector.one("execute", SpanKind::Internal);
    assert_eq!((service.as_str(), &execute.parent_span_id), ("quintet-gateway", &request.span_id));
    let (service, import) = collector.one("import", SpanKind::Internal);
    assert_eq!((service.as_str(), import.parent_span_id.len()), ("quintet-chain", 0));
    assert_eq!(import.links.first().map(|link| &link.span_id), Some(&request.span_id));
    let (service, follow) = collector.one("follow", SpanKind::Internal);
    assert_eq!((service.as_str(), &follow.parent_span_id), ("quintet-chain", &request.span_id));
    assert_eq!(follow.trace_id, request.trace_id);
    assert!(collector.named("too fine", SpanKind::Internal).is_empty());

    let log = String::from_utf8(output.stderr).expect("text");
    let line = log.lines().find(|line| line.contains("\"inside\"")).expect("logged");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let trace = TraceId::from_bytes(request.trace_id.try_into().expect("16 bytes"));
    let span = SpanId::from_bytes(request.span_id.try_into().expect("8 bytes"));
    assert_eq!((&line["trace_id"], &line["span_id"]), (&trace.to_string().into(), &span.to_string().into()));
    assert_eq!((&line["level"], &line["answer"]), (&"INFO".into(), &42.into()));
}

#[tokio::test]
async fn a_name_and_a_sampler_of_the_environment_stand() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let endpoint = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str());
    run_child(&[endpoint, ("OTEL_SERVICE_NAME", "lab")]).await;
    assert_eq!(collector.one(GET_HEAD.trim_start_matches('/'), SpanKind::Server).0, "lab");

    collector.spans.lock().expect("not poisoned").clear();
    run_child(&[endpoint, ("OTEL_TRACES_SAMPLER", "always_off")]).await;
    assert!(collector.spans.lock().expect("not poisoned").is_empty());
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
