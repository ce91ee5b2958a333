//! API keys, tokens, and the admin RPC port.

use crate::chain::Node;
use crate::edge::{BLOCK_NUMBER, Options, PATIENCE, Replica, exchange};
use futures::StreamExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use quintet_testkit::rpc::HttpClient;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::NamedTempFile;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

fn file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

fn key(name: &str, more: &str) -> String {
    format!("[[key]]\nname = \"{name}\"\nkey = \"k-{name}\"\n{more}\n")
}

async fn status(client: &HttpClient) -> (u16, String) {
    let (status, text) = client.post(BLOCK_NUMBER).await.expect("an answer");
    (status.as_u16(), text)
}

/// Waits until a client is answered with this status.
async fn until(client: &HttpClient, expected: u16) {
    let waiting = async {
        while status(client).await.0 != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_as_headers_or_in_the_path() {
    let node = Node::dev().await;
    let keys = file(
        &(key("all", "")
            + &key("few", "modules = [\"net\"]\nmethods = [\"eth_chainId\"]")
            + &key("old", "expires = 2020-01-01")),
    );
    let replica = Replica::with(&node, &["--rpc.keys", text(keys.path())]).await;
    let refused = exchange(replica.address, "/", BLOCK_NUMBER).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    assert!(refused.contains("www-authenticate: Bearer realm=\"quintet\"\r\n"), "{refused}");
    assert!(refused.contains("missing API key: send it as Authorization: Bearer KEY"), "{refused}");
    for head in [
        "/\nAuthorization: Bearer k-all",
        "/\nAuthorization: bearer k-all",
        "/\nX-API-Key: k-all",
        "/k-all",
        "/v1/k-all",
        "/v3/k-all",
    ] {
        let answer = exchange(replica.address, head, BLOCK_NUMBER).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""result":"0x0""#),
            "{head}: {answer}"
        );
    }
    for (head, reason) in [
        ("/\nAuthorization: Bearer k-none", "the API key is not known"),
        ("/k-none", "the API key is not known"),
        ("/\nX-API-Key: k-old", "the API key has expired"),
        ("/\nX-API-Key: ", "missing API key"),
        ("/\nAuthorization: Basic k-all", "missing API key"),
    ] {
        let answer = exchange(replica.address, head, BLOCK_NUMBER).await;
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains(reason), "{head}: {answer}");
        assert!(!answer.contains("k-none") && !answer.contains("k-old"), "{answer}");
    }
    assert!(exchange(replica.address, "/a/b", BLOCK_NUMBER).await.starts_with("HTTP/1.1 404 "));
    let few = replica.client("x-api-key", "k-few");
    assert_eq!(few.call("eth_chainId", json!([])).await.expect("allowed"), "0x539");
    assert!(few.call("net_version", json!([])).await.is_ok());
    let error = few.call("eth_blockNumber", json!([])).await.expect_err("not allowed").rpc();
    assert_eq!(
        (error.code, error.message.as_str()),
        (-32601, "the method eth_blockNumber is not allowed with this API key")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_of_keys_holds_at_once_and_a_broken_one_never() {
    let node = Node::dev().await;
    let keys = file(&(key("one", "") + &key("two", "")));
    let replica = Replica::with(&node, &["--rpc.keys", text(keys.path())]).await;
    let [one, two, new] = ["k-one", "k-two", "k-new"].map(|key| replica.client("x-api-key", key));
    assert_eq!((status(&one).await.0, status(&new).await.0), (200, 401));
    let url = format!("ws://{}/v1/k-two", replica.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.expect("let in");
    for broken in ["", "[[key]]\nname = \"broken"] {
        std::fs::write(keys.path(), broken).expect("written");
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!((status(&one).await.0, status(&two).await.0), (200, 200), "{broken:?}");
    }
    // Replaced as Kubernetes and careful people do it.
    let next = file(&(key("one", "") + &key("new", "")));
    std::fs::rename(next.path(), keys.path()).expect("renamed");
    until(&new, 200).await;
    assert_eq!(status(&one).await.0, 200);
    let (code, reason) = status(&two).await;
    assert!(code == 401 && reason.contains("the API key is not known"), "{reason}");
    // Who is connected with a key that is gone is told so, and not only at the next connection.
    futures::SinkExt::send(&mut socket, Message::text(BLOCK_NUMBER)).await.expect("sent");
    let mut told = Vec::new();
    let ended = async {
        while let Some(Ok(message)) = socket.next().await {
            told.push(message);
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("ended");
    let Some(Message::Close(Some(close))) = told.last() else { panic!("no close: {told:?}") };
    assert_eq!((close.code, close.reason.as_str()), (CloseCode::Policy, "the API key is no longer valid"));
    assert!(told[0].to_text().expect("text").contains("the API key is no longer valid"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_are_let_in_by_the_same_rules() {
    let node = Node::dev().await;
    let keys = file(&key("all", ""));
    let replica = Replica::with(&node, &["--rpc.keys", text(keys.path())]).await;
    let refused = tokio_tungstenite::connect_async(format!("ws://{}", replica.address)).await;
    let Err(Error::Http(answer)) = refused else { panic!("let in: {refused:?}") };
    assert_eq!(answer.status(), 401);
    let mut request = format!("ws://{}", replica.address).into_client_request().expect("a request");
    request.headers_mut().insert("authorization", "Bearer k-all".parse().expect("a value"));
    assert!(tokio_tungstenite::connect_async(request).await.is_ok());
}

const SECRET: [u8; 32] = [9; 32];

fn token(claims: &Value) -> String {
    let key = EncodingKey::from_secret(&SECRET);
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_good_for_a_minute_and_for_what_they_say() {
    let node = Node::dev().await;
    let secret = file(&alloy_primitives::hex::encode_prefixed(SECRET));
    let keys = file(&key("me", "rate = 0.01\nburst = 2"));
    let flags = ["--rpc.jwtsecret", text(secret.path()), "--rpc.keys", text(keys.path())];
    let replica = Replica::with(&node, &flags).await;
    let with = |claims: Value| replica.client("authorization", &format!("Bearer {}", token(&claims)));
    for (claims, expected, reason) in [
        (json!({ "iat": now() }), 200, ""),
        (json!({ "iat": now() - 3600 }), 401, "stale token"),
        (json!({ "iat": now() + 3600 }), 401, "future token"),
        (json!({ "iat": now(), "exp": now() - 60 }), 401, "token is expired"),
        (json!({ "exp": now() + 60 }), 401, "missing issued-at"),
    ] {
        let (code, text) = status(&with(claims.clone())).await;
        assert!(code == expected && text.contains(reason), "{claims}: {code} {text}");
    }
    let (code, reason) = status(&replica.client("authorization", "Bearer a.b.c")).await;
    assert!(code == 401 && reason.contains("token is malformed"), "{reason}");
    // A key is as good, and a subject's limits are those of its key.
    assert_eq!(status(&replica.client("x-api-key", "k-me")).await.0, 200);
    let mine = with(json!({ "iat": now(), "sub": "me" }));
    assert_eq!((status(&mine).await.0, status(&mine).await.0), (200, 429));
    let narrow = with(json!({ "iat": now(), "modules": ["net"] }));
    assert!(narrow.call("net_version", json!([])).await.is_ok());
    assert_eq!(narrow.call("eth_chainId", json!([])).await.expect_err("not allowed").rpc().code, -32601);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_port_offers_everything_to_those_with_its_secret() {
    let node = Node::dev().await;
    let (secret, keys) = (file(&alloy_primitives::hex::encode(SECRET)), file(&key("all", "")));
    let flags = [
        ["--rpc.keys", text(keys.path())],
        ["--adminrpc.port", "0"],
        ["--adminrpc.jwtsecret", text(secret.path())],
        ["--rpc.ratelimit", "0.01"],
    ];
    let options = Options { flags: flags.as_flattened(), public_only: true, ..Options::default() };
    let replica = Replica::start(&node, options).await;
    let address = replica.admin.expect("an admin port");
    let client = HttpClient::new(format!("http://{address}"));
    assert_eq!(status(&client.clone().with_header("x-api-key", "k-all")).await.0, 401);
    let admin = client.with_header("authorization", &format!("Bearer {}", token(&json!({ "iat": now() }))));
    let modules = admin.call("rpc_modules", json!([])).await.expect("modules");
    assert!(modules["personal"].is_string() && modules["debug"].is_string(), "{modules}");
    for _ in 0..5 {
        assert!(admin.call("debug_getBlockRlp", json!([0])).await.is_ok(), "no limit holds here");
    }
    let public = replica.client("x-api-key", "k-all").call("personal_sign", json!([])).await;
    let error = public.expect_err("not public").rpc();
    assert_eq!(error.message, "the method personal_sign does not exist/is not available");
    let mut request = format!("ws://{address}").into_client_request().expect("a request");
    let bearer = format!("Bearer {}", token(&json!({ "iat": now() })));
    request.headers_mut().insert("authorization", bearer.parse().expect("a value"));
    assert!(tokio_tungstenite::connect_async(request).await.is_ok());
}
