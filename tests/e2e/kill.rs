//! `kill -9` under load, again and again, at moments chosen at random, also while the node starts: no acknowledged
//! transaction and no block that anybody was told of is lost, and the state is what the head's header says.
//!
//! `QUINTET_KILL_ROUNDS` sets how often, `QUINTET_KILL_SEED` repeats a run's moments.

use crate::fixture::{
    COUNTER_ADDRESS, call, count, deploy_counter, quantity, quintet_on, send_and_wait, to_hash, to_u64,
    transfer, try_send, until,
};
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_primitives::{Address, B256, U256};
use quintet_testkit::accounts::dev_account;
use quintet_testkit::process::{Node, Program};
use quintet_testkit::rpc::{CallError, HttpClient, WsClient};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const ROUNDS: u64 = 12;
/// The node lives for this long under load, in milliseconds.
const LIFE: std::ops::Range<u64> = 20..1500;
/// A node that is killed while it starts lives for this long, in milliseconds.
const START: std::ops::Range<u64> = 0..300;
/// One node in so many is killed while it starts.
const KILLED_STARTS: u64 = 4;
/// Senders, each with the account of its number; the first account deploys the contract.
const SENDERS: std::ops::Range<usize> = 1..5;
/// Calls in one batch.
const BATCH: usize = 500;
/// How many times an absent transaction is looked for, and the time between.
const LOOKS: u32 = 50;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What the node has said so far. Nothing of it may ever become untrue.
#[derive(Debug, Default)]
struct Ledger {
    /// Acknowledged transactions by sender and nonce.
    acknowledged: BTreeMap<(usize, u64), B256>,
    /// Blocks that a subscriber or a receipt named.
    blocks: BTreeMap<u64, B256>,
}

type Shared = Arc<Mutex<Ledger>>;

impl Ledger {
    fn acknowledge(&mut self, sender: usize, nonce: u64, hash: B256) {
        self.acknowledged.insert((sender, nonce), hash);
    }

    fn see_block(&mut self, number: u64, hash: B256) {
        let seen = *self.blocks.entry(number).or_insert(hash);
        assert_eq!(seen, hash, "block {number} is another than the one seen before");
    }

    /// The sender's first transactions that nobody knows the fate of, in order of their nonces.
    fn next_nonces(&self, sender: usize, many: usize) -> Vec<u64> {
        (0..).filter(|nonce| !self.acknowledged.contains_key(&(sender, *nonce))).take(many).collect()
    }
}

/// The transaction that a sender sends with a nonce, always the same: sending it again changes nothing.
fn planned(sender: usize, nonce: u64) -> TxEnvelope {
    let account = dev_account(sender);
    if nonce.is_multiple_of(5) {
        return count(account, nonce);
    }
    // Each goes to an account of its own: the state grows.
    let to = Address::left_padding_from(&(((sender as u64) << 32) + nonce + (1 << 48)).to_be_bytes());
    transfer(account, nonce, to, 1 + nonce)
}

/// Sends a planned transaction. One that came through before the kill is known by now, or mined.
async fn send(rpc: &HttpClient, ledger: &Shared, sender: usize, nonce: u64) -> Result<B256, CallError> {
    let transaction = planned(sender, nonce);
    match try_send(rpc, &transaction).await {
        Ok(_) => {}
        Err(CallError::Rpc(error))
            if error.message == "already known" || error.message.starts_with("nonce too low") => {}
        Err(CallError::Rpc(error)) => panic!("sender {sender}, nonce {nonce}: {error}"),
        Err(error) => return Err(error),
    }
    let hash = *transaction.tx_hash();
    ledger.lock().expect("not poisoned").acknowledge(sender, nonce, hash);
    Ok(hash)
}

/// Sends until the node is gone. Every other pair of transactions goes out in the wrong order, so that there are
/// queued ones too.
async fn send_until_gone(rpc: HttpClient, ledger: Shared, sender: usize) {
    let mut swap = sender.is_multiple_of(2);
    loop {
        let mut nonces = ledger.lock().expect("not poisoned").next_nonces(sender, 2);
        if swap {
            nonces.reverse();
        }
        swap = !swap;
        for nonce in nonces {
            let Ok(hash) = send(&rpc, &ledger, sender, nonce).await else { return };
            let Ok(receipt) = rpc.call("eth_getTransactionReceipt", json!([hash])).await else { return };
            if !receipt.is_null() {
                let (number, hash) = (to_u64(&receipt["blockNumber"]), to_hash(&receipt["blockHash"]));
                ledger.lock().expect("not poisoned").see_block(number, hash);
            }
        }
    }
}

/// Notes every new head until the node is gone.
async fn watch_heads(mut ws: WsClient, ledger: Shared) {
    let Ok(heads) = ws.subscribe(json!(["newHeads"])).await else { return };
    while let Ok(head) = ws.next_or_end(&heads).await {
        ledger.lock().expect("not poisoned").see_block(to_u64(&head["number"]), to_hash(&head["hash"]));
    }
}

