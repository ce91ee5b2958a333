//! Branches: the heaviest valid one has the head, however deep the fork.

use crate::failing::Failing;
use crate::fixture::{Bare, small_batches};
use quintet_chain::{ChainError, Imported};
use quintet_store::Store;
use quintet_testkit::generate::{BlockPlan, ForkTree, Generator, Network, Options, TreeOptions};
use quintet_types::{ExecutedBlock, RecoveredBlock};
use std::sync::Arc;

/// Two branches from genesis; the second is made faster, so that each of its blocks weighs more.
fn branches(length: usize) -> (Generator, Vec<ExecutedBlock>, Vec<ExecutedBlock>) {
    let genesis = Generator::new(Options::small(Network::Ethash));
    let grow = |seed, interval| {
        let mut generator = genesis.branch(seed);
        let plan = BlockPlan { interval, ..BlockPlan::default() };
        (0..length).map(|_| generator.next_block_with(&plan)).collect()
    };
    let (slow, fast) = (grow(1, 60), grow(2, 3));
    (genesis, slow, fast)
}

fn import(node: &Bare, blocks: &[ExecutedBlock]) -> Vec<Imported> {
    blocks.iter().map(|executed| node.import(&executed.block).unwrap()).collect()
}

fn spoiled(executed: &ExecutedBlock) -> Arc<RecoveredBlock> {
    let mut block = RecoveredBlock::clone(&executed.block);
    block.block.header.state_root = block.block.header.receipts_root;
    block.hash = block.block.header.hash_slow();
    Arc::new(block)
}

#[test]
fn trees_end_at_their_heaviest_block_in_any_order() {
    for seed in 0..4 {
        let tree = ForkTree::random(seed, &TreeOptions::small(Network::Ethash));
        let node = Bare::temporary(&tree.spec);
        for block in &tree.blocks {
            node.import(&block.block).unwrap();
        }
        assert_eq!(node.chain.head().block.hash, tree.head().block.hash, "seed {seed}");
        node.assert_whole();
        for block in &tree.blocks {
            let canonical = node.store.canonical_hash(block.block.header().number).unwrap();
            let known = Imported::Known { canonical: canonical == Some(block.block.hash) };
            assert_eq!(node.import(&block.block).unwrap(), known);
        }
    }
}

/// The fork lies below the block whose trie is stored: the trie moves down, and up again.
#[test]
fn a_fork_below_the_stored_trie() {
    let (genesis, slow, fast) = branches(30);
    let node = Bare::temporary(genesis.spec());
    node.import_all(
        &slow.iter().map(|block| block.block.block.clone()).collect::<Vec<_>>(),
        &small_batches(),
    )
    .unwrap();
    assert_eq!(node.store.trie_block().unwrap().unwrap().number, 30);
    let imported = import(&node, &fast);
    assert_eq!(imported.first(), Some(&Imported::Side));
    assert_eq!(imported.last(), Some(&Imported::Head));
    assert_eq!(node.chain.head().block, fast.last().unwrap().block.block_ref());
    node.assert_whole();
    // What left is known still.
    assert_eq!(node.import(&slow[0].block).unwrap(), Imported::Known { canonical: false });
    let again = Bare::on(Arc::clone(&node.store), genesis.spec(), false);
    again.assert_whole();
}

#[test]
fn an_invalid_branch_leaves_the_head_where_it_is() {
    let (genesis, slow, fast) = branches(6);
    let node = Bare::temporary(genesis.spec());
    import(&node, &slow);
    let head = node.chain.head().block;
    // The branch becomes heavier with its last block, and its fifth does not execute to what it says.
    let heavier = (0..6).find(|place| fast[*place].total_difficulty > slow[5].total_difficulty).unwrap();
    assert!(heavier >= 2, "the branch is a side chain at first");
    import(&node, &fast[..heavier]);
    let bad = spoiled(&fast[heavier]);
    for _ in 0..2 {
        let refused = node.import(&bad).unwrap_err().to_string();
        assert!(refused.contains("invalid merkle root"), "{refused}");
        assert_eq!(node.chain.head().block, head);
        assert_eq!(node.store.block_number(&bad.hash).unwrap(), None);
    }
    node.assert_whole();
    let mut child = RecoveredBlock::clone(&fast[heavier].block);
    child.block.header.parent_hash = bad.hash;
    child.block.header.number += 1;
    child.hash = child.block.header.hash_slow();
    let refused = node.import(&Arc::new(child)).unwrap_err().to_string();
    assert!(refused.ends_with("links to previously rejected block"), "{refused}");
    // The right block is another, and takes the head.
    assert_eq!(node.import(&fast[heavier].block).unwrap(), Imported::Head);
    node.assert_whole();
}

#[test]
fn a_body_that_is_not_the_headers_is_not_held_against_the_block() {
    let (genesis, slow, _) = branches(3);
    let node = Bare::temporary(genesis.spec());
    let mut robbed = RecoveredBlock::clone(&slow[0].block);
    robbed.block.body.transactions.pop();
    robbed.senders.pop();
    let refused = node.import(&Arc::new(robbed)).unwrap_err().to_string();
    assert!(refused.contains("transaction root hash mismatch"), "{refused}");
    assert_eq!(node.import(&slow[0].block).unwrap(), Imported::Head);
}

#[test]
fn an_unknown_parent_is_named() {
    let (genesis, slow, _) = branches(3);
    let node = Bare::temporary(genesis.spec());
    let refused = node.import(&slow[2].block).unwrap_err();
    assert!(matches!(refused, ChainError::UnknownAncestor { number: 3, .. }), "{refused}");
    assert_eq!(node.import(&slow[0].block).unwrap(), Imported::Head);
}

#[test]
fn a_rewind_goes_below_the_stored_trie_and_forward_again() {
    let (genesis, slow, _) = branches(20);
    let node = Bare::temporary(genesis.spec());
    let all: Vec<_> = slow.iter().map(|block| block.block.block.clone()).collect();
    node.import_all(&all, &small_batches()).unwrap();
    let head = node.chain.rewind(7).unwrap();
    assert_eq!(head, slow[6].block.block_ref());
    node.assert_whole();
    // Those that it took away are not executed anew until they come again.
    assert_eq!(node.import(&slow[7].block).unwrap(), Imported::Head);
    node.import_all(&all, &small_batches()).unwrap();
    assert_eq!(node.chain.head().block, slow[19].block.block_ref());
    node.assert_whole();
    node.chain.rewind(0).unwrap();
    node.assert_whole();
}

/// A store that fails in the middle of a reorg: the chain stays, and the reorg comes later.
#[test]
fn a_reorg_that_cannot_be_written_happens_later() {
    let (genesis, slow, fast) = branches(10);
    let failing = Failing::over(quintet_store::open_temporary().unwrap());
    let node = Bare::on(Arc::clone(&failing) as Arc<dyn Store>, genesis.spec(), false);
    import(&node, &slow);
    let head = node.chain.head().block;
    let heavier = (0..10).find(|place| fast[*place].total_difficulty > slow[9].total_difficulty).unwrap();
    import(&node, &fast[..heavier]);
    failing.allow(0);
    let error = node.import(&fast[heavier].block).unwrap_err();
    assert!(matches!(error, ChainError::Store(_)), "{error}");
    assert_eq!((node.chain.head().block, node.store.head().unwrap()), (head, Some(head)));
    failing.allow(i64::MAX);
    assert_eq!(node.import(&fast[heavier].block).unwrap(), Imported::Head);
    node.assert_whole();
}
