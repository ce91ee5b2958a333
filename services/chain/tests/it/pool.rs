//! The pool through the service: refusals in geth's words, and the durable journal.

use crate::fixture::{Node, transfer};
use alloy_consensus::{TxEip4844, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use quintet_chain_api::{ChainError, PendingAnswer};
use quintet_testkit::accounts::dev_account;
use std::io::Write;
use std::sync::Arc;

async fn refusal(node: &Node, raw: Vec<u8>) -> String {
    match node.client.send_transaction(Bytes::from(raw), true, false).await {
        Err(ChainError::Rejected(text)) => text,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_speak_as_geth_does() {
    let node = Node::temporary();
    node.send(&transfer(0, 0, 1)).await;
    assert_eq!(refusal(&node, transfer(0, 0, 1).encoded_2718()).await, "already known");
    assert_eq!(refusal(&node, transfer(0, 0, 2).encoded_2718()).await, "replacement transaction underpriced");
    let poor = refusal(&node, transfer(1, 0, u64::MAX).encoded_2718()).await;
    assert!(poor.starts_with("insufficient funds for gas * price + value: balance "), "{poor}");
    node.seal(1).await;
    assert_eq!(
        refusal(&node, transfer(0, 0, 3).encoded_2718()).await,
        "nonce too low: next nonce 1, tx nonce 0"
    );
    assert_eq!(refusal(&node, vec![0x02, 0xc0]).await, "rlp: too few elements for types.DynamicFeeTx");
    let legacy = TxLegacy {
        gas_price: 2_000_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(Address::ZERO),
        value: U256::from(1),
        ..TxLegacy::default()
    };
    let unprotected: alloy_consensus::TxEnvelope = dev_account(2).sign(legacy).into();
    assert_eq!(
        refusal(&node, unprotected.encoded_2718()).await,
        "only replay-protected (EIP-155) transactions allowed over RPC"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_transactions_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("transactions.journal");
    let node = Node::on(quintet_store::open_temporary().unwrap(), Some(&journal));
    node.send(&transfer(0, 0, 1)).await;
    node.send(&transfer(1, 5, 1)).await;
    drop(node);
    // A write that a crash cut short.
    std::fs::OpenOptions::new().append(true).open(&journal).unwrap().write_all(&[9, 9, 9]).unwrap();
    let node = Node::on(quintet_store::open_temporary().unwrap(), Some(&journal));
    let status = node.client.pool_status().await.unwrap();
    assert_eq!((status.pending, status.queued), (1, 1));
    let content = node.client.pool_content(Some(dev_account(1).address)).await.unwrap();
    assert_eq!(content.len(), 1);
    assert!(!content[0].pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pending_block_holds_what_waits() {
    let node = Node::temporary();
    node.send(&transfer(0, 0, 5)).await;
    let PendingAnswer::Block { executed: pending, version } = node.client.pending_block(None).await.unwrap()
    else {
        panic!("nothing was known");
    };
    assert_eq!(pending.block.header().number, 1);
    assert_eq!(pending.block.senders, [dev_account(0).address]);
    let change = &pending.diff.accounts[&Address::with_last_byte(0x42)];
    assert_eq!(change.after.unwrap().balance, U256::from(5));
    let again = node.client.pending_block(None).await.unwrap();
    assert!(
        matches!(again, PendingAnswer::Block { executed, .. } if executed.block.hash == pending.block.hash)
    );

    // Who holds it is told so, until the pool's executable transactions or the head change.
    let known = |version| node.client.pending_block(Some(version));
    assert!(matches!(known(version).await.unwrap(), PendingAnswer::Unchanged));
    node.send(&transfer(1, 7, 5)).await;
    assert!(matches!(known(version).await.unwrap(), PendingAnswer::Unchanged), "it is queued only");
    node.send(&transfer(1, 0, 5)).await;
    let PendingAnswer::Block { executed, version: second } = known(version).await.unwrap() else {
        panic!("the pool changed");
    };
    assert_eq!((executed.block.senders.len(), second.parent), (2, version.parent));
    node.client.set_pool_minimum_tip(u128::MAX).await.unwrap();
    assert!(matches!(known(second).await.unwrap(), PendingAnswer::Unchanged), "both are local");
    let head = node.seal(1).await.block;
    let PendingAnswer::Block { executed, version: third } = known(second).await.unwrap() else {
        panic!("the head changed");
    };
    assert_eq!((executed.block.header().number, third.parent), (2, head.hash));
    assert!(matches!(known(third).await.unwrap(), PendingAnswer::Unchanged));
}

/// The count of a pool's changes begins anew with a process; what a gateway held before must not pass for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pending_version_does_not_outlive_the_process() {
    let store = quintet_store::open_temporary().unwrap();
    let node = Node::on(Arc::clone(&store), None);
    node.send(&transfer(0, 0, 5)).await;
    let PendingAnswer::Block { version, .. } = node.client.pending_block(None).await.unwrap() else {
        panic!("nothing was known");
    };
    drop(node);
    let node = Node::on(store, None);
    node.send(&transfer(0, 0, 6)).await;
    let answer = node.client.pending_block(Some(version)).await.unwrap();
    let PendingAnswer::Block { executed, .. } = answer else { panic!("it is another block") };
    let change = &executed.diff.accounts[&Address::with_last_byte(0x42)];
    assert_eq!(change.after.unwrap().balance, U256::from(6));
}

/// Wallets that know EIP-4844 only are served, as geth serves them: the proofs of Osaka are computed for them.
#[tokio::test(flavor = "multi_thread")]
async fn old_blob_proofs_of_users_are_converted() {
    let node = Node::temporary();
    let transaction = TxEip4844 {
        chain_id: 1337,
        gas_limit: 21_000,
        max_fee_per_gas: 3_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        max_fee_per_blob_gas: 1_000_000_000,
        ..TxEip4844::default()
    };
    let old = dev_account(0).sign_blobs(transaction.clone(), &[b"a blob"], false);
    node.send(&old).await;
    let pooled = node.client.pool_transaction(*old.tx_hash()).await.unwrap().unwrap();
    let sidecar = pooled.transaction.as_eip4844().unwrap().tx().sidecar().unwrap().clone();
    assert!(sidecar.is_eip7594());
    let block = node.seal(1).await.block;
    let header = node.store.header(&block.hash).unwrap().unwrap();
    assert_eq!(header.blob_gas_used, Some(131_072));
    let raw = Bytes::from(dev_account(1).sign_blobs(transaction, &[b"x"], false).encoded_2718());
    let peer = node.client.send_transaction(raw, false, false).await.unwrap_err();
    assert!(peer.to_string().contains("unexpected sidecar version"), "{peer}");
}