/// Puts the node under load for a while, and kills it meanwhile.
async fn live_and_die(mut node: Node, ledger: &Shared, life: Duration) {
    let mut load = tokio::task::JoinSet::new();
    load.spawn(watch_heads(node.ws().await, Arc::clone(ledger)));
    for sender in SENDERS {
        let rpc = HttpClient::new(format!("http://127.0.0.1:{}", node.port));
        load.spawn(send_until_gone(rpc, Arc::clone(ledger), sender));
    }
    tokio::time::sleep(life).await;
    let ended = node.process.exit_status();
    assert_eq!(ended, None, "the node ended by itself:\n{}", node.process.log());
    node.process.kill().await;
    while let Some(joined) = load.join_next().await {
        joined.expect("a sender or watcher failed");
    }
}

/// Calls a method for each of many parameters; every call must succeed.
async fn call_all(rpc: &HttpClient, method: &str, params: &[Value]) -> Vec<Value> {
    let mut results = Vec::with_capacity(params.len());
    for params in params.chunks(BATCH) {
        let answers =
            rpc.batch(params.iter().map(|params| (method, params.clone()))).await.expect("answered");
        results.extend(answers.into_iter().map(|answer| answer.expect("a result")));
    }
    results
}

/// Every transaction is in a block or in the pool. Between the look at the one and the look at the other the
/// transaction may move, so an absent one is looked for again.
async fn check_transactions(rpc: &HttpClient, transactions: impl IntoIterator<Item = B256>) {
    let mut missing: Vec<B256> = transactions.into_iter().collect();
    for _ in 0..LOOKS {
        let params: Vec<_> = missing.iter().map(|hash| json!([hash])).collect();
        let found = call_all(rpc, "eth_getTransactionByHash", &params).await;
        missing =
            missing.iter().zip(&found).filter(|(_, found)| found.is_null()).map(|(hash, _)| *hash).collect();
        if missing.is_empty() {
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    panic!("{} acknowledged transactions are lost: {missing:?}", missing.len());
}

/// Every block that was seen is canonical.
async fn check_blocks(rpc: &HttpClient, blocks: impl IntoIterator<Item = (u64, B256)>) {
    let blocks: Vec<_> = blocks.into_iter().collect();
    let params: Vec<_> = blocks.iter().map(|(number, _)| json!([U256::from(*number), false])).collect();
    let found = call_all(rpc, "eth_getBlockByNumber", &params).await;
    for ((number, hash), found) in blocks.into_iter().zip(found) {
        assert_eq!(found["hash"], json!(hash), "block {number} was seen, and is lost");
    }
}

/// The node's first answers after a kill. A sender's next nonce shows that none of its transactions is gone.
async fn check_after_kill(node: &Node, ledger: &Shared, checked: &mut BTreeSet<B256>) {
    let (new, last_blocks) = {
        let ledger = ledger.lock().expect("not poisoned");
        let new: Vec<B256> =
            ledger.acknowledged.values().filter(|hash| !checked.contains(*hash)).copied().collect();
        let last: Vec<_> =
            ledger.blocks.iter().rev().take(BATCH).map(|(number, hash)| (*number, *hash)).collect();
        (new, last)
    };
    check_blocks(&node.rpc, last_blocks).await;
    check_transactions(&node.rpc, new.iter().copied()).await;
    checked.extend(new);
    for sender in SENDERS {
        let first_unknown = ledger.lock().expect("not poisoned").next_nonces(sender, 1)[0];
        let params = json!([dev_account(sender).address, "pending"]);
        let next = to_u64(&call(&node.rpc, "eth_getTransactionCount", params).await);
        assert!(next >= first_unknown, "sender {sender} is at {next}, {first_unknown} were acknowledged");
    }
}

/// Fills the gap that a sender may have left, acknowledged or not, and waits until nothing is pending.
async fn finish(node: &Node, ledger: &Shared) {
    for sender in SENDERS {
        let nonces = ledger.lock().expect("not poisoned").next_nonces(sender, 2);
        for nonce in nonces {
            send(&node.rpc, ledger, sender, nonce).await.expect("taken");
        }
    }
    until("empty pool", async || {
        let status = call(&node.rpc, "txpool_status", json!([])).await;
        (status == json!({ "pending": "0x0", "queued": "0x0" })).then_some(())
    })
    .await;
}

/// Walks the whole chain: every acknowledged transaction is in it once, every block follows from its parent, and
/// the accounts and the contract show exactly what was mined.
async fn check_chain(node: &Node, ledger: &Ledger) {
    let head = to_u64(&call(&node.rpc, "eth_blockNumber", json!([])).await);
    let params: Vec<_> = (0..=head).map(|number| json!([U256::from(number), true])).collect();
    let blocks = call_all(&node.rpc, "eth_getBlockByNumber", &params).await;
    let mut times_mined: BTreeMap<B256, u32> = BTreeMap::new();
    let mut counted = 0_u64;
    for (number, block) in blocks.iter().enumerate() {
        assert_eq!(to_u64(&block["number"]), number as u64);
        if number > 0 {
            assert_eq!(block["parentHash"], blocks[number - 1]["hash"], "block {number}");
        }
        for transaction in block["transactions"].as_array().expect("transactions") {
            *times_mined.entry(to_hash(&transaction["hash"])).or_default() += 1;
            counted += u64::from(transaction["to"].as_str().is_some_and(is_counter));
        }
    }
    assert!(times_mined.values().all(|times| *times == 1), "a transaction was mined twice");
    for ((sender, nonce), hash) in &ledger.acknowledged {
        assert!(times_mined.contains_key(hash), "sender {sender}, nonce {nonce}: {hash} was not mined");
    }
    check_blocks(&node.rpc, ledger.blocks.clone()).await;
    let slot = quantity(&node.rpc, "eth_getStorageAt", json!([COUNTER_ADDRESS, "0x0", "latest"])).await;
    assert_eq!(slot, U256::from(counted));
    check_receivers(node, &times_mined).await;
}

fn is_counter(address: &str) -> bool {
    address.parse() == Ok(COUNTER_ADDRESS)
}

/// Every receiver of a mined transfer has what it was sent.
async fn check_receivers(node: &Node, mined: &BTreeMap<B256, u32>) {
    for sender in SENDERS {
        let params = json!([dev_account(sender).address, "latest"]);
        let nonces = to_u64(&call(&node.rpc, "eth_getTransactionCount", params).await);
        let sent: Vec<_> = (0..nonces).map(|nonce| planned(sender, nonce)).collect();
        assert!(sent.iter().all(|transaction| mined.contains_key(transaction.tx_hash())));
        let mut transfers = sent;
        transfers.retain(|sent| sent.to() != Some(COUNTER_ADDRESS));
        let params: Vec<_> = transfers.iter().map(|transfer| json!([transfer.to(), "latest"])).collect();
        let balances = call_all(&node.rpc, "eth_getBalance", &params).await;
        for (transfer, balance) in transfers.iter().zip(balances) {
            assert_eq!(crate::fixture::to_quantity(&balance), transfer.value(), "{:?}", transfer.to());
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Starts the node, now and then killing it while it starts.
async fn start(program: &Program, random: &mut StdRng) -> Node {
    while random.random_range(0..KILLED_STARTS) == 0 {
        let mut node = program.spawn_node();
        tokio::time::sleep(Duration::from_millis(random.random_range(START))).await;
        assert_eq!(node.process.exit_status(), None, "the node does not start:\n{}", node.process.log());
        node.process.kill().await;
    }
    program.start_node().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_loses_nothing() {
    let rounds = setting("QUINTET_KILL_ROUNDS").unwrap_or(ROUNDS);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").subsec_nanos();
    let seed = setting("QUINTET_KILL_SEED").unwrap_or_else(|| clock.into());
    println!("QUINTET_KILL_SEED={seed} QUINTET_KILL_ROUNDS={rounds}");
    let mut random = StdRng::seed_from_u64(seed);

    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = quintet_on("dev", directory.path());
    let ledger = Shared::default();
    let mut checked = BTreeSet::new();
    let node = program.start_node().await;
    send_and_wait(&node.rpc, &deploy_counter()).await;
    node.stop().await;
    for _ in 0..rounds {
        let node = start(&program, &mut random).await;
        check_after_kill(&node, &ledger, &mut checked).await;
        live_and_die(node, &ledger, Duration::from_millis(random.random_range(LIFE))).await;
    }

    let node = start(&program, &mut random).await;
    check_after_kill(&node, &ledger, &mut checked).await;
    finish(&node, &ledger).await;
    let ledger = std::mem::take(&mut *ledger.lock().expect("not poisoned"));
    assert!(ledger.acknowledged.len() as u64 > rounds, "there was no load");
    check_chain(&node, &ledger).await;
    println!("{} transactions acknowledged, {} blocks seen", ledger.acknowledged.len(), ledger.blocks.len());
    // Killed once more, so that the state on the disk is not what an orderly end leaves.
    let mut node = node;
    node.process.kill().await;
    verify(directory.path()).await;
}

/// The head's state, from scratch, has the root that the header says.
async fn verify(datadir: &Path) {
    let verified = quintet_on("verify", datadir).run().await;
    assert!(verified.status.success(), "{verified:?}");
    assert!(verified.stdout.contains("verified"), "{verified:?}");
}
