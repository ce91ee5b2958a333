//! A careful client: it hops between replicas, and tells each which block it has seen, so that the head never runs
//! backwards.

use crate::rpc::{CallError, RpcError};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::time::Duration;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The block that an answer is of.
const BLOCK: &str = "x-quintet-block";
/// The block that the caller has seen.
const MIN_BLOCK: &str = "x-quintet-min-block";

/// A client of many replicas.
#[derive(Clone, Debug)]
pub struct Careful {
    client: Client<HttpConnector, Full<Bytes>>,
    urls: Vec<String>,
    turn: usize,
    seen: u64,
}

/// An answer, and where it comes from.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was answered.
    pub result: Value,
    /// The block that it was answered at.
    pub block: u64,
    /// The replica that answered.
    pub url: String,
}

impl Careful {
    /// A client of the replicas at these addresses.
    pub fn new(urls: Vec<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector), urls, turn: 0, seen: 0 }
    }

    /// The newest block that an answer was of.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// Asks the next replica.
    ///
    /// # Errors
    /// Its error, or that it did not answer.
    ///
    /// # Panics
    /// When the answer is of a block before one that was seen, or does not say of which.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Answer, CallError> {
        self.turn = (self.turn + 1) % self.urls.len();
        let url = self.urls[self.turn].clone();
        let exchange = self.exchange(&url, method, params);
        let late = |_| Err(CallError::Transport(format!("{url}: no answer in {DEADLINE:?}")));
        let (block, mut answer) = tokio::time::timeout(DEADLINE, exchange).await.unwrap_or_else(late)?;
        if let Some(error) = answer.get("error") {
            let message = error["message"].as_str().unwrap_or_default().to_owned();
            let code = error["code"].as_i64().unwrap_or_default();
            return Err(CallError::Rpc(RpcError { code, message, data: error.get("data").cloned() }));
        }
        let block = block.unwrap_or_else(|| panic!("{url}: {method} is answered without {BLOCK}"));
        assert!(block >= self.seen, "{url} answers {method} at block {block}, after block {}", self.seen);
        self.seen = block;
        Ok(Answer { result: answer["result"].take(), block, url })
    }

    async fn exchange(
        &self,
        url: &str,
        method: &str,
        params: Value,
    ) -> Result<(Option<u64>, Value), CallError> {
        let failed = |error: &dyn std::fmt::Debug| CallError::Transport(format!("{url}: {error:?}"));
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let request = Request::post(url)
            .header("content-type", "application/json")
            .header(MIN_BLOCK, self.seen)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed(&error))?;
        let response = self.client.request(request).await.map_err(|error| failed(&error))?;
        let block = response.headers().get(BLOCK).and_then(|value| value.to_str().ok()?.parse().ok());
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
        let answer = serde_json::from_slice(&body);
        let answer = answer.map_err(|error| {
            CallError::Transport(format!("{url}: {status}: {error}: {}", String::from_utf8_lossy(&body)))
        })?;
        Ok((block, answer))
    }
}
