//! Clients that read and clients that subscribe.

use super::ledger::{Question, Read};
use super::{State, ended};
use crate::fixture::{to_hash, to_quantity, to_u64};
use alloy_primitives::{B256, U256};
use quintet_testkit::rpc::{CallError, WsClient};
use quintet_testkit::split::Careful;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two reads of a reader.
const PACE: Duration = Duration::from_millis(25);
/// Between two attempts to subscribe.
const RETRY: Duration = Duration::from_millis(200);

/// Reads until it is told to end, hopping between the replicas.
pub(super) async fn read(state: Arc<State>, reader: usize, go: watch::Receiver<bool>) {
    let mut client = Careful::new(state.urls.clone());
    let senders = state.plan.senders.len();
    let mut turn = reader;
    while !ended(&go) {
        let question = match turn % 4 {
            0 => Question::Balance(turn / 4 % senders),
            1 => Question::Nonce(turn / 4 % senders),
            2 => Question::Count,
            _ => Question::Head,
        };
        turn += 1;
        let (method, params) = request(&state, question);
        match client.call(method, params).await {
            Ok(answer) => {
                let read =
                    Read { question, answer: number(&answer.result), block: answer.block, url: answer.url };
                state.ledger().reads.push(read);
            }
            Err(error) => {
                if let CallError::Rpc(error) = &error {
                    assert!(error.code <= -32000, "{method}: {error}");
                }
                state.ledger().complain(method, &error.to_string());
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

fn request(state: &State, question: Question) -> (&'static str, Value) {
    let plan = &state.plan;
    match question {
        Question::Balance(sender) => ("eth_getBalance", json!([plan.senders[sender].receiver, "latest"])),
        Question::Nonce(sender) => {
            ("eth_getTransactionCount", json!([plan.senders[sender].account.address, "latest"]))
        }
        Question::Count => ("eth_call", json!([{ "to": plan.tally, "input": "0x01" }, "latest"])),
        Question::Head => ("eth_blockNumber", json!([])),
    }
}

/// A quantity, or the word that a call gave.
fn number(result: &Value) -> U256 {
    let text = result.as_str().unwrap_or_default();
    text.parse::<B256>().map_or_else(|_| to_quantity(result), |word| U256::from_be_bytes(word.0))
}

/// Subscribes to the heads of a replica, and again whenever the subscription ends, until it is told to end.
pub(super) async fn watch(state: Arc<State>, replica: usize, mut go: watch::Receiver<bool>) {
    let url = state.urls[replica].replacen("http", "ws", 1);
    while !ended(&go) {
        let followed = tokio::select! {
            followed = follow(&state, replica, &url) => followed,
            _ = go.wait_for(|go| !go) => return,
        };
        state.ledger().complain(&format!("subscription at {url}"), &followed.to_string());
        tokio::time::sleep(RETRY).await;
    }
}

/// Every head follows the one before it, for as long as the subscription lives.
async fn follow(state: &State, replica: usize, url: &str) -> CallError {
    let subscribed = async {
        let mut ws = WsClient::connect(url).await?;
        let id = ws.subscribe(json!(["newHeads"])).await?;
        Ok((ws, id))
    };
    let (mut ws, id) = match subscribed.await {
        Ok(subscribed) => subscribed,
        Err(error) => return error,
    };
    let mut last: Option<(u64, B256)> = None;
    loop {
        let head = match ws.next_or_end(&id).await {
            Ok(head) => head,
            Err(error) => return error,
        };
        let (number, hash) = (to_u64(&head["number"]), to_hash(&head["hash"]));
        if let Some((before, parent)) = last {
            assert_eq!(number, before + 1, "{url}: a head was left out, or came twice");
            assert_eq!(to_hash(&head["parentHash"]), parent, "{url}: head {number} does not follow");
        }
        last = Some((number, hash));
        let mut ledger = state.ledger();
        ledger.see_head(number, hash);
        *ledger.told.entry(replica).or_default() += 1;
    }
}
