//! What must be true in the end: the whole chain against what the clients were told.

use super::ledger::{Question, Read};
use super::{POLL, Plan, State};
use crate::fixture::{call, to_hash, to_quantity, to_u64, until};
use alloy_primitives::{B256, U256};
use quintet_testkit::rpc::HttpClient;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Calls in one batch.
const BATCH: usize = 200;
/// Blocks of which every replica is asked again.
const SAMPLES: usize = 20;

/// What the accounts and the contract hold at the end of a block.
#[derive(Clone, Debug, Default)]
struct Model {
    balances: Vec<U256>,
    nonces: Vec<u64>,
    count: u64,
}

/// Waits until everything acknowledged is mined.
pub(super) async fn settle(state: &State, deadline: Duration) {
    let start = Instant::now();
    let counts = state.ledger().acknowledged_counts();
    let rpcs: Vec<_> = state.urls.iter().map(|url| HttpClient::new(url.clone())).collect();
    let mut waiting: Vec<(usize, usize)> =
        (0..rpcs.len()).flat_map(|replica| counts.keys().map(move |sender| (replica, *sender))).collect();
    while let Some((replica, sender)) = waiting.last().copied() {
        let plan = &state.plan.senders[sender];
        let wanted = plan.first_nonce + counts[&sender];
        let nonce =
            rpcs[replica].call("eth_getTransactionCount", json!([plan.account.address, "latest"])).await;
        if nonce.as_ref().is_ok_and(|nonce| to_u64(nonce) >= wanted) {
            waiting.pop();
            continue;
        }
        assert!(
            start.elapsed() < deadline,
            "sender {sender}: nonce {wanted} of what was acknowledged, {nonce:?} at {}: lost?",
            state.urls[replica]
        );
        tokio::time::sleep(POLL).await;
    }
}

/// Walks the chain from where the load began.
pub(super) async fn check(state: &State) {
    let rpc = HttpClient::new(state.urls[0].clone());
    let head = head(state, &rpc).await;
    let numbers: Vec<_> = (state.plan.base..=head).collect();
    let params: Vec<_> = numbers.iter().map(|number| json!([U256::from(*number), true])).collect();
    let blocks = call_all(&rpc, "eth_getBlockByNumber", &params).await;
    check_links(state.plan.base, &blocks);
    check_mined(state, &blocks);
    let models = models(&state.plan, &blocks);
    check_told(state, &blocks, &models);
    for url in &state.urls {
        check_history(state, &models, url).await;
    }
}

/// Every head that was told is on the chain, and every read is borne out by it.
fn check_told(state: &State, blocks: &[Value], models: &[Model]) {
    let (plan, ledger) = (&state.plan, state.ledger());
    for (block, number) in blocks.iter().zip(plan.base..) {
        if let Some(hash) = ledger.heads.get(&number) {
            assert_eq!(to_hash(&block["hash"]), *hash, "block {number} was told, and is lost");
        }
    }
    let first = ledger.reads.iter().find_map(|read| wrong(read, plan, models));
    assert_eq!(first, None, "a read from another block");
    let (reads, acknowledged) = (ledger.reads.len(), ledger.acknowledged.len());
    println!(
        "{acknowledged} transactions acknowledged, {} blocks, {reads} reads, heads {:?}; {}",
        blocks.len(),
        ledger.told,
        ledger.complaints()
    );
    assert!(reads > 0 && acknowledged > 0, "there was no load");
}

/// The newest block, which is no older than any that was seen.
async fn head(state: &State, rpc: &HttpClient) -> u64 {
    let seen = {
        let ledger = state.ledger();
        let read = ledger.reads.iter().map(|read| read.block).max();
        read.max(ledger.heads.last_key_value().map(|(number, _)| *number)).unwrap_or_default()
    };
    until("block that was seen", async || {
        let head = to_u64(&call(rpc, "eth_blockNumber", json!([])).await);
        (head >= seen).then_some(head)
    })
    .await
}

fn check_links(base: u64, blocks: &[Value]) {
    for (block, number) in blocks.iter().zip(base..) {
        assert_eq!(block["number"], json!(U256::from(number)), "{block}");
    }
    for pair in blocks.windows(2) {
        assert_eq!(pair[1]["parentHash"], pair[0]["hash"], "block {}", pair[1]["number"]);
    }
}

