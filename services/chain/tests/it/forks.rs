//! Random forks in random orders: the head, its state and all of history come out the same.

use crate::fixture::{Bare, root_from_scratch, small_batches};
use proptest::prelude::*;
use quintet_chain::Imported;
use quintet_testkit::generate::{ForkTree, Network, TreeOptions};
use quintet_types::{Block, StateReader};

/// How a run of blocks is brought in.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Each by itself, as at the head.
    Single,
    /// By the pipeline, as from a file.
    Bulk,
}

fn trees() -> impl Strategy<Value = ForkTree> {
    (any::<u64>(), prop_oneof![Just(Network::Ethash), Just(Network::Clique)]).prop_map(|(seed, network)| {
        let mut options = TreeOptions::small(network);
        options.blocks = 24;
        ForkTree::random(seed, &options)
    })
}

/// Runs of blocks, together all of them, no block before its parent.
fn runs(tree: &ForkTree, order: u64, ways: &[(Way, usize)]) -> Vec<(Way, Vec<usize>)> {
    let mut places = tree.order(order).into_iter().peekable();
    let mut ways = ways.iter().cycle();
    let mut runs = Vec::new();
    while places.peek().is_some() {
        let (way, length) = ways.next().copied().unwrap_or((Way::Single, 1));
        runs.push((way, places.by_ref().take(length).collect()));
    }
    runs
}

fn bring(node: &Bare, tree: &ForkTree, runs: &[(Way, Vec<usize>)]) {
    for (way, places) in runs {
        match way {
            Way::Single => {
                for place in places {
                    node.import(&tree.blocks[*place].block).unwrap();
                }
            }
            Way::Bulk => {
                let block = |place: &usize| tree.blocks[*place].block.block.clone();
                let blocks: Vec<Block> = places.iter().map(block).collect();
                node.import_all(&blocks, &small_batches()).unwrap();
            }
        }
    }
}

/// That the store tells the history of the tree's heaviest branch, and only that.
fn assert_history(node: &Bare, tree: &ForkTree) {
    assert_eq!(node.store.head().unwrap(), Some(tree.head().block.block_ref()));
    assert_eq!(node.chain.head().total_difficulty, tree.head().total_difficulty);
    for block in tree.canonical() {
        let header = block.block.header();
        let number = header.number;
        assert_eq!(node.store.canonical_hash(number).unwrap(), Some(block.block.hash));
        assert_eq!(node.store.receipts(&block.block.hash).unwrap().as_ref(), Some(block.receipts.as_ref()));
        assert_eq!(node.store.diff(number).unwrap(), *block.diff, "diff of block {number}");
        assert_eq!(root_from_scratch(node.store.as_ref(), number), header.state_root, "state {number}");
        let state = node.store.state_at(number).unwrap();
        for (address, change) in &block.diff.accounts {
            assert_eq!(state.account(address).unwrap(), change.after, "account {address} at {number}");
        }
    }
    for block in &tree.blocks {
        let known = node.import(&block.block).unwrap();
        let canonical = node.store.canonical_hash(block.block.header().number).unwrap();
        assert_eq!(known, Imported::Known { canonical: canonical == Some(block.block.hash) });
    }
}

/// A few cases; as many as `PROPTEST_CASES` says, where it is set.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(12), max_shrink_iters: 20, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_order_gives_one_history(
        tree in trees(),
        order in any::<u64>(),
        ways in prop::collection::vec((prop_oneof![Just(Way::Single), Just(Way::Bulk)], 1..9_usize), 1..6),
        restart in any::<bool>(),
    ) {
        let runs = runs(&tree, order, &ways);
        let node = Bare::temporary(&tree.spec);
        let (first, second) = runs.split_at(runs.len() / 2);
        bring(&node, &tree, first);
        let node = if restart { Bare::on(node.store.clone(), &tree.spec, false) } else { node };
        bring(&node, &tree, second);
        assert_history(&node, &tree);
        node.assert_whole();
    }
}
