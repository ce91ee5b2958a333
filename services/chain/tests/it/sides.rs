//! Blocks beside the canonical chain: executed when they come, each once, wherever the fork is near.

use crate::fixture::{Bare, small_batches};
use alloy_primitives::{B256, keccak256};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use quintet_chain::Imported;
use quintet_chainspec::ChainConfig;
use quintet_clique::Clique;
use quintet_testkit::accounts::TestAccount;
use quintet_testkit::generate::{BlockPlan, ForkTree, Generator, Network, Options, TreeOptions};
use quintet_types::{Block, ExecutedBlock, Header, RecoveredBlock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the blocks that are executed beside the canonical chain.
#[derive(Default)]
struct Executions(Arc<AtomicU64>);

impl Executions {
    /// How many blocks `work` executes on this thread.
    fn of<T>(work: impl FnOnce() -> T) -> (u64, T) {
        let counted = Self::default();
        let result = metrics::with_local_recorder(&counted, work);
        (counted.0.load(Ordering::Relaxed), result)
    }
}

impl Recorder for Executions {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == "quintet_chain_side_executions_total" {
            return Counter::from_arc(Arc::clone(&self.0));
        }
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Receipts have the state roots in the middle of their blocks there.
fn before_byzantium() -> Options {
    let options = Options::small(Network::Ethash);
    let config = ChainConfig {
        byzantium_block: None,
        constantinople_block: None,
        petersburg_block: None,
        ..options.config.clone()
    };
    Options { config, ..options }
}

fn grow(start: &Generator, seed: u64, length: usize, plan: &BlockPlan) -> Vec<ExecutedBlock> {
    let mut generator = start.branch(seed);
    (0..length).map(|_| generator.next_block_with(plan)).collect()
}

fn every(interval: u64) -> BlockPlan {
    BlockPlan { interval, ..BlockPlan::default() }
}

fn import(node: &Bare, blocks: &[ExecutedBlock]) -> Vec<Imported> {
    blocks.iter().map(|executed| node.import(&executed.block).unwrap()).collect()
}

/// The block with another header; under proof of authority its signer signs that.
fn with_header(
    block: &RecoveredBlock,
    clique: bool,
    change: impl FnOnce(&mut Header),
) -> Arc<RecoveredBlock> {
    let mut changed = block.clone();
    let header = &mut changed.block.header;
    change(header);
    if clique {
        let engine = Clique::new(1, 30_000);
        let signer = engine.recover_signer(&block.block.header).unwrap();
        let keys = (0..3).map(|index| TestAccount::from_secret(keccak256(format!("signer {index}"))));
        let key = keys.into_iter().find(|key| key.address == signer).unwrap();
        let sign = |hash| {
            let signature = key.sign_hash(hash);
            let mut seal = [u8::from(signature.v()); 65];
            seal[..64].copy_from_slice(&signature.as_bytes()[..64]);
            seal
        };
        engine.seal(header, sign).unwrap();
    }
    changed.hash = changed.block.header.hash_slow();
    Arc::new(changed)
}

type Spoil = fn(&mut Header);

/// Headers that nothing but execution tells from right ones, and what is said of them.
const SPOILS: [(Spoil, &str); 4] = [
    (|header| header.state_root = B256::repeat_byte(1), "invalid merkle root"),
    (|header| header.receipts_root = B256::repeat_byte(1), "invalid receipt root hash"),
    (|header| header.gas_used += 1, "invalid gas used"),
    (|header| header.logs_bloom.0[7] ^= 1, "invalid bloom"),
];

#[test]
fn what_only_execution_finds_is_refused_at_once() {
    let options = [Options::small(Network::Ethash), before_byzantium(), Options::small(Network::Clique)];
    for options in options {
        let clique = options.config.clique.is_some();
        let start = Generator::new(options);
        let node = Bare::temporary(start.spec());
        import(&node, &grow(&start, 1, 12, &BlockPlan::default()));
        let head = node.chain.head().block;
        for executed in grow(&start, 2, 5, &BlockPlan::default()) {
            for (spoil, rule) in SPOILS {
                let bad = with_header(&executed.block, clique, spoil);
                let (executions, refused) = Executions::of(|| node.import(&bad).unwrap_err().to_string());
                assert!(refused.contains(rule) && refused.contains(&bad.hash.to_string()), "{refused}");
                assert_eq!(executions, 1);
                assert_eq!(node.store.block_number(&bad.hash).unwrap(), None, "{rule}: is not held");
                let (executions, again) = Executions::of(|| node.import(&bad).unwrap_err().to_string());
                assert_eq!((executions, again), (0, refused));
                let child = with_header(&executed.block, clique, |header| {
                    header.parent_hash = bad.hash;
                    header.number += 1;
                });
                let refused = node.import(&child).unwrap_err().to_string();
                assert!(refused.ends_with("links to previously rejected block"), "{refused}");
            }
            assert_eq!(Executions::of(|| node.import(&executed.block).unwrap()), (1, Imported::Side));
        }
        assert_eq!(node.chain.head().block, head);
        node.assert_whole();
    }
}

#[test]
fn a_bad_block_on_the_side_ends_a_bulk_import() {
    let start = Generator::new(Options::small(Network::Ethash));
    let node = Bare::temporary(start.spec());
    let branch = grow(&start, 2, 3, &BlockPlan::default());
    let bad = with_header(&branch[2].block, false, SPOILS[0].0);
    let mut blocks: Vec<Block> = grow(&start, 1, 12, &BlockPlan::default())
        .iter()
        .chain(&branch[..2])
        .map(|executed| executed.block.block.clone())
        .collect();
    blocks.push(bad.block.clone());
    let head = blocks[11].header.hash_slow();
    let refused = node.import_all(&blocks, &small_batches()).unwrap_err().to_string();
    assert!(refused.contains(SPOILS[0].1) && refused.contains(&bad.hash.to_string()), "{refused}");
    assert_eq!(node.chain.head().block.hash, head);
    assert_eq!(node.store.block_number(&branch[1].block.hash).unwrap(), Some(2));
    assert_eq!(node.store.block_number(&bad.hash).unwrap(), None);
    node.assert_whole();
}

/// Twenty blocks come between others of the canonical chain, and take the head in the end.
#[test]
fn each_block_of_a_branch_is_executed_once() {
    for options in [Options::small(Network::Ethash), before_byzantium()] {
        let start = Generator::new(options);
        let node = Bare::temporary(start.spec());
        let (canonical, branch) = (grow(&start, 1, 30, &every(60)), grow(&start, 2, 34, &every(3)));
        let (first, mut later) = canonical.split_at(22);
        import(&node, first);
        let (aside, winning) = branch.split_at(20);
        let (executions, ()) = Executions::of(|| {
            for (place, executed) in aside.iter().enumerate() {
                assert_eq!(node.import(&executed.block).unwrap(), Imported::Side);
                if let (0, Some((next, rest))) = (place % 3, later.split_first()) {
                    assert_eq!(node.import(&next.block).unwrap(), Imported::Head);
                    later = rest;
                }
            }
        });
        assert_eq!(executions, 20);
        node.assert_whole();
        // Nothing is left of it after a restart, so it is all done again, once.
        let again = Bare::on(Arc::clone(&node.store), start.spec(), false);
        let (next, winning) = winning.split_first().unwrap();
        let (executions, imported) = Executions::of(|| again.import(&next.block).unwrap());
        assert_eq!((executions, imported), (21, Imported::Side));
        assert_eq!(import(&again, winning).last(), Some(&Imported::Head));
        assert_eq!(again.chain.head().block, branch.last().unwrap().block.block_ref());
        again.assert_whole();
        for executed in &branch {
            let hash = executed.block.hash;
            assert_eq!(again.store.receipts(&hash).unwrap().as_ref(), Some(executed.receipts.as_ref()));
            assert_eq!(again.store.diff(executed.block.header().number).unwrap(), *executed.diff);
        }
    }
}

/// A light branch of 130 blocks, and one of 50 that becomes heavier with few blocks.
fn long_and_heavy() -> (Bare, Vec<ExecutedBlock>, Vec<ExecutedBlock>) {
    let start = Generator::new(Options::small(Network::Ethash));
    let few = |interval| BlockPlan { interval, transactions: Some(1), ..BlockPlan::default() };
    let (long, heavy) = (grow(&start, 1, 130, &few(900)), grow(&start, 2, 50, &few(3)));
    (Bare::temporary(start.spec()), long, heavy)
}

#[test]
fn a_deep_branch_is_executed_when_it_wins() {
    let (node, long, heavy) = long_and_heavy();
    import(&node, &long[..128]);
    assert_eq!(Executions::of(|| node.import(&heavy[0].block).unwrap()), (1, Imported::Side));
    import(&node, &long[128..]);
    let most = node.chain.head().total_difficulty;
    let aside = heavy.iter().take_while(|executed| executed.total_difficulty <= most).count();
    let (executions, imported) = Executions::of(|| import(&node, &heavy[1..]));
    let (beside, winning) = imported.split_at(aside - 1);
    assert!(beside.len() > 10 && beside.iter().all(|imported| *imported == Imported::Side));
    assert!(winning.len() > 10 && winning.iter().all(|imported| *imported == Imported::Head));
    assert_eq!(executions, 0);
    node.assert_whole();
}

#[test]
fn a_long_branch_is_executed_up_to_the_bound() {
    let (node, long, heavy) = long_and_heavy();
    import(&node, &heavy);
    let (executions, imported) = Executions::of(|| import(&node, &long));
    assert!(imported.iter().all(|imported| *imported == Imported::Side));
    assert_eq!(executions, 128);
    node.assert_whole();
}

#[test]
fn a_bad_block_inside_a_deep_branch_is_remembered() {
    let (node, long, branch) = long_and_heavy();
    import(&node, &long);
    let head = node.chain.head().block;
    let bad = with_header(&branch[0].block, false, SPOILS[0].0);
    assert_eq!(node.import(&bad).unwrap(), Imported::Side);
    let mut parent = bad.hash;
    let refused = branch[1..].iter().find_map(|executed| {
        let block = with_header(&executed.block, false, |header| header.parent_hash = parent);
        parent = block.hash;
        node.import(&block).err()
    });
    let refused = refused.expect("the branch becomes the heaviest and is executed").to_string();
    assert!(refused.contains(SPOILS[0].1) && refused.contains(&bad.hash.to_string()), "{refused}");
    assert_eq!(node.chain.head().block, head);
    let again = node.import(&bad).unwrap_err().to_string();
    assert!(again.contains(SPOILS[0].1), "{again}");
    node.assert_whole();
}

/// Branches on branches, and blocks on what was canonical once: all are executed, and none is refused.
#[test]
fn valid_blocks_are_kept_wherever_they_fork() {
    let clique = Options::small(Network::Clique);
    for (seed, chain) in
        [before_byzantium(), clique.clone(), Options::small(Network::Ethash), clique].into_iter().enumerate()
    {
        let tree = ForkTree::random(seed as u64, &TreeOptions { blocks: 40, chain });
        let node = Bare::temporary(&tree.spec);
        let (executions, aside) = Executions::of(|| {
            let import = |block: &&_| node.import(block).unwrap() == Imported::Side;
            let blocks = tree.blocks.iter().map(|block| &block.block);
            blocks.filter(import).count() as u64
        });
        assert!(aside > 0 && executions >= aside, "{executions} executions for {aside} blocks");
        assert_eq!(node.chain.head().block.hash, tree.head().block.hash);
        node.assert_whole();
    }
}
