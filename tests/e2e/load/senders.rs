//! Clients that send: each transaction again and again until a replica acknowledges it, then the next.

use super::{State, ended};
use crate::fixture::{to_u64, try_send};
use quintet_testkit::rpc::{CallError, HttpClient};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long an answer may take before another replica is asked.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two transactions of a sender.
const PACE: Duration = Duration::from_millis(40);
/// Between two attempts.
const RETRY: Duration = Duration::from_millis(100);
/// How long a replica that did not answer is left alone, as a load balancer would.
const SHUNNED: Duration = Duration::from_secs(1);
/// Acknowledged transactions of a sender that are not mined yet.
const MOST_PENDING: u64 = 150;
/// Codes of errors after which the same request may succeed.
const RETRYABLE: [i64; 3] = [-32001, -32002, -32005];

/// What a load balancer says when no gateway answers.
const LOAD_BALANCER: [&str; 3] =
    ["no gateway is ready", "the gateway broke off", "the gateway did not answer in time"];

/// The replicas as one sender sees them.
struct Replicas {
    clients: Vec<(HttpClient, Option<Instant>)>,
    turn: usize,
}

impl Replicas {
    fn new(urls: &[String], turn: usize) -> Self {
        Self { clients: urls.iter().map(|url| (HttpClient::new(url.clone()), None)).collect(), turn }
    }

    /// The next one that is not shunned, or else the next.
    fn next(&mut self) -> usize {
        let now = Instant::now();
        for _ in 0..self.clients.len() {
            self.turn = (self.turn + 1) % self.clients.len();
            if self.clients[self.turn].1.is_none_or(|until| until <= now) {
                break;
            }
        }
        self.turn
    }

    fn shun(&mut self, replica: usize) {
        self.clients[replica].1 = Some(Instant::now() + SHUNNED);
    }
}

/// Sends until it is told to end.
pub(super) async fn send(state: Arc<State>, sender: usize, go: watch::Receiver<bool>) {
    let mut replicas = Replicas::new(&state.urls, sender);
    let mut index = 0;
    while !ended(&go) {
        if acknowledged(&state, &mut replicas, sender, index, &go).await {
            index += 1;
        }
        look(&state, &mut replicas, sender).await;
        while !ended(&go) && index > MOST_PENDING + state.ledger().mined.get(&sender).copied().unwrap_or(0) {
            tokio::time::sleep(RETRY).await;
            look(&state, &mut replicas, sender).await;
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Sends a transaction until it is acknowledged; false if it is time to end.
async fn acknowledged(
    state: &State,
    replicas: &mut Replicas,
    sender: usize,
    index: u64,
    go: &watch::Receiver<bool>,
) -> bool {
    let transaction = state.plan.transaction(sender, index);
    while !ended(go) {
        let replica = replicas.next();
        let sent = tokio::time::timeout(ANSWER, try_send(&replicas.clients[replica].0, &transaction)).await;
        let error = match sent {
            Ok(Ok(_)) => None,
            // An attempt whose answer was lost came through.
            Ok(Err(CallError::Rpc(error)))
                if error.message == "already known" || error.message.starts_with("nonce too low") =>
            {
                None
            }
            Ok(Err(CallError::Rpc(error))) => {
                let again = RETRYABLE.contains(&error.code)
                    || LOAD_BALANCER.iter().any(|words| error.message.contains(words));
                assert!(again, "sender {sender}, transaction {index}: {error}");
                Some(error.to_string())
            }
            Ok(Err(CallError::Transport(error))) => {
                replicas.shun(replica);
                Some(error)
            }
            Err(_) => {
                replicas.shun(replica);
                Some(format!("no answer in {ANSWER:?}"))
            }
        };
        let Some(error) = error else {
            state.ledger().acknowledged.insert((sender, index), *transaction.tx_hash());
            return true;
        };
        state.ledger().complain(&format!("send to {}", state.urls[replica]), &error);
        tokio::time::sleep(RETRY).await;
    }
    false
}

/// Notes how many of the sender's transactions are mined.
async fn look(state: &State, replicas: &mut Replicas, sender: usize) {
    let replica = replicas.next();
    let plan = &state.plan.senders[sender];
    let params = json!([plan.account.address, "latest"]);
    let asked = replicas.clients[replica].0.call("eth_getTransactionCount", params);
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(nonce)) => {
            let mined = to_u64(&nonce).checked_sub(plan.first_nonce).expect("a nonce only grows");
            let mut ledger = state.ledger();
            let known = ledger.mined.entry(sender).or_default();
            *known = mined.max(*known);
        }
        Ok(Err(error)) => {
            if matches!(error, CallError::Transport(_)) {
                replicas.shun(replica);
            }
            state.ledger().complain(&format!("nonce from {}", state.urls[replica]), &error.to_string());
        }
        Err(_) => {
            replicas.shun(replica);
            state.ledger().complain(&format!("nonce from {}", state.urls[replica]), "no answer");
        }
    }
}
