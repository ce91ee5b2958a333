//! HTTP and JSON-RPC as such: envelopes, batches, limits, headers, WebSocket.

use crate::chain::Node;
use quintet_testkit::rpc::HttpClient;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn post(node: &Node, body: &str) -> String {
    let (status, text) = node.http.post(body.to_owned()).await.expect("an answer");
    assert_eq!(status, 200, "{text}");
    text
}

/// Sends bytes as they are, and gives everything that comes back until the server closes.
async fn raw(node: &Node, request: &str) -> String {
    let mut stream = TcpStream::connect(node.address).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("received");
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(head: &str, body: &str) -> String {
    format!("{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The development network is none of proof of authority.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clique_is_only_there_where_the_network_has_it() {
    let node = Node::dev().await;
    let absent = post(&node, r#"{"jsonrpc":"2.0","id":1,"method":"clique_getSigners","params":[]}"#).await;
    assert!(absent.contains("the method clique_getSigners does not exist/is not available"), "{absent}");
    let modules = node.http.call("rpc_modules", json!([])).await.expect("modules");
    assert!(modules["eth"].is_string() && modules["clique"].is_null(), "{modules}");
}

const BLOCK_NUMBER: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_are_geths() {
    let node = Node::dev().await;
    let error = |id: &str, code: i32, message: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#)
    };
    for (body, expected) in [
        (BLOCK_NUMBER, r#"{"jsonrpc":"2.0","id":1,"result":"0x0"}"#.to_owned()),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":"net_version","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":"a","result":"1337"}"#.to_owned(),
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"eth_chainId","params":null}"#,
            r#"{"jsonrpc":"2.0","id":null,"result":"0x539"}"#.to_owned(),
        ),
        (r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#, String::new()),
        ("'f", error("null", -32700, "parse error")),
        ("1", error("null", -32600, "invalid request")),
        (r#"{"jsonrpc":"2.1","id":7,"method":"eth_chainId"}"#, error("7", -32600, "invalid request")),
        ("[]", error("null", -32600, "empty batch")),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"eth_nope","params":[1]}"#,
            error("2", -32601, "the method eth_nope does not exist/is not available"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"debug_traceCall","params":[1]}"#,
            error("2", -32601, "the method debug_traceCall does not exist/is not available"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"eth_getBalance","params":[]}"#,
            error("2", -32602, "missing value for required argument 0"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"eth_chainId","params":[1]}"#,
            error("2", -32602, "too many arguments, want at most 0"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"eth_chainId","params":{}}"#,
            error("2", -32602, "non-array args"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"eth_subscribe","params":["newHeads"]}"#,
            error("2", -32601, "notifications not supported"),
        ),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","method":"eth_chainId"},{"id":3}]"#,
            format!(
                r#"[{{"jsonrpc":"2.0","id":1,"result":"0x539"}},{}]"#,
                error("3", -32600, "invalid request")
            ),
        ),
        (r#"[{"jsonrpc":"2.0","method":"eth_chainId"}]"#, String::new()),
    ] {
        assert_eq!(post(&node, body).await, expected, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_limited() {
    let flags = ["--rpc.batch-request-limit", "3", "--rpc.batch-response-max-size", "60"];
    let node = Node::dev_with(&flags).await;
    let call = r#"{"jsonrpc":"2.0","id":5,"method":"eth_chainId"}"#;
    let text = post(&node, &format!("[{call},{call},{call},{call}]")).await;
    assert_eq!(text, r#"[{"jsonrpc":"2.0","id":5,"error":{"code":-32600,"message":"batch too large"}}]"#);
    let answers: Vec<Value> =
        serde_json::from_str(&post(&node, &format!("[{call},{call},{call}]")).await).expect("JSON");
    assert_eq!(answers[1]["result"], "0x539");
    assert_eq!(answers[2]["error"], json!({"code": -32003, "message": "response too large"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_is_checked_before_json() {
    let node = Node::dev_with(&["--http.corsdomain", "https://wallet.example"]).await;
    let json = "Content-Type: application/json";
    for (head, body, expected) in [
        ("GET / HTTP/1.1", "", "HTTP/1.1 200"),
        ("PUT / HTTP/1.1", "", "HTTP/1.1 405"),
        ("POST / HTTP/1.1\r\nContent-Type: text/plain", "{}", "HTTP/1.1 415"),
        ("POST / HTTP/1.1", "{}", "HTTP/1.1 415"),
        (&format!("POST /elsewhere HTTP/1.1\r\n{json}"), BLOCK_NUMBER, "HTTP/1.1 404"),
        (&format!("POST / HTTP/1.1\r\n{json}; charset=utf-8"), BLOCK_NUMBER, "HTTP/1.1 200"),
    ] {
        let answer = raw(&node, &request(head, body)).await;
        assert!(answer.starts_with(expected), "{head}: {answer}");
    }
    let evil = "POST / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answer = raw(&node, evil).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("invalid host specified\n"), "{answer}");
    let large = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\n{json}\r\nConnection: close\r\nContent-Length: 5242881\r\n\r\n"
    );
    let answer = raw(&node, &large).await;
    assert!(
        answer.starts_with("HTTP/1.1 413")
            && answer.ends_with("content length too large (5242881>5242880)\n"),
        "{answer}"
    );
    let preflight = "OPTIONS / HTTP/1.1\r\nOrigin: https://wallet.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type";
    let answer = raw(&node, &request(preflight, "")).await.to_lowercase();
    assert!(answer.contains("access-control-allow-origin: https://wallet.example"), "{answer}");
    assert!(answer.contains("access-control-allow-headers: content-type"), "{answer}");
    let other = format!("POST / HTTP/1.1\r\n{json}\r\nOrigin: https://evil.example");
    let answer = raw(&node, &request(&other, BLOCK_NUMBER)).await.to_lowercase();
    assert!(answer.contains("vary: origin") && !answer.contains("access-control-allow-origin"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_compressed_when_asked() {
    let node = Node::dev().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["latest",true]}"#;
    let head = "POST / HTTP/1.1\r\nContent-Type: application/json\r\nAccept-Encoding: gzip";
    let answer = raw(&node, &request(head, body)).await;
    assert!(answer.to_lowercase().contains("content-encoding: gzip"), "{answer}");
    let plain = raw(&node, &request("POST / HTTP/1.1\r\nContent-Type: application/json", body)).await;
    assert!(plain.contains("\"logsBloom\"") && plain.len() > answer.len(), "{plain}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_name_their_block() {
    let node = Node::dev().await;
    node.mine().await;
    let head = "POST / HTTP/1.1\r\nContent-Type: application/json";
    let answer = raw(&node, &request(head, BLOCK_NUMBER)).await.to_lowercase();
    assert!(answer.contains("x-quintet-block: 1\r\n"), "{answer}");
    let url = format!("http://{}", node.address);
    let patient = HttpClient::new(url).with_header("x-quintet-min-block", "2");
    let waiting = tokio::spawn(async move { patient.call("eth_blockNumber", json!([])).await });
    node.mine().await;
    assert_eq!(waiting.await.expect("ran").expect("an answer"), "0x2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_tells_of_blocks_logs_and_transactions() {
    let node = Node::dev().await;
    let mut ws = node.ws().await;
    assert_eq!(ws.call("eth_chainId", json!([])).await.expect("an answer"), "0x539");
    let heads = ws.subscribe(json!(["newHeads"])).await.expect("subscribed");
    let hashes = ws.subscribe(json!(["newPendingTransactions"])).await.expect("subscribed");
    let whole = ws.subscribe(json!(["newPendingTransactions", true])).await.expect("subscribed");
    let wrong = ws.call("eth_subscribe", json!(["nothing"])).await.expect_err("refused").rpc();
    assert_eq!(
        (wrong.code, wrong.message.as_str()),
        (-32601, "no \"nothing\" subscription in eth namespace")
    );

    let accounts = ws.call("eth_accounts", json!([])).await.expect("accounts");
    let transfer = json!([{ "from": accounts[0], "to": accounts[1], "value": "0x1" }]);
    let hash = ws.call("eth_sendTransaction", transfer).await.expect("sent");
    assert_eq!(ws.next(&hashes).await.expect("told"), hash);
    assert_eq!(ws.next(&whole).await.expect("told")["hash"], hash);
    let block = node.mine().await;
    let head = ws.next(&heads).await.expect("told");
    assert_eq!((&head["hash"], &head["number"]), (&json!(block.hash), &json!("0x1")));

    assert_eq!(ws.call("eth_unsubscribe", json!([heads])).await.expect("ended"), true);
    let gone = ws.call("eth_unsubscribe", json!([heads])).await.expect_err("gone").rpc();
    assert_eq!(gone.message, "subscription not found");
}
