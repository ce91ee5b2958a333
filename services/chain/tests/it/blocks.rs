//! Building, importing, reorganising.

use crate::fixture::{Node, transfer};
use alloy_primitives::{Address, U256};
use quintet_chain_api::ChainError;
use quintet_testkit::accounts::dev_account;

fn balance(node: &Node, address: Address) -> U256 {
    let head = node.store.head().unwrap().unwrap();
    node.store.account_at(&address, head.number).unwrap().map_or(U256::ZERO, |account| account.balance)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_built_sealed_and_committed() {
    let node = Node::temporary();
    assert_eq!(node.build(1).await, None, "nothing to include");
    node.send(&transfer(0, 0, 7)).await;
    node.send(&transfer(0, 1, 8)).await;
    let submitted = node.seal(1).await;
    assert!(submitted.canonical);
    assert_eq!(submitted.block.number, 1);
    assert_eq!(node.store.head().unwrap(), Some(submitted.block));
    assert_eq!(balance(&node, Address::with_last_byte(0x42)), U256::from(15));
    let receipts = node.store.receipts(&submitted.block.hash).unwrap().unwrap();
    assert!(receipts.len() == 2 && receipts.iter().all(quintet_types::Receipt::is_success));
    assert_eq!(node.client.pool_status().await.unwrap().pending, 0);
    assert_eq!(node.client.pool_nonce(dev_account(0).address).await.unwrap(), 2);
    let head = node.client.head().await.unwrap();
    assert_eq!((head.head, head.safe), (submitted.block, Some(submitted.block)));
}

/// What one node built, another must accept by executing it, with the same roots.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_node_accepts_built_blocks_and_refuses_forged_ones() {
    let (builder, verifier) = (Node::temporary(), Node::temporary());
    for number in 1..=5_u64 {
        builder.send(&transfer(0, number - 1, number)).await;
        let work = builder.build(number * 10).await.unwrap();
        let mut forged = work.block.clone();
        forged.header.state_root = forged.header.receipts_root;
        let refused = verifier.client.submit_block(&forged, 0).await.unwrap_err();
        assert!(refused.to_string().contains("invalid merkle root"), "{refused}");
        forged = work.block.clone();
        forged.header.gas_used += 1;
        let refused = verifier.client.submit_block(&forged, 0).await.unwrap_err();
        assert!(refused.to_string().contains("invalid gas used"), "{refused}");
        builder.client.submit_block(&work.block, 0).await.unwrap();
        verifier.client.submit_block(&work.block, 0).await.unwrap();
    }
    assert_eq!(builder.store.head().unwrap(), verifier.store.head().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longer_branch_becomes_canonical_and_transactions_return() {
    let (ours, theirs) = (Node::temporary(), Node::temporary());
    let dropped = transfer(1, 0, 100);
    ours.send(&dropped).await;
    let old = ours.seal(5).await.block;
    let mut branch = Vec::new();
    for timestamp in 6..9 {
        let work = theirs.build_empty(timestamp).await;
        theirs.client.submit_block(&work.block, 0).await.unwrap();
        branch.push(work.block);
    }
    let first = ours.client.submit_block(&branch[0], 0).await.unwrap();
    assert!(!first.canonical, "as long as the head, and later");
    let second = ours.client.submit_block(&branch[1], 0).await.unwrap();
    assert!(second.canonical);
    ours.client.submit_block(&branch[2], 0).await.unwrap();
    assert_eq!(ours.store.head().unwrap(), theirs.store.head().unwrap());
    assert_ne!(ours.store.canonical_hash(1).unwrap(), Some(old.hash));
    assert_eq!(balance(&ours, Address::with_last_byte(0x42)), U256::ZERO);
    assert!(ours.client.pool_transaction(*dropped.tx_hash()).await.unwrap().unwrap().pending);
    let again = ours.seal(20).await;
    assert!(again.canonical);
    assert_eq!(balance(&ours, Address::with_last_byte(0x42)), U256::from(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewound_chain_grows_again() {
    let node = Node::temporary();
    for number in 1..=4_u64 {
        node.send(&transfer(0, number - 1, 1)).await;
        node.seal(number).await;
    }
    let head = node.chain.rewind(2).unwrap();
    assert_eq!(node.store.head().unwrap(), Some(head));
    assert_eq!(balance(&node, Address::with_last_byte(0x42)), U256::from(2));
    assert_eq!(node.client.pool_status().await.unwrap().pending, 2);
    node.seal(30).await;
    assert_eq!(balance(&node, Address::with_last_byte(0x42)), U256::from(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_parents_and_old_leases_are_refused() {
    let node = Node::temporary();
    let mut work = node.build_empty(1).await;
    let lease = node.client.submit_block(&work.block, 7).await.unwrap();
    assert!(lease.canonical);
    let next = node.build_empty(2).await;
    let lost = node.client.submit_block(&next.block, 6).await.unwrap_err();
    assert!(lost.to_string().contains("lease is lost"), "{lost}");
    work.block.header.parent_hash = work.block.header.state_root;
    let orphan = node.client.submit_block(&work.block, 7).await.unwrap_err();
    assert!(
        matches!(&orphan, ChainError::Rejected(text) if text.starts_with("unknown ancestor")),
        "{orphan}"
    );
}

/// The trie is derived data: a node that dies without flushing it computes it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_brings_the_trie_up_to_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let open = || quintet_store::open(folder.path(), &quintet_store::Options::default()).unwrap();
    let node = Node::on(open(), None);
    for number in 1..=3_u64 {
        node.send(&transfer(0, number - 1, number)).await;
        node.seal(number).await;
    }
    assert_eq!(node.store.trie_block().unwrap().unwrap().number, 0, "nothing was flushed yet");
    drop(node);
    let node = Node::on(open(), None);
    node.send(&transfer(0, 3, 1)).await;
    assert_eq!(node.seal(9).await.block.number, 4);
    node.chain.close().unwrap();
    assert_eq!(node.store.trie_block().unwrap().unwrap().number, 4);
}

/// A header that was built here vouches for no body but its own, whether it is the next block or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_built_header_with_another_body_is_not_stored() {
    let node = Node::temporary();
    node.send(&transfer(0, 0, 7)).await;
    let mut late = node.build(1).await.unwrap();
    let sealed = node.build_empty(2).await;
    node.client.submit_block(&sealed.block, 0).await.unwrap();
    late.block.body.transactions.clear();
    let refused = node.client.submit_block(&late.block, 0).await.unwrap_err();
    assert!(refused.to_string().contains("transaction root hash mismatch"), "{refused}");
    assert_eq!(node.store.block(&late.block.header.hash_slow()).unwrap(), None);
}
