//! Snap sync over the wire's encoding, from chains that serve their states as they are.

use crate::fixture::Bare;
use crate::peers_rig::{Rig, Script, in_time};
use crate::sync_full::grow;
use crate::sync_wire::{tell, until_head, up};
use alloy_primitives::B256;
use bytes::Bytes;
use quintet_chain::sync::{Sync, SyncMode, SyncOptions, SyncStatus};
use quintet_chain::{BulkOptions, ChainError};
use quintet_chain_api::{LinkCommand, LinkFrame, PeerMessage, SendMessage, StateProgress, WireProtocol};
use quintet_eth_wire::{EthVersion, SnapMessage};
use quintet_store::{Options as StoreOptions, Store, StoreError};
use quintet_testkit::generate::{Generator, Network, Options};
use quintet_types::Block;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How far the pivot is below the head.
const DISTANCE: u64 = 64;
/// The record of what was written of a state.
const COUNTS: &str = "state_fetch_counts";

/// What is done with a message of `snap` on its way.
enum Fate {
    Pass(SendMessage),
    Drop,
}

type Hook = Box<dyn FnMut(SendMessage) -> Fate + Send>;

/// Changes an answer.
type Tamper = fn(SnapMessage) -> SnapMessage;

fn honest() -> Hook {
    Box::new(Fate::Pass)
}

/// Carries what a server and a client say to each other, until one is sent away: then why. `hook` sees what the server
/// says of its state.
async fn carry(mut server: Script, mut client: Script, id: u8, mut hook: Hook) -> String {
    let version = EthVersion::Eth68;
    let (of_server, of_client) = (server.status().await, client.status().await);
    server.frame(up(id, version, &of_client));
    client.frame(up(id, version, &of_server));
    loop {
        let (command, to) = tokio::select! {
            command = server.next_command() => (command, &client),
            command = client.next_command() => (command, &server),
        };
        let from_server = std::ptr::eq(to, &raw const client);
        let command = match command {
            Some(LinkCommand::Send(send)) if from_server && send.protocol == WireProtocol::Snap(1) => {
                match hook(send) {
                    Fate::Pass(send) => Some(LinkCommand::Send(send)),
                    Fate::Drop => continue,
                }
            }
            command => command,
        };
        match command {
            Some(LinkCommand::Send(SendMessage { protocol, code, payload, .. })) => {
                let peer = B256::repeat_byte(id);
                to.frame(LinkFrame::Message(PeerMessage { peer, protocol, code, payload }));
            }
            Some(LinkCommand::Status(_)) => {}
            Some(LinkCommand::Penalise { reason, .. }) => return reason,
            Some(LinkCommand::Disconnect { reason, .. }) => return format!("disconnect {reason}"),
            None => return "the end".to_owned(),
        }
    }
}

/// A chain with blocks, which serves them.
fn server(generator: &Generator, blocks: &[Block]) -> Rig {
    let bare = Bare::temporary(generator.spec());
    bare.import_all(blocks, &BulkOptions::default()).unwrap();
    Rig::around(bare, Vec::new())
}

/// A node that syncs.
fn client(store: Arc<dyn Store>, generator: &Generator, mode: SyncMode) -> Rig {
    watched(store, generator, mode).0
}

/// The same, with how far its sync is.
fn watched(store: Arc<dyn Store>, generator: &Generator, mode: SyncMode) -> (Rig, Arc<SyncStatus>) {
    let rig = Rig::around(Bare::on(store, generator.spec(), false), Vec::new());
    let options = SyncOptions { patience: Duration::from_millis(20), mode, ..SyncOptions::default() };
    let sync = Sync::new(Arc::clone(&rig.bare.chain), Arc::new(rig.peers.clone()), options);
    sync.spawn(&rig.supervisor);
    (rig, sync.status())
}

/// What was told of a state, each time that an answer was about to come.
type Told = Arc<Mutex<Vec<StateProgress>>>;

/// Looks at what is told of a state, and then does as another hook.
fn watching(status: Arc<SyncStatus>, mut hook: Hook) -> (Hook, Told) {
    let told = Told::default();
    let seen = Arc::clone(&told);
    let hook: Hook = Box::new(move |send| {
        seen.lock().unwrap().extend(status.progress(0).map(|progress| progress.state));
        hook(send)
    });
    (hook, told)
}

fn empty(generator: &Generator) -> Rig {
    client(quintet_store::open_temporary().unwrap(), generator, SyncMode::Snap)
}

