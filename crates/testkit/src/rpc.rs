//! A JSON-RPC 2.0 client, over HTTP with connections kept alive, and over WebSocket with subscriptions.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long an answer or a notification may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the server answered instead of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// The code, such as -32602.
    pub code: i64,
    /// The text.
    pub message: String,
    /// More, such as what a contract reverted with.
    pub data: Option<Value>,
}

impl fmt::Display for RpcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (code {})", self.message, self.code)
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The server said no.
    #[error("{0}")]
    Rpc(RpcError),
    /// There was no answer, or it was no JSON-RPC: nobody knows whether the request was carried out.
    #[error("no answer: {0}")]
    Transport(String),
}

impl CallError {
    /// The server's error.
    ///
    /// # Panics
    /// When there was no answer.
    pub fn rpc(self) -> RpcError {
        match self {
            Self::Rpc(error) => error,
            Self::Transport(reason) => panic!("no answer: {reason}"),
        }
    }
}

fn transport(error: impl fmt::Debug) -> CallError {
    CallError::Transport(format!("{error:?}"))
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// Takes the result out of a response object.
fn result(mut response: Value) -> Result<Value, CallError> {
    if let Some(error) = response.get_mut("error").map(Value::take) {
        let code = error["code"].as_i64();
        let message = error["message"].as_str().map(str::to_owned);
        let (Some(code), Some(message)) = (code, message) else { return Err(transport(error)) };
        return Err(CallError::Rpc(RpcError { code, message, data: error.get("data").cloned() }));
    }
    match response.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(CallError::Transport(format!("neither result nor error: {response}"))),
    }
}

/// A client over HTTP. Clones share its connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    headers: HeaderMap,
}

impl HttpClient {
    /// A client of the server at `url`, such as `http://127.0.0.1:8545`.
    pub fn new(url: impl Into<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self { client, url: url.into(), headers }
    }

    /// The same client, sending this header too.
    ///
    /// # Panics
    /// When the value is not one of a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a header's value"));
        self
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The server's error, or that it did not answer.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        result(self.exchange(&request(1, method, &params)).await?)
    }

    /// Calls several methods in one batch; gives the answers in the order of the calls.
    ///
    /// # Errors
    /// When the batch as a whole was not answered.
    pub async fn batch(
        &self,
        calls: impl IntoIterator<Item = (&str, Value)>,
    ) -> Result<Vec<Result<Value, CallError>>, CallError> {
        let requests = calls.into_iter().zip(0..).map(|((method, params), id)| request(id, method, &params));
        let requests: Vec<_> = requests.collect();
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let count = requests.len();
        let mut answers = match self.exchange(&Value::Array(requests)).await? {
            Value::Array(answers) => answers,
            single => return Err(result(single).err().unwrap_or_else(|| transport("one answer to a batch"))),
        };
        answers.sort_by_key(|answer| answer["id"].as_u64());
        if answers.len() != count {
            return Err(CallError::Transport(format!("{} answers to {count} calls", answers.len())));
        }
        Ok(answers.into_iter().map(result).collect())
    }

    async fn exchange(&self, body: &Value) -> Result<Value, CallError> {
        let (status, text) = self.post(body.to_string()).await?;
        serde_json::from_str(&text).map_err(|error| transport(format!("{status}: {error}: {text}")))
    }

    /// Posts any body; gives status and body of the answer.
    ///
    /// # Errors
    /// When there was no answer.
    pub async fn post(&self, body: impl Into<Bytes>) -> Result<(StatusCode, String), CallError> {
        let mut request = Request::post(&self.url).body(Full::new(body.into())).map_err(transport)?;
        request.headers_mut().clone_from(&self.headers);
        let exchange = async {
            let response = self.client.request(request).await.map_err(transport)?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(transport)?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        tokio::time::timeout(DEADLINE, exchange).await.unwrap_or_else(|elapsed| Err(transport(elapsed)))
    }
}

/// What a subscription was told.
#[derive(Clone, Debug)]
struct Notification {
    subscription: String,
    result: Value,
}

/// A client over one WebSocket connection.
#[derive(Debug)]
pub struct WsClient {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    /// Came while something else was waited for.
    waiting: VecDeque<Notification>,
}

impl WsClient {
    /// Connects to `url`, such as `ws://127.0.0.1:8545`.
    ///
    /// # Errors
    /// When there is no such server.
    pub async fn connect(url: &str) -> Result<Self, CallError> {
        let connect = tokio_tungstenite::connect_async(url);
        let (stream, _) =
            tokio::time::timeout(DEADLINE, connect).await.map_err(transport)?.map_err(transport)?;
        Ok(Self { stream, next_id: 0, waiting: VecDeque::new() })
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The server's error, or that it did not answer.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, CallError> {
        self.next_id += 1;
        let id = self.next_id;
        let text = request(id, method, &params).to_string();
        self.stream.send(Message::text(text)).await.map_err(transport)?;
        let answer = async {
            loop {
                let message = self.read().await?;
                if message["id"].as_u64() == Some(id) {
                    return result(message);
                }
                self.keep(message)?;
            }
        };
        tokio::time::timeout(DEADLINE, answer).await.unwrap_or_else(|elapsed| Err(transport(elapsed)))
    }

    /// Subscribes, as with `["newHeads"]`; gives the subscription's id.
    ///
    /// # Errors
    /// See [`Self::call`].
    pub async fn subscribe(&mut self, params: Value) -> Result<String, CallError> {
        let id = self.call("eth_subscribe", params).await?;
        id.as_str().map(str::to_owned).ok_or_else(|| transport(id))
    }

    /// The next thing that a subscription is told.
    ///
    /// # Errors
    /// When the connection ended, or nothing came within half a minute.
    pub async fn next(&mut self, subscription: &str) -> Result<Value, CallError> {
        let next = self.next_or_end(subscription);
        tokio::time::timeout(DEADLINE, next).await.unwrap_or_else(|elapsed| Err(transport(elapsed)))
    }

    /// The next thing that a subscription is told, however long that takes.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn next_or_end(&mut self, subscription: &str) -> Result<Value, CallError> {
        loop {
            let found =
                self.waiting.iter().position(|notification| notification.subscription == subscription);
            if let Some(notification) = found.and_then(|index| self.waiting.remove(index)) {
                return Ok(notification.result);
            }
            let message = self.read().await?;
            self.keep(message)?;
        }
    }

    fn keep(&mut self, mut message: Value) -> Result<(), CallError> {
        let subscription = message["params"]["subscription"].as_str().map(str::to_owned);
        let method = message["method"].as_str().unwrap_or_default();
        let Some(subscription) = subscription.filter(|_| method.ends_with("_subscription")) else {
            return Err(CallError::Transport(format!("unexpected message: {message}")));
        };
        let result = message["params"]["result"].take();
        self.waiting.push_back(Notification { subscription, result });
        Ok(())
    }

    async fn read(&mut self) -> Result<Value, CallError> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).map_err(transport),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => return Err(CallError::Transport(format!("not text: {other:?}"))),
                Some(Err(error)) => return Err(transport(error)),
                None => return Err(transport("the connection ended")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CallError, result};
    use serde_json::json;

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(result(json!({ "id": 1, "result": null })).unwrap(), json!(null));
        let error = json!({ "id": 1, "error": { "code": 3, "message": "execution reverted", "data": "0x" } });
        let error = result(error).unwrap_err().rpc();
        assert_eq!((error.code, error.data), (3, Some(json!("0x"))));
        assert!(matches!(result(json!({ "id": 1 })), Err(CallError::Transport(_))));
    }
}
