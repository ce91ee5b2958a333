//! A fetched state: while it is on its way in the chain waits, with it the chain goes on from its block, without it from
//! genesis.

use crate::failing::Failing;
use crate::fixture::{Bare, small_batches};
use crate::sync_full::last_hash;
use crate::sync_history::Whole;
use crate::sync_net::{SimNet, SimPeer, Syncing, whole_chain};
use alloy_primitives::{Address, B256, U256, keccak256};
use quintet_chain::sync::Fault;
use quintet_chain::{BulkOptions, ChainError, ChainServer, Imported, RootedReceipts};
use quintet_chain_api::{BuildRequest, ChainClient};
use quintet_events::{Event, EventBus, Follower, Step, Subscription, Topics};
use quintet_service::Service;
use quintet_service::grpc::Transport;
use quintet_store::{FetchedState, Store, StoreError};
use quintet_testkit::generate::{BlockPlan, Generator, Network, Options, State};
use quintet_trie::{EMPTY_ROOT_HASH, Layer, Nibbles, Owner, TrieAccount, node_key};
use quintet_types::{
    AccountDiff, BlockRef, ChainEvent, ExecutedBlock, RecoveredBlock, StateDiff, StateReader,
};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The pivot.
const PIVOT: usize = 40;

/// A chain up to the pivot and its state there, and two branches above it, of which the second weighs more.
struct Chains {
    genesis: Generator,
    trunk: Vec<ExecutedBlock>,
    state: State,
    slow: Vec<ExecutedBlock>,
    fast: Vec<ExecutedBlock>,
}

impl Chains {
    fn of(network: Network, length: usize) -> Self {
        let genesis = Generator::new(Options::small(network));
        let mut generator = genesis.clone();
        let trunk = (0..PIVOT).map(|_| generator.next_block()).collect();
        let grow = |seed, interval, count| {
            let mut generator = generator.branch(seed);
            let plan = BlockPlan { interval, ..BlockPlan::default() };
            (0..count).map(|_| generator.next_block_with(&plan)).collect()
        };
        let (slow, fast) = (grow(1, 60, length), grow(2, 3, length));
        Self { state: generator.state().clone(), genesis, trunk, slow, fast }
    }

    fn pivot(&self) -> BlockRef {
        self.trunk[PIVOT - 1].block.block_ref()
    }

    /// A chain that stands where everything is fetched but nothing adopted.
    fn fetched(&self, store: Arc<dyn Store>) -> Bare {
        let node = Bare::on(store, self.genesis.spec(), false);
        node.chain.begin_fetching_state().unwrap();
        node.store.write_fetched(base_of(&self.state)).unwrap();
        import_history(&node, &self.trunk);
        node
    }

    fn adopted(&self) -> Bare {
        let node = self.fetched(quintet_store::open_temporary().unwrap());
        node.chain.adopt_snapshot(self.pivot()).unwrap();
        node
    }
}

fn import_history(node: &Bare, blocks: &[ExecutedBlock]) {
    let genesis = node.chain.head().block;
    let rooted = blocks.iter().map(|executed| {
        let receipts = RootedReceipts::new(executed.receipts.to_vec());
        Ok::<_, Infallible>((executed.block.block.clone(), receipts))
    });
    node.chain.import_history(genesis, rooted, &small_batches(), &|_| {}).unwrap();
}

/// A state as it would come from peers, with the nodes of its trie in the place of genesis'.
fn base_of(state: &State) -> FetchedState {
    let mut diff = StateDiff::default();
    for (address, account) in state.accounts() {
        let storage = state.slots(&address).filter(|(_, value)| !value.is_zero()).collect();
        diff.accounts.insert(address, AccountDiff { before: None, after: Some(account), storage });
    }
    let (_, update) = quintet_trie::update(&Layer::new(), &diff).unwrap();
    let root_of = |hash: B256| {
        let place = (Owner::Storage(hash), Nibbles::new());
        let node = update.nodes.iter().find(|(found, _)| *found == place);
        node.and_then(|(_, node)| node.as_ref()).map_or(EMPTY_ROOT_HASH, keccak256)
    };
    let mut part = FetchedState { wiped_nodes: vec![(Vec::new(), None)], ..FetchedState::default() };
    for (address, change) in &diff.accounts {
        let (hash, account) = (keccak256(address), change.after.unwrap());
        let (nonce, balance, code_hash) = (account.nonce, account.balance, account.code_hash);
        part.accounts.push((hash, TrieAccount { nonce, balance, storage_root: root_of(hash), code_hash }));
        let slots = change.storage.iter();
        part.slots.extend(slots.map(|(slot, value)| (hash, keccak256(slot.to_be_bytes::<32>()), *value)));
        if account.has_code() {
            part.code.push((account.code_hash, state.code(&account.code_hash).unwrap().unwrap()));
        }
    }
    part.accounts.sort_by_key(|(hash, _)| *hash);
    part.slots.sort_by_key(|(account, slot, _)| (*account, *slot));
    part.code.sort();
    part.code.dedup();
    let nodes = update.nodes.into_iter().map(|((owner, path), node)| (node_key(&owner, &path), node));
    part.nodes = nodes.collect();
    part.nodes.sort();
    part
}