/// That a store has the generator's state at its head, and the blocks below it.
fn assert_state(store: &dyn Store, generator: &Generator) {
    let head = generator.head();
    assert_eq!(store.head().unwrap(), Some(head));
    let (reader, state) = (store.state_at(head.number).unwrap(), generator.state());
    for (address, expected) in state.accounts() {
        let account = reader.account(&address).unwrap().expect("an account");
        let fields = (account.nonce, account.balance, account.code_hash);
        assert_eq!(fields, (expected.nonce, expected.balance, expected.code_hash), "{address}");
        if account.has_code() {
            assert!(reader.code(&account.code_hash).unwrap().is_some());
        }
        for (slot, value) in state.slots(&address) {
            assert_eq!(
                reader.storage(&address, account.incarnation, &slot).unwrap(),
                value,
                "{address} {slot}"
            );
        }
    }
    for number in 0..=head.number {
        let hash = store.canonical_hash(number).unwrap().expect("no gap");
        let block = store.block(&hash).unwrap().expect("a block");
        let receipts = store.receipts(&hash).unwrap().expect("receipts");
        assert_eq!(receipts.len(), block.senders.len());
        for transaction in &block.block.body.transactions {
            let place = store.transaction_location(transaction.tx_hash()).unwrap().expect("a place");
            assert_eq!(place.block.number, number);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_fetched_and_blocks_go_on_from_it() {
    for network in [Network::Ethash, Network::Clique] {
        let mut generator = Generator::new(Options::small(network));
        let mut blocks = grow(&mut generator, 200, 0);
        let full = server(&generator, &blocks);
        let node = empty(&generator);
        let carried = tokio::spawn(carry(full.link(1).await, node.link(2).await, 7, honest()));
        until_head(&node.bare.chain, 200).await;
        let first = node.bare.store.first_state().unwrap();
        assert_eq!(first, 200 - DISTANCE, "it was not executed from genesis");
        assert_state(node.bare.store.as_ref(), &generator);
        let below = node.bare.store.state_at(first - 1).map(|_| ()).unwrap_err();
        assert!(matches!(below, StoreError::StateNotHeld { .. }), "{below}");
        // It is a node like any other from now on.
        for _ in 0..4 {
            let block = generator.next_block().block.block.clone();
            tell(&full, &block);
            until_head(&node.bare.chain, block.header.number).await;
            blocks.push(block);
        }
        assert_state(node.bare.store.as_ref(), &generator);
        assert!(!carried.is_finished(), "{}", carried.await.unwrap());
        // Who comes later has it from this one, by its state or by its blocks.
        for mode in [SyncMode::Snap, SyncMode::Full] {
            let later = client(quintet_store::open_temporary().unwrap(), &generator, mode);
            let _carried = tokio::spawn(carry(node.link(3).await, later.link(4).await, 8, honest()));
            until_head(&later.bare.chain, 204).await;
            assert_state(later.bare.store.as_ref(), &generator);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_chain_is_executed() {
    let mut generator = Generator::new(Options::small(Network::Ethash));
    let blocks = grow(&mut generator, 60, 0);
    let full = server(&generator, &blocks);
    let node = empty(&generator);
    let _carried = tokio::spawn(carry(full.link(1).await, node.link(2).await, 7, honest()));
    until_head(&node.bare.chain, 60).await;
    assert_eq!(node.bare.store.first_state().unwrap(), 0);
    node.bare.assert_whole();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pivot_moves_while_the_state_is_fetched() {
    let mut generator = Generator::new(Options::small(Network::Ethash));
    let blocks = grow(&mut generator, 200, 0);
    let full = Arc::new(server(&generator, &blocks));
    let later: Vec<Block> = (0..150).map(|_| generator.next_block().block.block.clone()).collect();
    let store = quintet_store::open_temporary().unwrap();
    let (node, status) = watched(store, &generator, SyncMode::Snap);
    // After a few answers the chain grows, until nobody has the pivot's state any more.
    let (growing, mut count, mut later) = (Arc::clone(&full), 0, Some(later));
    let hook: Hook = Box::new(move |send| {
        count += 1;
        if count == 9
            && let Some(later) = later.take()
        {
            let (last, rest) = later.split_last().unwrap();
            growing.bare.import_all(rest, &BulkOptions::default()).unwrap();
            tell(&growing, last);
        }
        Fate::Pass(send)
    });
    let (hook, told) = watching(status, hook);
    let carried = tokio::spawn(carry(full.link(1).await, node.link(2).await, 7, hook));
    until_head(&node.bare.chain, 350).await;
    // A block that is sent tells of its parent as what the peer has.
    let first = node.bare.store.first_state().unwrap();
    assert!((349 - DISTANCE..=350 - DISTANCE).contains(&first), "{first}");
    assert_state(node.bare.store.as_ref(), &generator);
    assert!(!carried.is_finished(), "{}", carried.await.unwrap());
    let told = told.lock().unwrap();
    assert_eq!(told.first(), Some(&StateProgress::default()));
    assert!(told.is_sorted_by_key(|state| (state.accounts, state.slots, state.codes)), "{told:?}");
    let last = told.last().unwrap();
    assert!(last.accounts > 0 && last.slots > 0 && last.codes > 0, "{last:?}");
    assert!(last.account_bytes > 32 * last.accounts && last.slot_bytes > 64 * last.slots, "{last:?}");
    assert!(last.code_bytes > 0, "{last:?}");
    assert!(told.iter().any(|state| state.missing_nodes > 0), "two states were made one: {told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_gives_a_wrong_state_is_found_out_and_others_go_on() {
    let mut generator = Generator::new(Options::small(Network::Ethash));
    let blocks = grow(&mut generator, 200, 0);
    // Each kind of answer, made wrong in some way.
    let tampers: [(&str, Tamper); 5] = [
        ("accounts", |mut message| {
            if let SnapMessage::AccountRange(range) = &mut message {
                range.accounts.truncate(range.accounts.len() / 2);
            }
            message
        }),
        ("accounts", |mut message| {
            if let SnapMessage::AccountRange(range) = &mut message
                && let Some(account) = range.accounts.first_mut()
            {
                account.account.nonce += 1;
            }
            message
        }),
        ("slots", |mut message| {
            if let SnapMessage::StorageRanges(ranges) = &mut message
                && let Some(slots) = ranges.slots.first_mut()
            {
                slots.pop();
            }
            message
        }),
        ("codes", |mut message| {
            if let SnapMessage::ByteCodes(codes) = &mut message {
                codes.codes.push(Bytes::from_static(b"nobody's").into());
            }
            message
        }),
        ("accounts", |mut message| {
            if let SnapMessage::AccountRange(range) = &mut message {
                range.proof.pop();
            }
            message
        }),
    ];
    let honest_server = server(&generator, &blocks);
    for (place, (what, tamper)) in tampers.into_iter().enumerate() {
        let liar = server(&generator, &blocks);
        let node = empty(&generator);
        let hook: Hook = Box::new(move |send| {
            let message = SnapMessage::decode(send.code.into(), &send.payload).unwrap();
            Fate::Pass(SendMessage { payload: tamper(message).encode(), ..send })
        });
        let found_out = tokio::spawn(carry(liar.link(1).await, node.link(2).await, 7, hook));
        let reason = in_time("the liar is found out", found_out).await.unwrap();
        assert!(reason.contains(what), "case {place}: {reason}");
        // Its link is gone; an honest one has to do.
        let link = u8::try_from(place).unwrap() + 10;
        let _carried = tokio::spawn(carry(honest_server.link(link).await, node.link(3).await, 8, honest()));
        until_head(&node.bare.chain, 200).await;
        assert_eq!(node.bare.store.first_state().unwrap(), 200 - DISTANCE);
        assert_state(node.bare.store.as_ref(), &generator);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_after_a_restart_or_gives_up_what_it_has() {
    let mut generator = Generator::new(Options::small(Network::Ethash));
    let blocks = grow(&mut generator, 200, 0);
    let full = server(&generator, &blocks);
    for (link, mode) in [(1, SyncMode::Snap), (3, SyncMode::Full)] {
        let directory = tempfile::tempdir().unwrap();
        let open = || quintet_store::open(directory.path(), &StoreOptions::default()).unwrap();
        let mut answers = 0;
        {
            let node = client(open(), &generator, SyncMode::Snap);
            // Some of the state comes, the rest never does.
            let hook: Hook = Box::new(move |send| {
                answers += 1;
                if answers > 12 { Fate::Drop } else { Fate::Pass(send) }
            });
            let carried = tokio::spawn(carry(full.link(link).await, node.link(2).await, 7, hook));
            in_time("some of the state", async {
                while node.bare.store.base_accounts(&B256::ZERO, 1).unwrap().is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            assert!(node.bare.chain.is_fetching_state());
            assert_eq!(node.bare.chain.head().block.number, 0, "nothing is seen of it");
            let refused = node.bare.import(&generator.next_block().block).map(|_| ()).unwrap_err();
            assert!(matches!(refused, ChainError::FetchingState), "{refused}");
            carried.abort();
            node.supervisor.shutdown();
            let syncing = Arc::clone(&node.bare.chain);
            drop(node);
            in_time("the end", async {
                while Arc::strong_count(&syncing) > 1 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
        let generator = {
            // The block that was refused is on nobody's chain.
            let mut again = Generator::new(Options::small(Network::Ethash));
            assert_eq!(grow(&mut again, 200, 0).len(), blocks.len());
            again
        };
        let store = open();
        let held = store.base_accounts(&B256::ZERO, usize::MAX).unwrap().len() as u64;
        assert!(store.meta(COUNTS).unwrap().is_some());
        let (node, status) = watched(store, &generator, mode);
        let (hook, told) = watching(status, honest());
        let _carried = tokio::spawn(carry(full.link(link + 1).await, node.link(2).await, 7, hook));
        until_head(&node.bare.chain, 200).await;
        assert_state(node.bare.store.as_ref(), &generator);
        let first = if mode == SyncMode::Snap { 200 - DISTANCE } else { 0 };
        assert_eq!(node.bare.store.first_state().unwrap(), first);
        assert!(!node.bare.chain.is_fetching_state());
        assert_eq!(node.bare.store.meta(COUNTS).unwrap(), None);
        let again = told.lock().unwrap().first().map(|state| state.accounts);
        assert_eq!(again, (mode == SyncMode::Snap).then_some(held), "it counts on");
    }
}