/// Every acknowledged transaction is mined once.
fn check_mined(state: &State, blocks: &[Value]) {
    let mut times: BTreeMap<B256, u32> = BTreeMap::new();
    for transaction in blocks.iter().flat_map(transactions) {
        *times.entry(to_hash(&transaction["hash"])).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1), "a transaction was mined twice");
    for ((sender, index), hash) in &state.ledger().acknowledged {
        assert!(times.contains_key(hash), "sender {sender}, transaction {index}: {hash} was not mined");
    }
}

fn transactions(block: &Value) -> impl Iterator<Item = &Value> {
    block["transactions"].as_array().expect("transactions").iter()
}

/// What must be seen at each block, by the transactions in them.
fn models(plan: &Plan, blocks: &[Value]) -> Vec<Model> {
    let nonces: Vec<_> = plan.senders.iter().map(|sender| sender.first_nonce).collect();
    let mut model = Model { balances: vec![U256::ZERO; plan.senders.len()], nonces, count: 0 };
    let mut models = Vec::with_capacity(blocks.len());
    // The first one is before the load, whatever it holds.
    models.push(model.clone());
    for transaction in blocks.iter().skip(1).flat_map(|block| transactions(block).map(Some).chain([None])) {
        let Some(transaction) = transaction else {
            models.push(model.clone());
            continue;
        };
        let from = &transaction["from"];
        let sender = plan.senders.iter().position(|sender| is(from, &sender.account.address));
        let Some(sender) = sender else { continue };
        let nonce = to_u64(&transaction["nonce"]);
        assert_eq!(nonce, model.nonces[sender], "{transaction}");
        model.nonces[sender] += 1;
        let to = &transaction["to"];
        model.count += u64::from(is(to, &plan.tally));
        if is(to, &plan.senders[sender].receiver) {
            model.balances[sender] += to_quantity(&transaction["value"]);
        }
    }
    models
}

fn is(value: &Value, address: &alloy_primitives::Address) -> bool {
    value.as_str().is_some_and(|text| text.parse() == Ok(*address))
}

/// A read that the chain does not bear out.
fn wrong(read: &Read, plan: &Plan, models: &[Model]) -> Option<String> {
    let expected =
        match read.block.checked_sub(plan.base).and_then(|at| models.get(usize::try_from(at).ok()?)) {
            Some(model) => match read.question {
                Question::Balance(sender) => model.balances[sender],
                Question::Nonce(sender) => U256::from(model.nonces[sender]),
                Question::Count => U256::from(model.count),
                Question::Head => U256::from(read.block),
            },
            None => return Some(format!("{read:?} is of a block that is not there")),
        };
    (read.answer != expected).then(|| format!("{}: {read:?}, but {expected} at that block", read.url))
}

/// Asks a replica about blocks of the past.
async fn check_history(state: &State, models: &[Model], url: &str) {
    let rpc = HttpClient::new(url.to_owned());
    let step = (models.len() / SAMPLES).max(1);
    for (model, number) in models.iter().zip(state.plan.base..).step_by(step) {
        let at = U256::from(number);
        let mut calls = Vec::new();
        for (sender, balance) in state.plan.senders.iter().zip(&model.balances) {
            calls.push(("eth_getBalance", json!([sender.receiver, at]), *balance));
        }
        for (sender, nonce) in state.plan.senders.iter().zip(&model.nonces) {
            calls.push(("eth_getTransactionCount", json!([sender.account.address, at]), U256::from(*nonce)));
        }
        calls.push(("eth_getStorageAt", json!([state.plan.tally, "0x0", at]), U256::from(model.count)));
        let asked = calls.iter().map(|(method, params, _)| (*method, params.clone()));
        let answers = rpc.batch(asked).await.expect("answered");
        for ((method, params, expected), answer) in calls.iter().zip(answers) {
            let answer = answer.unwrap_or_else(|error| panic!("{url}: {method} {params}: {error}"));
            assert_eq!(to_quantity(&answer), *expected, "{url}: {method} {params}");
        }
    }
}

/// Calls a method for each of many parameters; every call must succeed.
async fn call_all(rpc: &HttpClient, method: &str, params: &[Value]) -> Vec<Value> {
    let mut results = Vec::with_capacity(params.len());
    for params in params.chunks(BATCH) {
        let asked = params.iter().map(|params| (method, params.clone()));
        let answers = rpc.batch(asked).await.expect("answered");
        results.extend(answers.into_iter().map(|answer| answer.expect("a result")));
    }
    results
}