/// Everything that is known of accounts and slots after a block, but for the incarnations, which are a node's own.
fn picture(store: &dyn Store, number: u64, keys: &[(Address, Vec<U256>)]) -> Vec<String> {
    let entry = |(address, slots): &(Address, Vec<U256>)| {
        let account = store.account_at(address, number).unwrap();
        let read = |slot: &U256| {
            account.map_or(U256::ZERO, |account| {
                store.storage_at(address, account.incarnation, slot, number).unwrap()
            })
        };
        let slots: Vec<U256> = slots.iter().map(read).collect();
        let account = account.map(|account| (account.nonce, account.balance, account.code_hash));
        format!("{address} {account:?} {slots:?}")
    };
    keys.iter().map(entry).collect()
}

/// All accounts and slots that a chain has touched.
fn keys(chains: &Chains, above: &[ExecutedBlock]) -> Vec<(Address, Vec<U256>)> {
    let mut keys: std::collections::BTreeMap<_, BTreeSet<U256>> = std::collections::BTreeMap::new();
    for (address, change) in &chains.genesis.spec().genesis_state().accounts {
        keys.entry(*address).or_default().extend(change.storage.keys());
    }
    for executed in chains.trunk.iter().chain(above) {
        for (address, change) in &executed.diff.accounts {
            keys.entry(*address).or_default().extend(change.storage.keys());
        }
    }
    keys.into_iter().map(|(address, slots)| (address, slots.into_iter().collect())).collect()
}

/// That a node which began at the pivot says the same as one that executed all.
fn assert_same(chains: &Chains, above: &[ExecutedBlock], node: &Bare) {
    let full = Bare::temporary(chains.genesis.spec());
    for executed in chains.trunk.iter().chain(above) {
        full.import(&executed.block).unwrap();
    }
    assert_eq!(node.chain.head().block, full.chain.head().block);
    assert_eq!(node.chain.head().total_difficulty, full.chain.head().total_difficulty);
    assert_eq!(node.store.head().unwrap(), full.store.head().unwrap());
    let keys = keys(chains, above);
    for number in [PIVOT, PIVOT + 1, PIVOT + above.len()] {
        let number = number as u64;
        assert_eq!(
            picture(&*node.store, number, &keys),
            picture(&*full.store, number, &keys),
            "block {number}"
        );
    }
    for number in 0..=node.chain.head().block.number {
        let hash = full.store.canonical_hash(number).unwrap().unwrap();
        assert_eq!(node.store.canonical_hash(number).unwrap(), Some(hash));
        assert_eq!(node.store.receipts(&hash).unwrap(), full.store.receipts(&hash).unwrap());
        for transaction in &node.store.body(&hash).unwrap().unwrap().transactions {
            let place = full.store.transaction_location(transaction.tx_hash()).unwrap();
            assert_eq!(node.store.transaction_location(transaction.tx_hash()).unwrap(), place);
        }
    }
}

#[test]
fn the_chain_goes_on_from_an_adopted_state() {
    for network in [Network::Ethash, Network::Clique, Network::Beacon] {
        let chains = Chains::of(network, 12);
        let node = chains.adopted();
        assert!(!node.chain.is_fetching_state());
        assert_eq!(node.chain.head().block, chains.pivot());
        assert_eq!(node.chain.history_tip().unwrap(), None, "its records are gone");
        // The one by one, the other in bulk.
        for executed in &chains.fast[..5] {
            assert_eq!(node.import(&executed.block).unwrap(), Imported::Head);
        }
        let rest: Vec<_> = chains.fast[5..].iter().map(|executed| executed.block.block.clone()).collect();
        node.import_all(&rest, &small_batches()).unwrap();
        assert_same(&chains, &chains.fast, &node);
        assert!(node.chain.pending().is_ok());
        // And after a restart, with the trie computed again.
        let again = Bare::on(Arc::clone(&node.store), chains.genesis.spec(), false);
        assert_same(&chains, &chains.fast, &again);
    }
}

