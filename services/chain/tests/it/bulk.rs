//! Many blocks at once: the same as one by one, whatever ends it.

use crate::failing::Failing;
use crate::fixture::{Bare, small_batches};
use quintet_chain::{BulkOptions, ChainError, ImportError, Progress};
use quintet_events::{Event, EventBus, Topics};
use quintet_store::Store;
use quintet_testkit::generate::{Generator, Network, Options};
use quintet_testkit::postgres::Postgres;
use quintet_types::{Block, ChainEvent, ExecutedBlock};
use std::sync::Arc;
use std::sync::Mutex;

fn generated(network: Network, count: usize) -> (Generator, Vec<ExecutedBlock>) {
    let mut generator = Generator::new(Options::small(network));
    let blocks = (0..count).map(|_| generator.next_block()).collect();
    (generator, blocks)
}

fn plain(blocks: &[ExecutedBlock]) -> Vec<Block> {
    blocks.iter().map(|executed| executed.block.block.clone()).collect()
}

/// That two stores hold the same chain, to the last receipt and version.
fn assert_same(left: &Bare, right: &Bare) {
    let head = left.store.head().unwrap().unwrap();
    assert_eq!(right.store.head().unwrap(), Some(head));
    for number in 0..=head.number {
        let hash = left.store.canonical_hash(number).unwrap().unwrap();
        assert_eq!(right.store.canonical_hash(number).unwrap(), Some(hash));
        assert_eq!(left.store.block(&hash).unwrap(), right.store.block(&hash).unwrap());
        assert_eq!(left.store.receipts(&hash).unwrap(), right.store.receipts(&hash).unwrap());
        assert_eq!(left.store.total_difficulty(&hash).unwrap(), right.store.total_difficulty(&hash).unwrap());
        assert_eq!(left.store.diff(number).unwrap(), right.store.diff(number).unwrap(), "block {number}");
    }
}

#[test]
fn a_chain_in_bulk_is_what_it_is_block_by_block() {
    for network in [Network::Ethash, Network::Beacon] {
        let (generator, blocks) = generated(network, 40);
        let single = Bare::temporary(generator.spec());
        for executed in &blocks {
            single.import(&executed.block).unwrap();
        }
        for options in [small_batches(), BulkOptions::default()] {
            let bulk = Bare::temporary(generator.spec());
            let summary = bulk.import_all(&plain(&blocks), &options).unwrap();
            assert_eq!((summary.blocks, summary.skipped, summary.head), (40, 0, generator.head()));
            let gas: u64 = blocks.iter().map(|executed| executed.block.header().gas_used).sum();
            assert_eq!(summary.gas, gas);
            assert_same(&single, &bulk);
            bulk.assert_whole();
            assert_eq!(bulk.store.trie_block().unwrap(), Some(generator.head()), "all is flushed");
        }
    }
}

#[test]
fn progress_is_told_batch_by_batch() {
    let (generator, blocks) = generated(Network::Ethash, 11);
    let node = Bare::temporary(generator.spec());
    let told = Mutex::new(Vec::new());
    let tell = |progress: &Progress| {
        assert_eq!(node.store.head().unwrap(), Some(progress.head));
        told.lock().unwrap().push(progress.blocks);
    };
    let blocks = plain(&blocks).into_iter().map(Ok::<_, ChainError>);
    node.chain.import_chain(blocks, &small_batches(), &tell).unwrap();
    assert_eq!(*told.lock().unwrap(), [4, 8, 11]);
}

/// A bad block in the middle of a batch: what came before is there, and the error names the block.
#[test]
fn a_bad_block_stops_the_import_behind_its_parent() {
    type Spoil = fn(&mut Block);
    let spoils: [(Spoil, &str); 5] = [
        (|block| block.header.state_root = block.header.receipts_root, "invalid merkle root"),
        (|block| block.header.gas_used += 1, "invalid gas used"),
        (|block| block.header.gas_limit *= 2, "invalid gas limit"),
        (|block| block.header.difficulty += alloy_primitives::U256::from(1), "invalid difficulty"),
        (|block| drop(block.body.transactions.pop()), "transaction root hash mismatch"),
    ];
    let (generator, blocks) = generated(Network::Ethash, 12);
    for (spoil, reason) in spoils {
        let node = Bare::temporary(generator.spec());
        let mut all = plain(&blocks);
        let place = (5..10).find(|place| all[*place].body.transactions.len() > 1).unwrap();
        spoil(&mut all[place]);
        let error = node.import_all(&all, &small_batches()).unwrap_err();
        let ImportError::Chain(ChainError::InvalidBlock { number, hash, reason: told }) = error else {
            panic!("{error}")
        };
        assert_eq!((number, hash), (place as u64 + 1, all[place].header.hash_slow()));
        assert!(told.contains(reason), "{told}");
        assert_eq!(node.chain.head().block, blocks[place - 1].block.block_ref());
        node.assert_whole();
        // The right blocks go on from there, in the same process.
        let summary = node.import_all(&plain(&blocks), &small_batches()).unwrap();
        assert_eq!((summary.skipped, summary.head), (place as u64, generator.head()));
        node.assert_whole();
    }
}

