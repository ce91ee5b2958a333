//! How connections end: with the process, and of clients that do not read; and calls that are made at the same time.

use crate::chain::Node;
use crate::edge::{BLOCK_NUMBER, PATIENCE, Replica, exchange, post};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// A call of a loop without end, which the time limit ends.
fn endless(id: u32) -> String {
    let target = "0x00000000000000000000000000000000000000dd";
    let overrides = json!({ target: { "code": "0x5b5f56" } });
    let params = json!([{ "to": target }, "latest", overrides]);
    json!({ "jsonrpc": "2.0", "id": id, "method": "eth_call", "params": params }).to_string()
}

const SLOW: [&str; 4] = ["--rpc.gascap", "0", "--rpc.evmtimeout", "1s"];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn at_the_end_everybody_is_told_and_what_is_under_way_is_finished() {
    let node = Node::dev().await;
    let mut replica = Replica::with(&node, &SLOW).await;
    let (mut idle, _) =
        tokio_tungstenite::connect_async(format!("ws://{}", replica.address)).await.expect("connected");
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;
    idle.send(Message::text(subscribe)).await.expect("sent");
    assert!(idle.next().await.expect("an answer").expect("a message").is_text());
    let (mut busy, _) =
        tokio_tungstenite::connect_async(format!("ws://{}", replica.address)).await.expect("connected");
    busy.send(Message::text(endless(7))).await.expect("sent");
    let address = replica.address;
    let kept = post("/", &endless(8)).replace("Connection: close\r\n", "");
    let mut http = TcpStream::connect(address).await.expect("connected");
    http.write_all(kept.as_bytes()).await.expect("sent");
    // All of them are with the server.
    tokio::time::sleep(Duration::from_millis(300)).await;
    replica.token.cancel();

    let ended = async {
        let told = idle.next().await.expect("a close").expect("a message");
        let Message::Close(Some(close)) = told else { panic!("not closed: {told:?}") };
        assert_eq!((close.code, close.reason.as_str()), (CloseCode::Away, "shutting down"));
        let answer = busy.next().await.expect("an answer").expect("a message").into_text().expect("text");
        assert!(
            answer.contains("\"id\":7") && answer.contains("execution aborted (timeout = 1s)"),
            "{answer}"
        );
        let told = busy.next().await.expect("a close").expect("a message");
        assert!(matches!(told, Message::Close(Some(close)) if close.code == CloseCode::Away));
        let mut answer = String::new();
        http.read_to_string(&mut answer).await.expect("received until the end");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"id\":8"), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close\r\n"), "{answer}");
        drop((idle, busy));
        (&mut replica.task).await.expect("ended");
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("in time");
    assert!(TcpStream::connect(address).await.is_err(), "nobody is let in any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_holds_up_nobody_at_the_end() {
    let node = Node::dev().await;
    let mut replica = Replica::with(&node, &[]).await;
    let (mut deaf, _) =
        tokio_tungstenite::connect_async(format!("ws://{}", replica.address)).await.expect("connected");
    for _ in 0..50 {
        deaf.send(Message::text(BLOCK_NUMBER)).await.expect("sent");
    }
    replica.token.cancel();
    tokio::time::timeout(PATIENCE, &mut replica.task).await.expect("in time").expect("ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_made_at_the_same_time_have_one_answer_each_under_its_own_id() {
    let node = Node::dev().await;
    let replica = Replica::with(&node, &SLOW).await;
    let address = replica.address;
    // Whoever began goes away: those that wait are answered nevertheless.
    let mut first = TcpStream::connect(address).await.expect("connected");
    first.write_all(post("/", &endless(99)).as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(first);
    let calls: Vec<_> =
        (1..=6).map(|id| tokio::spawn(async move { exchange(address, "/", &endless(id)).await })).collect();
    for (call, id) in calls.into_iter().zip(1..) {
        let answer = tokio::time::timeout(PATIENCE, call).await.expect("in time").expect("ran");
        assert!(
            answer.contains(&format!("\"id\":{id},")) && answer.contains("execution aborted"),
            "{answer}"
        );
    }
    let logs = (0..20).map(|_| {
        let client = replica.http.clone();
        tokio::spawn(async move { client.call("eth_getLogs", json!([{ "fromBlock": "earliest" }])).await })
    });
    for logs in logs.collect::<Vec<_>>() {
        assert_eq!(logs.await.expect("ran").expect("logs"), Value::Array(Vec::new()));
    }
}