/// Blocks that destroy contracts of the base are undone, so their slots, of which only the hashes are known, come back.
#[test]
fn a_reorg_restores_the_storage_of_the_base() {
    let chains = Chains::of(Network::Ethash, 12);
    let destroyed = chains.slow[..3].iter().flat_map(|executed| executed.diff.accounts.iter());
    let destroyed = destroyed.filter(|(address, change)| {
        let of_base = change.before.is_some_and(|before| before.incarnation <= PIVOT as u64);
        of_base && change.storage_wiped() && chains.state.slots(address).any(|(_, value)| !value.is_zero())
    });
    assert!(destroyed.count() > 0, "a contract with storage is destroyed above the pivot");
    for restart in [false, true] {
        let mut node = chains.adopted();
        for executed in &chains.slow[..3] {
            assert_eq!(node.import(&executed.block).unwrap(), Imported::Head);
        }
        assert_same(&chains, &chains.slow[..3], &node);
        if restart {
            node.chain.close().unwrap();
            node = Bare::on(Arc::clone(&node.store), chains.genesis.spec(), false);
        }
        // The fork is the pivot itself.
        let mut outcomes = chains.fast.iter().map(|executed| node.import(&executed.block).unwrap());
        assert_eq!(outcomes.next(), Some(Imported::Side));
        assert!(outcomes.any(|outcome| outcome == Imported::Head));
        assert_same(&chains, &chains.fast[..outcomes_until_head(&node)], &node);
        for executed in &chains.fast {
            node.import(&executed.block).unwrap();
        }
        assert_same(&chains, &chains.fast, &node);
        // And all the way back down to the pivot.
        assert_eq!(node.chain.rewind(PIVOT as u64).unwrap(), chains.pivot());
        assert_same(&chains, &chains.fast[..1], &{
            node.import(&chains.fast[0].block).unwrap();
            node
        });
    }
}

fn outcomes_until_head(node: &Bare) -> usize {
    usize::try_from(node.chain.head().block.number).unwrap() - PIVOT
}

