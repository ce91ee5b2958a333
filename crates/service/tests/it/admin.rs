//! The admin port, over HTTP.

use quintet_service::admin::{self, AdminConfig};
use quintet_service::{Readiness, Supervisor};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_admin_port_tells_life_readiness_and_metrics() {
    let (readiness, supervisor) = (Readiness::new(), Supervisor::new());
    let store = readiness.register("store");
    let config = AdminConfig { addr: "127.0.0.1".to_owned(), port: Some(0) };
    let address = admin::start(&config, &readiness, &supervisor).await.expect("started").expect("a port");

    assert_eq!(get(address, "/livez").await.0, "HTTP/1.1 200 OK");
    let (status, body) = get(address, "/readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body, "[-]store failed: starting\nnot ready\n");
    store.ok();
    let (status, body) = get(address, "/readyz").await;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "[+]store ok\nready\n"));

    metrics::counter!("quintet_test_total", "method" => "eth_call").increment(2);
    metrics::histogram!("quintet_test_seconds").record(0.003);
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    for line in [
        "quintet_test_total{method=\"eth_call\"} 2",
        "quintet_test_seconds_bucket{le=\"0.0025\"} 0",
        "quintet_test_seconds_bucket{le=\"0.005\"} 1",
        "# TYPE process_cpu_seconds_total counter",
        "# TYPE process_open_fds gauge",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let memory = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let bytes: f64 = memory.expect("reported").parse().expect("a number");
    assert!(bytes > 1e6, "{bytes}");

    supervisor.shutdown();
    supervisor.run_until_shutdown(Duration::from_secs(5)).await.expect("orderly");
}

#[tokio::test]
async fn without_a_port_there_is_no_admin_server() {
    let config = AdminConfig { addr: "127.0.0.1".to_owned(), port: None };
    let started = admin::start(&config, &Readiness::new(), &Supervisor::new()).await;
    assert_eq!(started.expect("nothing to fail"), None);
}