#[test]
fn canonical_blocks_are_skipped_and_genesis_must_be_ours() {
    let (generator, blocks) = generated(Network::Ethash, 10);
    let node = Bare::temporary(generator.spec());
    let mut all = vec![generator.spec().genesis_block()];
    all.extend(plain(&blocks));
    node.import_all(&all[..6], &small_batches()).unwrap();
    let summary = node.import_all(&all, &small_batches()).unwrap();
    assert_eq!((summary.skipped, summary.blocks), (6, 5));
    all[0].header.timestamp += 1;
    let error = node.import_all(&all, &small_batches()).unwrap_err().to_string();
    assert!(error.contains("genesis"), "{error}");
}

#[test]
fn an_orphan_and_a_failing_source_end_the_import() {
    let (generator, blocks) = generated(Network::Ethash, 8);
    let node = Bare::temporary(generator.spec());
    let mut all = plain(&blocks);
    all.remove(5);
    let error = node.import_all(&all, &small_batches()).unwrap_err();
    assert!(matches!(error, ImportError::Chain(ChainError::UnknownAncestor { number: 7, .. })), "{error}");
    assert_eq!(node.chain.head().block.number, 5);
    let source = plain(&blocks).into_iter().take(7).map(Ok).chain([Err("the file is cut short")]);
    let error = node.chain.import_chain(source, &small_batches(), &|_| {}).unwrap_err();
    assert!(matches!(error, ImportError::Source("the file is cut short")));
    assert_eq!(node.chain.head().block.number, 7);
    node.assert_whole();
}

/// A store that fails at its n-th commit, for every n: nothing is torn, and the next run goes on.
#[test]
fn a_failing_store_leaves_whole_batches() {
    let (generator, blocks) = generated(Network::Ethash, 18);
    let all = plain(&blocks);
    let reference = Bare::temporary(generator.spec());
    reference.import_all(&all, &small_batches()).unwrap();
    for allowed in 0..6 {
        let inner = quintet_store::open_temporary().unwrap();
        let failing = Failing::over(Arc::clone(&inner));
        let node = Bare::on(Arc::clone(&failing) as Arc<dyn Store>, generator.spec(), false);
        failing.allow(allowed);
        let error = node.import_all(&all, &small_batches()).unwrap_err();
        assert!(matches!(error, ImportError::Chain(ChainError::Store(_))), "{error}");
        let head = node.store.head().unwrap().unwrap();
        let batches = u64::try_from(allowed).unwrap().min(5);
        assert_eq!(head.number, (batches * 4).min(18));
        node.assert_whole();
        failing.allow(i64::MAX);
        if allowed % 2 == 0 {
            // The same process goes on.
            node.import_all(&all, &small_batches()).unwrap();
            assert_same(&reference, &node);
            node.assert_whole();
        } else {
            // Another one does.
            drop(node);
            let node = Bare::on(inner, generator.spec(), false);
            node.import_all(&all, &small_batches()).unwrap();
            assert_same(&reference, &node);
            node.assert_whole();
        }
    }
}

/// Blocks of every branch in any order that has parents first: the pipeline leaves its way and finds back.
#[test]
fn a_file_of_branches_ends_at_the_heaviest() {
    use quintet_testkit::generate::{ForkTree, TreeOptions};
    for seed in 0..3 {
        let tree = ForkTree::random(seed, &TreeOptions::small(Network::Ethash));
        let node = Bare::temporary(&tree.spec);
        let all: Vec<Block> = tree.blocks.iter().map(|block| block.block.block.clone()).collect();
        let summary = node.import_all(&all, &small_batches()).unwrap();
        assert_eq!(summary.blocks, tree.blocks.len() as u64);
        assert_eq!(node.chain.head().block.hash, tree.head().block.hash, "seed {seed}");
        node.assert_whole();
    }
}

/// Small batches reach the bus block by block, in order.
#[tokio::test]
async fn what_is_imported_is_published() {
    let (generator, blocks) = generated(Network::Ethash, 9);
    let node = Bare::temporary(generator.spec());
    let mut events = node.bus.subscribe(Topics::CHAIN, None);
    node.import_all(&plain(&blocks), &small_batches()).unwrap();
    for executed in &blocks {
        let Some(Ok(Event::Chain(ChainEvent::Block(delta)))) = events.next().await else {
            panic!("block {} is missing", executed.block.header().number)
        };
        assert_eq!(delta.executed.block, executed.block);
        assert_eq!(delta.executed.diff, executed.diff);
    }
}

/// Behind a network, state and trie nodes are read ahead: the chain comes out the same, branches included.
#[test]
fn a_chain_on_postgresql_is_the_same() {
    use quintet_testkit::generate::{ForkTree, TreeOptions};
    let database = Postgres::shared().create_database();
    let store = quintet_store::open_at(&database, &quintet_store::Options::default()).unwrap();
    let tree = ForkTree::random(5, &TreeOptions::small(Network::Ethash));
    let all: Vec<Block> = tree.blocks.iter().map(|block| block.block.block.clone()).collect();
    let (remote, local) = (Bare::on(store, &tree.spec, false), Bare::temporary(&tree.spec));
    for node in [&remote, &local] {
        node.import_all(&all, &small_batches()).unwrap();
        assert_eq!(node.chain.head().block.hash, tree.head().block.hash);
        node.assert_whole();
    }
    assert_same(&local, &remote);
}