#[test]
fn the_chain_does_not_go_back_below_the_pivot() {
    let chains = Chains::of(Network::Ethash, 4);
    let node = chains.adopted();
    let refused = node.chain.rewind(PIVOT as u64 - 1).unwrap_err();
    assert!(matches!(refused, ChainError::BelowFetchedState { first } if first == PIVOT as u64), "{refused}");
    assert!(refused.to_string().contains("--syncmode full"), "{refused}");
    assert!(matches!(
        node.store.account_at(&Address::ZERO, 7),
        Err(StoreError::StateNotHeld { block: 7, first }) if first == PIVOT as u64
    ));
    // A branch from below: its blocks are kept aside while they weigh less, and refused when they would win.
    let mut generator = chains.genesis.clone();
    for _ in 0..PIVOT - 2 {
        generator.next_block();
    }
    let mut branch = generator.branch(9);
    let plan = BlockPlan { interval: 1, ..BlockPlan::default() };
    let mut outcomes = (0..8).map(|_| node.import(&branch.next_block_with(&plan).block));
    let refused = outcomes.find_map(Result::err).expect("it wins");
    assert!(matches!(refused, ChainError::BelowFetchedState { .. }), "{refused}");
    assert_eq!(node.chain.head().block, chains.pivot());
    for executed in &chains.fast {
        node.import(&executed.block).unwrap();
    }
    assert_same(&chains, &chains.fast, &node);
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_chain_forks_below_the_pivot_is_left() {
    let chains = Chains::of(Network::Ethash, 4);
    let node = chains.adopted();
    let genesis = chains.genesis.spec().genesis_block();
    let mut generator = chains.genesis.clone();
    let common: Vec<_> = (0..PIVOT - 5).map(|_| generator.next_block()).collect();
    let plan = BlockPlan { interval: 1, ..BlockPlan::default() };
    let mut branch = generator.branch(9);
    let theirs: Vec<_> = (0..30).map(|_| branch.next_block_with(&plan)).collect();
    let heavy = SimPeer::new(1, &whole_chain(genesis.clone(), &[common, theirs].concat()));
    let good = whole_chain(genesis, &[&chains.trunk[..], &chains.fast[..]].concat());
    let net = SimNet::new([heavy, SimPeer::new(2, &good)]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(Duration::from_mins(5), last_hash(&good)).await;
    syncing.stop().await;
    assert_eq!(net.faults_of(1), [Fault::TooOld]);
    assert_eq!(net.faults_of(2), []);
    assert_same(&chains, &chains.fast, &node);
}

async fn next_event(events: &mut Subscription) -> ChainEvent {
    let next = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
    let Ok(Some(Ok(Event::Chain(event)))) = next else { panic!("an event") };
    event
}

#[tokio::test]
async fn consumers_learn_that_the_head_is_elsewhere() {
    let chains = Chains::of(Network::Ethash, 2);
    let node = chains.fetched(quintet_store::open_temporary().unwrap());
    let genesis = node.chain.head().block;
    let mut events = node.bus.subscribe(Topics::ALL, None);
    let mut late = Follower::new(genesis);
    node.chain.adopt_snapshot(chains.pivot()).unwrap();
    let event = next_event(&mut events).await;
    assert_eq!(late.apply(&event), Step::Gap);
    // Who stands at the pivot goes on from there.
    let mut events = node.bus.subscribe(Topics::ALL, Some(chains.pivot()));
    let mut follower = Follower::new(chains.pivot());
    node.import(&chains.fast[0].block).unwrap();
    let event = next_event(&mut events).await;
    assert!(matches!(event, ChainEvent::Block(_)));
    assert_eq!(follower.apply(&event), Step::Extend);
}

fn assert_waits<T>(outcome: Result<T, ChainError>) {
    assert!(matches!(outcome.err(), Some(ChainError::FetchingState)));
}

#[tokio::test]
async fn the_chain_waits_while_a_state_is_fetched() {
    let chains = Chains::of(Network::Ethash, 2);
    let store = quintet_store::open_temporary().unwrap();
    let node = chains.fetched(Arc::clone(&store));
    // A restart changes nothing, though the trie in the store is not that of genesis.
    for node in [&node, &Bare::on(store, chains.genesis.spec(), false)] {
        assert!(node.chain.is_fetching_state());
        assert_waits(node.import(&chains.trunk[0].block));
        let block = chains.trunk[0].block.block.clone();
        let bulk = node.import_all(&[block], &BulkOptions::default());
        assert!(bulk.unwrap_err().to_string().contains("the state is being fetched from peers"));
        assert_waits(node.chain.rewind(0));
        assert_waits(node.chain.pending());
        node.chain.begin_fetching_state().unwrap();
        let server = ChainServer::new(Arc::clone(&node.chain), CancellationToken::new()).into_server();
        let client = ChainClient::new(Transport::local(Service::Gateway, server));
        let built = client.build_block(BuildRequest { allow_empty: true, ..BuildRequest::default() }).await;
        assert!(built.unwrap_err().to_string().contains("mining waits"));
        let submitted = client.submit_block(&chains.trunk[0].block.block, 0).await.unwrap_err();
        assert!(submitted.to_string().contains("try again"), "{submitted}");
        node.chain.close().unwrap();
    }
    node.chain.adopt_snapshot(chains.pivot()).unwrap();
    assert_eq!(node.import(&chains.fast[0].block).unwrap(), Imported::Head);
}

#[test]
fn only_the_state_of_the_block_is_adopted() {
    let chains = Chains::of(Network::Ethash, 2);
    let node = chains.fetched(quintet_store::open_temporary().unwrap());
    let before = chains.trunk[PIVOT - 2].block.block_ref();
    let refused = node.chain.adopt_snapshot(before).unwrap_err();
    assert!(matches!(refused, ChainError::NotThatState { .. }), "{refused}");
    let unheld = chains.fast[0].block.block_ref();
    assert!(matches!(node.chain.adopt_snapshot(unheld), Err(ChainError::UnknownAncestor { .. })));
    assert!(node.chain.is_fetching_state());
    assert_eq!(node.chain.head().block.number, 0);
    node.chain.adopt_snapshot(chains.pivot()).unwrap();
    // Once more is once too often, but for the same block.
    node.chain.adopt_snapshot(chains.pivot()).unwrap();
    assert!(matches!(node.chain.adopt_snapshot(before), Err(ChainError::NotAtGenesis { .. })));
    assert!(matches!(node.chain.begin_fetching_state(), Err(ChainError::NotAtGenesis { .. })));
}

/// The store has adopted it, and the answer was lost.
#[test]
fn an_adoption_whose_answer_is_lost() {
    let chains = Chains::of(Network::Ethash, 3);
    let failing = Failing::over(quintet_store::open_temporary().unwrap());
    let node = chains.fetched(Arc::clone(&failing) as Arc<dyn Store>);
    failing.lose_answers(true);
    node.chain.adopt_snapshot(chains.pivot()).unwrap_err();
    failing.lose_answers(false);
    node.chain.adopt_snapshot(chains.pivot()).unwrap();
    assert!(!node.chain.is_fetching_state());
    for executed in &chains.fast {
        assert_eq!(node.import(&executed.block).unwrap(), Imported::Head);
    }
    assert_same(&chains, &chains.fast, &node);
}

#[test]
fn an_adoption_that_fails_can_be_tried_again() {
    let chains = Chains::of(Network::Ethash, 3);
    let failing = Failing::over(quintet_store::open_temporary().unwrap());
    let node = chains.fetched(Arc::clone(&failing) as Arc<dyn Store>);
    failing.allow(0);
    node.chain.adopt_snapshot(chains.pivot()).unwrap_err();
    assert_waits(node.import(&chains.trunk[0].block));
    failing.allow(i64::MAX);
    node.chain.adopt_snapshot(chains.pivot()).unwrap();
    assert_eq!(node.import(&chains.fast[0].block).unwrap(), Imported::Head);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_given_up_leaves_a_chain_at_genesis() {
    let chains = Chains::of(Network::Ethash, 3);
    let node = chains.fetched(quintet_store::open_temporary().unwrap());
    let store = Arc::clone(&node.store);
    drop(node);
    let node = Bare::on(store, chains.genesis.spec(), false);
    node.chain.abandon_fetched_state().unwrap();
    assert!(!node.chain.is_fetching_state());
    assert_eq!(node.store.base_accounts(&B256::ZERO, 1).unwrap(), []);
    assert_eq!(node.store.meta("state_fetch").unwrap(), None);
    let root = node.store.trie_node(&node_key(&Owner::State, &Nibbles::new())).unwrap().unwrap();
    assert_eq!(keccak256(root), chains.genesis.header().state_root);
    // A full sync executes all of it, the history that is held included.
    let genesis = chains.genesis.spec().genesis_block();
    let blocks = whole_chain(genesis, &[&chains.trunk[..], &chains.fast[..]].concat());
    let net = SimNet::new([SimPeer::new(1, &blocks)]);
    let syncing = Syncing::start(&node.chain, &net);
    syncing.until_head(Duration::from_mins(5), last_hash(&blocks)).await;
    syncing.stop().await;
    net.has_no_faults();
    node.assert_whole();
    assert_same(&chains, &chains.fast, &node);
    node.chain.abandon_fetched_state().unwrap();
    assert_eq!(node.chain.head().block.hash, last_hash(&blocks), "there is nothing to give up");
}

#[test]
fn a_state_is_given_up_and_fetched_again() {
    let chains = Chains::of(Network::Clique, 3);
    let node = chains.fetched(quintet_store::open_temporary().unwrap());
    node.chain.abandon_fetched_state().unwrap();
    assert_eq!(node.chain.history_tip().unwrap(), Some(chains.pivot()), "the blocks stay");
    node.chain.begin_fetching_state().unwrap();
    node.store.write_fetched(base_of(&chains.state)).unwrap();
    node.chain.adopt_snapshot(chains.pivot()).unwrap();
    for executed in &chains.fast {
        assert_eq!(node.import(&executed.block).unwrap(), Imported::Head);
    }
    assert_same(&chains, &chains.fast, &node);
}

#[test]
fn a_whole_chain_is_no_place_for_a_state() {
    let whole = Whole::generated(Network::Ethash, 5);
    assert!(matches!(whole.node.chain.begin_fetching_state(), Err(ChainError::NotAtGenesis { head: 5 })));
    assert!(!whole.node.chain.is_fetching_state());
    let block: RecoveredBlock = whole.node.store.block(&whole.at(5).hash).unwrap().unwrap();
    assert_eq!(whole.node.import(&Arc::new(block)).unwrap(), Imported::Known { canonical: true });
}
