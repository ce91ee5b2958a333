//! Gateways beside the one of a node, on the same chain: replicas that share a Redis, with flags of their own.

use crate::chain::{GatewayFlags, Node};
use clap::Parser;
use quintet_events::{Event, EventBus, LocalBus, RedisBus, Topics};
use quintet_gateway::Gateway;
use quintet_redis::{Keyspace, Redis};
use quintet_testkit::rpc::{HttpClient, WsClient};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway, which ends when it is dropped.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) http: HttpClient,
    pub(crate) token: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

/// How a replica is made.
#[derive(Default)]
pub(crate) struct Options<'a> {
    pub(crate) flags: &'a [&'a str],
    pub(crate) redis: Option<Redis>,
    /// Whether it hears of nothing, so that it stays where it began.
    pub(crate) deaf: bool,
    pub(crate) public_only: bool,
}

impl Replica {
    /// A gateway on the node's chain.
    pub(crate) async fn start(node: &Node, options: Options<'_>) -> Self {
        let port = quintet_testkit::process::free_port().to_string();
        let fixed = ["gateway", "--http", "--ws", "--http.port", &port, "--ws.port", &port];
        let args = fixed.iter().chain(options.flags);
        let mut config = GatewayFlags::try_parse_from(args).expect("flags").gateway;
        config.public_only = options.public_only;
        let mut dependencies = node.dependencies.clone();
        if options.deaf {
            dependencies.events = Arc::new(LocalBus::new());
        }
        let gateway =
            Gateway::apart(&config, dependencies, "http://chain", options.redis).expect("a gateway");
        let listeners = gateway.bind().await.expect("ports");
        let address = listeners.http().expect("HTTP");
        let (admin, token) = (listeners.admin(), CancellationToken::new());
        let serving = gateway.serve(listeners, token.clone());
        let task = tokio::spawn(async move { serving.await.expect("served") });
        Self { address, admin, http: HttpClient::new(format!("http://{address}")), token, task }
    }

    /// A replica with these flags.
    pub(crate) async fn with(node: &Node, flags: &[&str]) -> Self {
        Self::start(node, Options { flags, ..Options::default() }).await
    }

    /// A replica that shares a Redis with others.
    pub(crate) async fn sharing(node: &Node, redis: &Redis, flags: &[&str]) -> Self {
        Self::start(node, Options { flags, redis: Some(redis.clone()), ..Options::default() }).await
    }

    /// A client that sends a header too.
    pub(crate) fn client(&self, header: &'static str, value: &str) -> HttpClient {
        self.http.clone().with_header(header, value)
    }

    /// Waits until it shows this block number.
    pub(crate) async fn wait_for(&self, number: u64) {
        let waiting = async {
            while self.call("eth_blockNumber", Value::Null).await != format!("{number:#x}") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the replica follows");
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.http.call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The error of a call.
    pub(crate) async fn failure(&self, method: &str, params: Value) -> (i64, String) {
        let error = self.http.call(method, params).await.expect_err("an error").rpc();
        (error.code, error.message)
    }

    /// Opens a WebSocket.
    pub(crate) async fn ws(&self) -> WsClient {
        WsClient::connect(&format!("ws://{}", self.address)).await.expect("a WebSocket")
    }
}

/// A connection to a test's Redis.
pub(crate) fn open(redis: &quintet_testkit::redis::Redis) -> Redis {
    Redis::new(&redis.url(0)).expect("an address")
}

/// Writes the pool events of the node's chain into Redis too, as `chain` does in the split. Gives the bus.
pub(crate) fn forward_pool(node: &Node, redis: &Redis) -> RedisBus {
    let keyspace = Keyspace::of(&node.dependencies.spec.genesis_hash());
    let bus = RedisBus::new(redis.clone(), keyspace);
    let (mut events, to) = (node.dependencies.events.subscribe(Topics::POOL, None), bus.clone());
    tokio::spawn(async move {
        while let Some(Ok(event @ Event::Pool(_))) = events.next().await {
            to.publish(event).await.expect("published");
        }
    });
    bus
}

/// Posts a body on a connection of its own; gives the whole answer, head and body.
pub(crate) async fn exchange(address: SocketAddr, head: &str, body: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(post(head, body).as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("received");
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("answered")
}

/// A POST of JSON to a path, with more lines of head, after which the connection is closed.
pub(crate) fn post(head: &str, body: &str) -> String {
    let (path, more) = head.split_once('\n').unwrap_or((head, ""));
    let more: Vec<_> = more.lines().chain([""]).collect();
    let more = more.join("\r\n");
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
         {more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) const BLOCK_NUMBER: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}"#;
