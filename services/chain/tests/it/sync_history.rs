//! The blocks below a fetched state, with their receipts, from simulated peers: checked, held, and not executed.

use crate::fixture::{Bare, small_batches};
use crate::sync_full::{chain_of, file, grow, last_hash};
use crate::sync_net::{SimNet, SimPeer};
use alloy_primitives::{B256, U256};
use quintet_chain::sync::{Fault, Network as Peers, NoHistory, Sync, SyncOptions};
use quintet_chain::{BulkOptions, ImportError, RootedReceipts};
use quintet_chainspec::ChainSpec;
use quintet_events::{EventBus, Topics};
use quintet_testkit::generate::{BlockPlan, Generator, Network, Options};
use quintet_testkit::vectors;
use quintet_types::{Block, BlockRef, Receipt};
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Makes a block wrong.
type Spoil = fn(&mut Block);

/// Invented time that a fetch may take.
const LIMIT: Duration = Duration::from_mins(5);

/// A chain, and a node that has executed it.
pub(crate) struct Whole {
    pub(crate) spec: Arc<ChainSpec>,
    /// Genesis first.
    pub(crate) blocks: Vec<Block>,
    pub(crate) node: Bare,
}

impl Whole {
    pub(crate) fn of(spec: Arc<ChainSpec>, blocks: Vec<Block>) -> Self {
        let node = Bare::temporary(&spec);
        node.import_all(&blocks, &BulkOptions::default()).unwrap();
        assert_eq!(node.chain.head().block.hash, last_hash(&blocks));
        Self { spec, blocks, node }
    }

    pub(crate) fn generated(network: Network, count: usize) -> Self {
        let (spec, blocks) = chain_of(network, count);
        Self::of(spec, blocks)
    }

    pub(crate) fn at(&self, number: usize) -> BlockRef {
        BlockRef { number: number as u64, hash: self.blocks[number].header.hash_slow() }
    }

    /// A peer with the chain's first blocks.
    fn peer(&self, id: u8, blocks: usize) -> SimPeer {
        SimPeer::new(id, &self.blocks[..=blocks]).with_store(&self.node.store)
    }

    /// Blocks with their receipts.
    pub(crate) fn rooted(
        &self,
        numbers: std::ops::RangeInclusive<usize>,
    ) -> impl Iterator<Item = Result<(Block, RootedReceipts), Infallible>> + Send + '_ {
        numbers.map(|number| {
            let receipts = self.node.store.receipts(&self.at(number).hash).unwrap().unwrap();
            Ok((self.blocks[number].clone(), RootedReceipts::new(receipts)))
        })
    }

    /// That a node holds the chain's blocks up to a number as history, and nobody sees them.
    fn assert_held(&self, node: &Bare, newest: usize) {
        assert_eq!(node.chain.history_tip().unwrap(), Some(self.at(newest)));
        assert_eq!(node.chain.head().block, self.at(0));
        assert_eq!(node.store.head().unwrap(), Some(self.at(0)));
        for number in 1..=newest {
            let hash = self.at(number).hash;
            assert_eq!(node.store.block(&hash).unwrap(), self.node.store.block(&hash).unwrap());
            assert_eq!(node.store.receipts(&hash).unwrap(), self.node.store.receipts(&hash).unwrap());
            let difficulty = node.store.total_difficulty(&hash).unwrap();
            assert_eq!(difficulty, self.node.store.total_difficulty(&hash).unwrap(), "block {number}");
            assert_eq!(node.store.canonical_hash(number as u64).unwrap(), None);
            for transaction in &self.blocks[number].body.transactions {
                assert_eq!(node.store.transaction_location(transaction.tx_hash()).unwrap(), None);
            }
        }
    }
}

fn options() -> SyncOptions {
    let bulk = BulkOptions { batch_blocks: 32, threads: 2, ..BulkOptions::default() };
    SyncOptions { bulk, patience: Duration::from_millis(3), ..SyncOptions::default() }
}

