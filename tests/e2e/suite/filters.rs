//! Filters: an id from one replica works on every other, and each change is given once.

use super::wallet::{clients, next_nonce};
use crate::fixture::{call, send_and_wait, to_hash, try_send, until};
use crate::load::{Plan, deploy_tally};
use quintet_testkit::accounts::dev_account;
use quintet_testkit::rpc::HttpClient;
use serde_json::{Value, json};

/// The changes until `count` have come, asked of one replica after another.
async fn changes(
    rpcs: &[HttpClient],
    filter: &Value,
    count: usize,
    mine: impl Fn(&Value) -> bool,
) -> Vec<Value> {
    let mut found = Vec::new();
    let mut turn = 0;
    until("change", async || {
        turn += 1;
        let new = call(&rpcs[turn % rpcs.len()], "eth_getFilterChanges", json!([filter])).await;
        found.extend(new.as_array().expect("a list").iter().filter(|change| mine(change)).cloned());
        (found.len() >= count).then_some(())
    })
    .await;
    for rpc in rpcs {
        let again = call(rpc, "eth_getFilterChanges", json!([filter])).await;
        assert!(!again.as_array().expect("a list").iter().any(&mine), "given twice: {again}");
    }
    found
}

pub(super) async fn a_filter_of_one_replica_works_on_all(urls: &[String]) {
    let (account, rpcs) = (dev_account(5), clients(urls));
    let last = rpcs.last().expect("a replica");
    let tally = deploy_tally(&rpcs[0], account).await;
    let logs = call(&rpcs[0], "eth_newFilter", json!([{ "address": tally, "fromBlock": "0x0" }])).await;
    let blocks = call(&rpcs[0], "eth_newBlockFilter", json!([])).await;
    let pending = call(&rpcs[0], "eth_newPendingTransactionFilter", json!([])).await;

    let nonce = next_nonce(&rpcs[0], account).await;
    let mut receipts = Vec::new();
    let mut hashes = Vec::new();
    for nonce in nonce..nonce + 3 {
        let call = Plan::tally(account, nonce, tally);
        hashes.push(json!(call.tx_hash()));
        receipts.push(send_and_wait(last, &call).await);
    }
    let got = changes(&rpcs, &logs, receipts.len(), |_| true).await;
    let expected: Vec<_> = receipts.iter().map(|receipt| receipt["logs"][0].clone()).collect();
    assert_eq!(got, expected);
    let all = call(last, "eth_getFilterLogs", json!([logs])).await;
    assert_eq!(all, json!(expected));

    let in_blocks: Vec<_> = receipts.iter().map(|receipt| receipt["blockHash"].clone()).collect();
    let mut distinct = in_blocks.clone();
    distinct.dedup();
    let got = changes(&rpcs, &blocks, distinct.len(), |hash| in_blocks.contains(hash)).await;
    assert_eq!(got, distinct);
    let got = changes(&rpcs, &pending, hashes.len(), |hash| hashes.contains(hash)).await;
    assert_eq!(got, hashes);

    for filter in [&logs, &blocks, &pending] {
        assert_eq!(call(last, "eth_uninstallFilter", json!([filter])).await, json!(true));
        for rpc in &rpcs {
            let gone = rpc.call("eth_getFilterChanges", json!([filter])).await.expect_err("gone").rpc();
            assert_eq!(gone.message, "filter not found");
            assert_eq!(call(rpc, "eth_uninstallFilter", json!([filter])).await, json!(false));
        }
    }
    let sent = try_send(&rpcs[0], &Plan::tally(account, nonce + 3, tally)).await.expect("taken");
    let receipt = until("receipt", async || {
        let receipt = call(last, "eth_getTransactionReceipt", json!([sent])).await;
        (!receipt.is_null()).then_some(receipt)
    });
    assert_eq!(to_hash(&receipt.await["transactionHash"]), sent);
}