async fn fetch_with(
    node: &Bare,
    net: &Arc<SimNet>,
    pivot: BlockRef,
    options: SyncOptions,
) -> Result<(), NoHistory> {
    let sync = Sync::new(Arc::clone(&node.chain), Arc::clone(net) as Arc<dyn Peers>, options);
    let token = CancellationToken::new();
    let fetch = sync.fetch_history(B256::repeat_byte(1), pivot, &token);
    tokio::time::timeout(LIMIT, fetch).await.expect("it ends in time")
}

/// With the first peer for a master.
async fn fetch(node: &Bare, net: &Arc<SimNet>, pivot: BlockRef) -> Result<(), NoHistory> {
    fetch_with(node, net, pivot, options()).await
}

#[tokio::test(start_paused = true)]
async fn history_of_every_kind_of_network() {
    for network in [Network::Ethash, Network::Clique, Network::Beacon] {
        let whole = Whole::generated(network, 520);
        let node = Bare::temporary(&whole.spec);
        let mut events = node.bus.subscribe(Topics::ALL, None);
        let net = SimNet::new([
            whole.peer(1, 520),
            whole.peer(2, 520),
            whole.peer(3, 300).slow(Duration::from_millis(400)),
        ]);
        fetch(&node, &net, whole.at(450)).await.unwrap();
        net.has_no_faults();
        whole.assert_held(&node, 450);
        for id in 1..=2 {
            let peer = net.peer(id).unwrap();
            assert!(
                peer.bodies_given.load(Ordering::Relaxed) > 20
                    && peer.receipts_given.load(Ordering::Relaxed) > 20
            );
        }
        assert!(
            tokio::time::timeout(Duration::from_secs(1), events.next()).await.is_err(),
            "nobody hears of it"
        );
        // What is held is not asked for again.
        let asked = net.peer(1).unwrap().asked.load(Ordering::Relaxed);
        fetch(&node, &net, whole.at(450)).await.unwrap();
        fetch(&node, &net, whole.at(300)).await.unwrap();
        assert_eq!(net.peer(1).unwrap().asked.load(Ordering::Relaxed), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn the_pivot_moves_on() {
    let whole = Whole::generated(Network::Clique, 460);
    let node = Bare::temporary(&whole.spec);
    let net = SimNet::new([whole.peer(1, 460)]);
    // A skeleton's length exactly, one more, a few more, and what is one by one.
    for pivot in [192, 193, 384, 390, 391, 450] {
        let before = net.peer(1).unwrap().bodies_given.load(Ordering::Relaxed);
        let held = node.chain.history_tip().unwrap().map_or(0, |tip| tip.number);
        let held = usize::try_from(held).unwrap();
        fetch(&node, &net, whole.at(pivot)).await.unwrap();
        let given = net.peer(1).unwrap().bodies_given.load(Ordering::Relaxed) - before;
        assert!(given <= pivot - held, "{given} bodies from {held} to {pivot}");
        assert_eq!(node.chain.history_tip().unwrap(), Some(whole.at(pivot)));
    }
    net.has_no_faults();
    whole.assert_held(&node, 450);
}

#[tokio::test(start_paused = true)]
async fn blocks_with_uncles_and_little_memory() {
    let mut generator = Generator::new(Options::small(Network::Ethash));
    let blocks: Vec<_> = (0..80).map(|_| generator.next_block()).collect();
    let blocks = crate::sync_net::whole_chain(generator.spec().genesis_block(), &blocks);
    assert!(blocks.iter().any(|block| !block.body.ommers.is_empty()));
    let whole = Whole::of(Arc::clone(generator.spec()), blocks);
    let node = Bare::temporary(&whole.spec);
    let net = SimNet::new([whole.peer(1, 80), whole.peer(2, 80)]);
    let bulk = BulkOptions { batch_bytes: 1, ..small_batches() };
    let patience = Duration::from_millis(2);
    let small = SyncOptions { header_bytes: 1, body_bytes: 1, feed_bytes: 1, bulk, patience, ..options() };
    fetch_with(&node, &net, whole.at(80), small).await.unwrap();
    net.has_no_faults();
    whole.assert_held(&node, 80);
}

#[tokio::test(start_paused = true)]
async fn receipts_that_do_not_match() {
    let whole = Whole::generated(Network::Ethash, 300);
    let spoil = |_: &Vec<B256>, mut lists: Vec<Vec<Receipt>>| {
        if let Some(list) = lists.last_mut() {
            list.pop();
        }
        Some(lists)
    };
    // It is excluded where it only helps, and ends the fetch where it is the master.
    let node = Bare::temporary(&whole.spec);
    let net = SimNet::new([whole.peer(1, 300), whole.peer(2, 300).with_receipts(spoil)]);
    fetch(&node, &net, whole.at(300)).await.unwrap();
    assert_eq!(net.faults_of(2), [Fault::WrongReceipts]);
    assert_eq!(net.faults_of(1), []);
    whole.assert_held(&node, 300);
    let node = Bare::temporary(&whole.spec);
    let net = SimNet::new([whole.peer(1, 300).with_receipts(spoil)]);
    let ended = fetch(&node, &net, whole.at(300)).await.unwrap_err();
    assert!(ended.0.contains("WrongReceipts"), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_receipts_is_not_at_fault() {
    let whole = Whole::generated(Network::Ethash, 300);
    // Whether it helps, or is the master.
    for (with, without) in [(1, 2), (2, 1)] {
        let node = Bare::temporary(&whole.spec);
        let bare = SimPeer::new(without, &whole.blocks);
        let net = SimNet::new([whole.peer(with, 300), bare]);
        fetch(&node, &net, whole.at(300)).await.unwrap();
        net.has_no_faults();
        whole.assert_held(&node, 300);
        assert!(
            net.peer(without).unwrap().bodies_given.load(Ordering::Relaxed) > 20,
            "it gives bodies still"
        );
    }
    // Nobody has them.
    let node = Bare::temporary(&whole.spec);
    let net = SimNet::new([SimPeer::new(1, &whole.blocks)]);
    let ended = fetch(&node, &net, whole.at(300)).await.unwrap_err();
    assert!(ended.0.contains("Stalling"), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_after_a_restart() {
    let whole = Whole::generated(Network::Clique, 500);
    let node = Bare::temporary(&whole.spec);
    let net = SimNet::new([whole.peer(1, 500)]);
    let sync = Sync::new(Arc::clone(&node.chain), Arc::clone(&net) as Arc<dyn Peers>, options());
    let token = CancellationToken::new();
    let held = || node.chain.history_tip().unwrap().map_or(0, |tip| tip.number);
    let stop = async {
        while held() < 60 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        token.cancel();
    };
    let (ended, ()) = tokio::join!(sync.fetch_history(B256::repeat_byte(1), whole.at(500), &token), stop);
    assert!(ended.unwrap_err().0.contains("Cancelled"));
    let reached = held();
    assert!((60..500).contains(&reached), "{reached}");
    let given = net.peer(1).unwrap().receipts_given.load(Ordering::Relaxed);
    let store = Arc::clone(&node.store);
    drop((sync, node));
    let node = Bare::on(store, &whole.spec, false);
    fetch(&node, &net, whole.at(500)).await.unwrap();
    net.has_no_faults();
    whole.assert_held(&node, 500);
    let again = net.peer(1).unwrap().receipts_given.load(Ordering::Relaxed) - given;
    assert!(again as u64 <= 500 - reached, "{again} receipts for what was above block {reached}");
}

#[tokio::test(start_paused = true)]
async fn the_masters_chain_forks_below_what_is_held() {
    let mut trunk = Generator::new(Options::small(Network::Ethash));
    let common = grow(&mut trunk, 200, 0);
    let (mut one, mut other) = (trunk.branch(1), trunk.branch(2));
    let old = [&common[..], &grow(&mut one, 60, 60)[1..]].concat();
    let new = [&common[..], &grow(&mut other, 120, 3)[1..]].concat();
    let (old, new) = (Whole::of(Arc::clone(trunk.spec()), old), Whole::of(Arc::clone(trunk.spec()), new));
    let node = Bare::temporary(trunk.spec());
    fetch(&node, &SimNet::new([old.peer(1, 260)]), old.at(260)).await.unwrap();
    let net = SimNet::new([new.peer(1, 320)]);
    // The old pivot is on nobody's chain any more.
    let moved = fetch(&node, &net, BlockRef { number: 250, hash: B256::repeat_byte(7) }).await.unwrap_err();
    assert!(moved.0.contains("Moved"), "{moved}");
    for pivot in [240, 320] {
        fetch(&node, &net, new.at(pivot)).await.unwrap();
        new.assert_held(&node, pivot);
    }
    net.has_no_faults();
    assert!(
        net.peer(1).unwrap().bodies_given.load(Ordering::Relaxed) <= 2 * 120,
        "only what is above the fork"
    );
    // Back again: what is held is known.
    let net = SimNet::new([old.peer(1, 260)]);
    fetch(&node, &net, old.at(260)).await.unwrap();
    assert_eq!(net.peer(1).unwrap().asked.load(Ordering::Relaxed), 0);
}

/// A chain in which a header is another one, and all behind it are on that.
fn forged(whole: &Whole, place: usize, spoil: impl Fn(&mut Block)) -> Vec<Block> {
    let mut blocks = whole.blocks.clone();
    spoil(&mut blocks[place]);
    for next in place + 1..blocks.len() {
        blocks[next].header.parent_hash = blocks[next - 1].header.hash_slow();
    }
    blocks
}

/// What breaks a rule is not held, and all before it is; receipts are no way around a header.
#[test]
fn bad_blocks_end_it_and_are_not_held() {
    let whole = Whole::generated(Network::Ethash, 40);
    let place = (20..30).find(|place| !whole.blocks[*place].body.transactions.is_empty()).unwrap();
    let cases: [(&str, Spoil); 5] = [
        ("invalid gas used", |block| block.header.gas_used += 1),
        ("invalid bloom", |block| block.header.logs_bloom.0[3] ^= 1),
        ("invalid receipt root hash", |block| block.header.receipts_root = B256::ZERO),
        ("transaction root hash mismatch", |block| block.body.transactions.truncate(0)),
        ("invalid difficulty", |block| block.header.difficulty += U256::from(1)),
    ];
    for (reason, spoil) in cases {
        let node = Bare::temporary(&whole.spec);
        let blocks = forged(&whole, place, spoil);
        let fed = whole.rooted(1..=40).zip(&blocks[1..]).map(|(rooted, block)| {
            let Ok((_, receipts)) = rooted;
            Ok((block.clone(), receipts))
        });
        let ended = node.chain.import_history(whole.at(0), fed, &small_batches(), &|_| {});
        let Err(ImportError::<Infallible>::Chain(error)) = ended else { panic!("{ended:?}") };
        let error = error.to_string();
        assert!(error.contains(reason) && error.contains(&format!("invalid block {place} ")), "{error}");
        whole.assert_held(&node, place - 1);
        assert_eq!(node.store.block_number(&blocks[place].header.hash_slow()).unwrap(), None);
    }
}

#[test]
fn who_may_not_seal_a_clique_block_is_found_out() {
    let whole = Whole::generated(Network::Clique, 40);
    let node = Bare::temporary(&whole.spec);
    // A block that is signed over something else names another signer.
    let blocks = forged(&whole, 20, |block| block.header.gas_limit += 1);
    let fed = whole.rooted(1..=40).zip(&blocks[1..]).map(|(rooted, block)| {
        let Ok((_, receipts)) = rooted;
        Ok((block.clone(), receipts))
    });
    let ended = node.chain.import_history(whole.at(0), fed, &small_batches(), &|_| {});
    let Err(ImportError::<Infallible>::Chain(error)) = ended else { panic!("{ended:?}") };
    assert!(error.to_string().contains("unauthorized"), "{error}");
    whole.assert_held(&node, 19);
}

#[test]
fn history_begins_at_what_is_held_and_ends_where_blocks_are_executed() {
    let whole = Whole::generated(Network::Ethash, 30);
    let node = Bare::temporary(&whole.spec);
    let told = AtomicBool::new(false);
    let summary =
        node.chain.import_history(whole.at(0), whole.rooted(1..=12), &small_batches(), &|progress| {
            told.store(progress.head.number <= 12, Ordering::Relaxed);
        });
    let summary = summary.unwrap();
    assert_eq!((summary.blocks, summary.head), (12, whole.at(12)));
    assert!(told.into_inner());
    // Written again without harm.
    node.chain.import_history(whole.at(7), whole.rooted(8..=20), &small_batches(), &|_| {}).unwrap();
    whole.assert_held(&node, 20);
    let gap = node.chain.import_history(whole.at(20), whole.rooted(22..=25), &small_batches(), &|_| {});
    assert!(gap.unwrap_err().to_string().contains("unknown ancestor"));
    let unheld = node.chain.import_history(whole.at(25), whole.rooted(26..=28), &small_batches(), &|_| {});
    assert!(unheld.unwrap_err().to_string().contains("unknown ancestor"));
    let executed =
        whole.node.chain.import_history(whole.at(0), whole.rooted(1..=2), &small_batches(), &|_| {});
    assert!(executed.unwrap_err().to_string().contains("has executed blocks up to 30"));
}

async fn assert_fetches(genesis: &Path, blocks: &[Block]) {
    let spec = Arc::new(ChainSpec::from_json(&fs::read_to_string(genesis).unwrap()).unwrap());
    let mut chain = vec![spec.genesis_block()];
    chain.extend(blocks.iter().filter(|block| block.header.number > 0).cloned());
    let whole = Whole::of(Arc::clone(&spec), chain);
    let node = Bare::on(quintet_store::open_temporary().unwrap(), &spec, true);
    let newest = whole.blocks.len() - 1;
    let net = SimNet::new([whole.peer(1, newest), whole.peer(2, newest)]);
    fetch(&node, &net, whole.at(newest)).await.unwrap();
    net.has_no_faults();
    whole.assert_held(&node, newest);
}

#[tokio::test(start_paused = true)]
async fn history_with_real_seals_of_proof_of_work() {
    let Some(folder) = vectors::archive("14") else { return };
    let folder = folder.join("hive-simplechain");
    assert_fetches(&folder.join("genesis.json"), &file(&folder.join("chain.rlp"), 200)).await;
}

#[tokio::test(start_paused = true)]
async fn history_that_geth_signed() {
    let Some(folder) = vectors::archive("20") else { return };
    assert_fetches(&folder.join("genesis.json"), &file(&folder.join("chain.rlp"), usize::MAX)).await;
}

/// Seals are all looked at: one that is not right is found wherever it is.
#[test]
fn a_false_seal_is_found() {
    let Some(folder) = vectors::archive("14") else { return };
    let folder = folder.join("hive-simplechain");
    let json = fs::read_to_string(folder.join("genesis.json")).unwrap();
    let spec = Arc::new(ChainSpec::from_json(&json).unwrap());
    let mut chain = vec![spec.genesis_block()];
    chain.extend(file(&folder.join("chain.rlp"), 30).into_iter().filter(|block| block.header.number > 0));
    let whole = Whole::of(Arc::clone(&spec), chain);
    let node = Bare::on(quintet_store::open_temporary().unwrap(), &spec, true);
    let blocks = forged(&whole, 17, |block| block.header.nonce.0[0] ^= 1);
    let fed = whole.rooted(1..=25).zip(&blocks[1..]).map(|(rooted, block)| {
        let Ok((_, receipts)) = rooted;
        Ok((block.clone(), receipts))
    });
    let ended = node.chain.import_history(whole.at(0), fed, &small_batches(), &|_| {});
    let Err(ImportError::<Infallible>::Chain(error)) = ended else { panic!("{ended:?}") };
    assert!(error.to_string().contains("invalid block 17 "), "{error}");
    whole.assert_held(&node, 16);
}

#[test]
fn receipts_know_their_root() {
    let mut generator = Generator::new(Options::small(Network::Beacon));
    let executed = generator.next_block_with(&BlockPlan { transactions: Some(6), ..BlockPlan::default() });
    let rooted = RootedReceipts::new(executed.receipts.to_vec());
    assert_eq!(rooted.root(), executed.block.header().receipts_root);
    let generator = Generator::new(Options::small(Network::Beacon));
    assert_eq!(RootedReceipts::none().root(), generator.header().receipts_root);
    assert_eq!(RootedReceipts::new(Vec::new()), RootedReceipts::none());
}
