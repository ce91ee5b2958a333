//! What peers are served.

use crate::peers_rig::{Rig, Script, connected};
use alloy_primitives::map::B256Map;
use alloy_primitives::{B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::Decodable;
use alloy_trie::nodes::TrieNode;
use quintet_chain::peers::{GetBlockHeaders, HashOrNumber};
use quintet_eth_wire::{
    EthMessage, EthVersion, GetAccountRange, GetByteCodes, GetStorageRanges, GetTrieNodes, SnapMessage,
    Tagged,
};
use quintet_testkit::generate::Network;
use quintet_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};
use quintet_types::{Body, Receipts};
use std::collections::{BTreeMap, VecDeque};

const BLOCKS: usize = 40;
const FIRST: HashOrNumber = HashOrNumber::Number(0);

async fn rig(version: EthVersion) -> (Rig, Script) {
    let rig = Rig::new(Network::Ethash, BLOCKS);
    let mut link = rig.link(1).await;
    link.up(1, version);
    connected(&rig, 1).await;
    (rig, link)
}

fn hash(rig: &Rig, number: usize) -> B256 {
    match number.checked_sub(1) {
        Some(place) => rig.blocks[place].block.hash,
        None => rig.bare.store.canonical_hash(0).unwrap().unwrap(),
    }
}

/// Numbers of the headers that are given for a request.
async fn numbers(link: &mut Script, start: HashOrNumber, limit: u64, skip: u64, reverse: bool) -> Vec<u64> {
    let body = GetBlockHeaders { start, limit, skip, reverse };
    link.say(1, &EthMessage::GetBlockHeaders(Tagged { id: 7, body }));
    let (_, EthMessage::BlockHeaders(answer)) = link.answer().await else { panic!("no headers") };
    assert_eq!(answer.id, 7);
    answer.body.iter().map(|header| header.number).collect()
}

#[tokio::test]
async fn headers_are_given_as_geth_gives_them() {
    let (rig, mut link) = rig(EthVersion::Eth68).await;
    let link = &mut link;
    let head = BLOCKS as u64;
    let by_hash = |number| HashOrNumber::Hash(hash(&rig, number));
    let by_number = HashOrNumber::Number;
    assert_eq!(numbers(link, by_number(1), 3, 0, false).await, [1, 2, 3]);
    assert_eq!(numbers(link, by_hash(1), 3, 0, false).await, [1, 2, 3]);
    assert_eq!(numbers(link, by_number(5), 3, 0, true).await, [5, 4, 3]);
    assert_eq!(numbers(link, by_hash(5), 3, 1, true).await, [5, 3, 1]);
    assert_eq!(numbers(link, by_number(3), 3, 9, false).await, [3, 13, 23]);
    assert_eq!(numbers(link, by_hash(3), 4, 9, false).await, [3, 13, 23, 33]);
    // The chain's ends.
    assert_eq!(numbers(link, by_number(head), 1, 0, false).await, [head]);
    assert_eq!(numbers(link, by_number(head - 1), 9, 0, false).await, [head - 1, head]);
    assert_eq!(numbers(link, by_number(head - 2), 9, 1, false).await, [head - 2, head]);
    assert_eq!(numbers(link, by_number(2), 9, 0, true).await, [2, 1, 0]);
    assert_eq!(numbers(link, by_number(3), 9, 1, true).await, [3, 1]);
    assert_eq!(numbers(link, by_hash(4), 9, 1, true).await, [4, 2, 0]);
    assert_eq!(numbers(link, FIRST, 2, 0, true).await, [0]);
    // What is not there.
    assert!(numbers(link, by_number(head + 1), 1, 0, false).await.is_empty());
    assert!(numbers(link, HashOrNumber::Hash(B256::repeat_byte(7)), 1, 0, false).await.is_empty());
    assert!(numbers(link, FIRST, 0, 0, false).await.is_empty());
    // Numbers that go round.
    for skip in [u64::MAX, u64::MAX - 1, u64::MAX / 2] {
        for reverse in [false, true] {
            assert_eq!(numbers(link, by_number(3), 9, skip, reverse).await, [3], "{skip}");
            assert_eq!(numbers(link, by_hash(3), 9, skip, reverse).await, [3], "{skip}");
        }
    }
    assert!(numbers(link, by_number(u64::MAX), 9, 0, false).await.is_empty());
    assert_eq!(numbers(link, FIRST, u64::MAX, 0, false).await.len(), BLOCKS + 1);
}

#[tokio::test]
async fn ancestors_of_blocks_beside_the_chain_are_given_by_hash() {
    let (rig, mut link) = rig(EthVersion::Eth68).await;
    // The last five blocks leave the chain; three others take their places.
    let mut generator =
        quintet_testkit::generate::Generator::new(quintet_testkit::generate::Options::small(Network::Ethash));
    for _ in 0..BLOCKS - 5 {
        generator.next_block();
    }
    let mut branch = generator.branch(5);
    let others: Vec<_> = (0..3).map(|_| branch.next_block()).collect();
    let chain = std::sync::Arc::clone(&rig.bare.chain);
    let imported = others.clone();
    tokio::task::spawn_blocking(move || {
        chain.rewind(BLOCKS as u64 - 5).unwrap();
        for executed in imported {
            chain.import((*executed.block).clone(), 0).unwrap();
        }
    })
    .await
    .unwrap();
    let link = &mut link;
    let side = HashOrNumber::Hash(hash(&rig, BLOCKS));
    let head = BLOCKS as u64;
    assert_eq!(numbers(link, side, 8, 0, true).await, (0..8).map(|n| head - n).collect::<Vec<_>>());
    assert_eq!(numbers(link, side, 4, 2, true).await, [head, head - 3, head - 6, head - 9]);
    // It has no canonical descendants.
    assert_eq!(numbers(link, HashOrNumber::Hash(hash(&rig, BLOCKS - 3)), 3, 0, false).await, [head - 3]);
    let body = GetBlockHeaders { start: side, limit: 6, skip: 0, reverse: true };
    link.say(1, &EthMessage::GetBlockHeaders(Tagged { id: 1, body }));
    let (_, EthMessage::BlockHeaders(answer)) = link.answer().await else { panic!() };
    for pair in answer.body.windows(2) {
        assert_eq!(pair[0].parent_hash, pair[1].hash_slow());
    }
}

#[tokio::test]
async fn bodies_and_receipts_are_given_in_the_form_of_the_version() {
    for version in [EthVersion::Eth63, EthVersion::Eth66, EthVersion::Eth68, EthVersion::Eth69] {
        let (rig, mut link) = rig(version).await;
        let mut hashes: Vec<B256> = rig.blocks.iter().map(|executed| executed.block.hash).collect();
        // An answer ends at what is not held.
        hashes.insert(5, B256::repeat_byte(1));
        let id = if version.has_request_ids() { 42 } else { 0 };
        link.say(1, &EthMessage::GetBlockBodies(Tagged { id, body: hashes.clone() }));
        let held = &rig.blocks[..5];
        let bodies: Vec<Body> = held.iter().map(|executed| executed.block.block.body.clone()).collect();
        assert_eq!(link.answer().await.1, EthMessage::BlockBodies(Tagged { id, body: bodies }));
        link.say(1, &EthMessage::GetReceipts(Tagged { id, body: hashes }));
        let receipts: Vec<Receipts> =
            held.iter().map(|executed| Receipts::clone(&executed.receipts)).collect();
        assert_eq!(link.answer().await.1, EthMessage::Receipts(Tagged { id, body: receipts }));
    }
}

/// Fetches a whole state as a node of `eth/63` does: the root first, then what each node names. Returns the accounts by
/// hashed address, and each one's slots.
async fn fast_sync(link: &mut Script, root: B256) -> BTreeMap<B256, (TrieAccount, usize)> {
    let mut queue = VecDeque::from([(root, Nibbles::new(), None::<B256>)]);
    let mut accounts: BTreeMap<B256, (TrieAccount, usize)> = BTreeMap::new();
    let mut codes = Vec::new();
    while !queue.is_empty() {
        let batch: Vec<_> = queue.drain(..queue.len().min(100)).collect();
        let body: Vec<B256> = batch.iter().map(|(hash, ..)| *hash).collect();
        link.say(1, &EthMessage::GetNodeData(Tagged { id: 0, body }));
        let (_, EthMessage::NodeData(answer)) = link.answer().await else { panic!("no node data") };
        let by_hash: B256Map<Bytes> = answer.body.into_iter().map(|data| (keccak256(&data), data)).collect();
        for (hash, path, owner) in batch {
            let rlp =
                by_hash.get(&hash).unwrap_or_else(|| panic!("{hash} at {path:?} of {owner:?} is not given"));
            visit(rlp, path, owner, &mut queue, &mut accounts, &mut codes);
        }
    }
    for code in codes {
        link.say(1, &EthMessage::GetNodeData(Tagged { id: 0, body: vec![code] }));
        let (_, EthMessage::NodeData(answer)) = link.answer().await else { panic!("no node data") };
        assert_eq!(keccak256(&answer.body[0]), code);
    }
    accounts
}

fn visit(
    rlp: &[u8],
    path: Nibbles,
    owner: Option<B256>,
    queue: &mut VecDeque<(B256, Nibbles, Option<B256>)>,
    accounts: &mut BTreeMap<B256, (TrieAccount, usize)>,
    codes: &mut Vec<B256>,
) {
    let mut follow = |link: &alloy_trie::nodes::RlpNode, path: Nibbles| {
        if let Some(hash) = link.as_hash() {
            queue.push_back((hash, path, owner));
        } else {
            let owner = owner.expect("accounts are long");
            accounts.get_mut(&owner).unwrap().1 += 1;
        }
    };
    match TrieNode::decode(&mut &*rlp).unwrap() {
        TrieNode::EmptyRoot => panic!("an empty trie has no node"),
        TrieNode::Branch(branch) => {
            for (nibble, child) in branch.as_ref().children() {
                if let Some(child) = child {
                    follow(child, path.join(&Nibbles::from_nibbles([nibble])));
                }
            }
        }
        TrieNode::Extension(extension) => follow(&extension.child, path.join(&extension.key)),
        TrieNode::Leaf(leaf) => {
            let key = B256::from_slice(&path.join(&leaf.key).pack());
            if let Some(owner) = owner {
                accounts.get_mut(&owner).unwrap().1 += 1;
                return;
            }
            let account = TrieAccount::decode(&mut &leaf.value[..]).unwrap();
            if account.storage_root != EMPTY_ROOT_HASH {
                queue.push_back((account.storage_root, Nibbles::new(), Some(key)));
            }
            if account.code_hash != KECCAK256_EMPTY {
                codes.push(account.code_hash);
            }
            accounts.insert(key, (account, 0));
        }
    }
}

/// Accounts of a state, and how many slots each has, from the store.
fn state(rig: &Rig, number: u64) -> BTreeMap<B256, usize> {
    let mut accounts = Vec::new();
    let mut account = |address, account: quintet_types::Account| {
        accounts.push((address, account));
        std::ops::ControlFlow::Continue(())
    };
    rig.bare.store.for_each_account(number, alloy_primitives::Address::ZERO, &mut account).unwrap();
    let slots = |(address, account): (alloy_primitives::Address, quintet_types::Account)| {
        let mut count = 0;
        let mut slot = |_, _| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        };
        let (store, incarnation) = (&rig.bare.store, account.incarnation);
        store.for_each_storage(&address, incarnation, number, U256::ZERO, &mut slot).unwrap();
        (keccak256(address), count)
    };
    accounts.into_iter().map(slots).collect()
}

#[tokio::test]
async fn a_node_of_the_old_days_gets_a_whole_state_by_hashes() {
    let (rig, mut link) = rig(EthVersion::Eth63).await;
    for behind in [0, 7, 30] {
        let number = BLOCKS - behind;
        let root = rig.blocks[number - 1].block.header().state_root;
        let got = fast_sync(&mut link, root).await;
        let got: BTreeMap<B256, usize> = got.into_iter().map(|(hash, (_, slots))| (hash, slots)).collect();
        assert_eq!(got, state(&rig, number as u64), "{behind} blocks behind");
    }
    // What is not at hand is left out.
    let root = rig.blocks[BLOCKS - 1].block.header().state_root;
    let body = vec![B256::repeat_byte(1), root, B256::repeat_byte(2)];
    link.say(1, &EthMessage::GetNodeData(Tagged { id: 0, body }));
    let (_, EthMessage::NodeData(answer)) = link.answer().await else { panic!() };
    assert_eq!(answer.body.len(), 1);
}

#[tokio::test]
async fn a_state_is_served_while_the_head_moves() {
    let (rig, mut link) = rig(EthVersion::Eth68).await;
    let chain = std::sync::Arc::clone(&rig.bare.chain);
    tokio::task::spawn_blocking(move || chain.rewind(BLOCKS as u64 - 8)).await.unwrap().unwrap();
    let root = rig.blocks[BLOCKS - 13].block.header().state_root;
    let (origin, limit) = (B256::ZERO, B256::repeat_byte(0xff));
    let request =
        SnapMessage::GetAccountRange(GetAccountRange { id: 3, root, origin, limit, bytes: 1 << 20 });
    let first = snap(&mut link, request.clone()).await;
    let SnapMessage::AccountRange(range) = &first else { panic!() };
    assert_eq!(range.accounts.len(), state(&rig, BLOCKS as u64 - 12).len());
    for executed in &rig.blocks[BLOCKS - 8..] {
        let (chain, block) = (std::sync::Arc::clone(&rig.bare.chain), (*executed.block).clone());
        tokio::task::spawn_blocking(move || chain.import(block, 0)).await.unwrap().unwrap();
        assert_eq!(
            snap(&mut link, request.clone()).await,
            first,
            "at {}",
            rig.bare.chain.head().block.number
        );
    }
    // A reorg takes nothing away that is below it.
    let chain = std::sync::Arc::clone(&rig.bare.chain);
    tokio::task::spawn_blocking(move || chain.rewind(BLOCKS as u64 - 5)).await.unwrap().unwrap();
    assert_eq!(snap(&mut link, request).await, first);
}

async fn snap(link: &mut Script, request: SnapMessage) -> SnapMessage {
    link.say_snap(1, &request);
    link.snap_message().await
}

#[tokio::test]
async fn ranges_of_a_state_are_given_with_their_proofs() {
    let (rig, mut link) = rig(EthVersion::Eth68).await;
    let link = &mut link;
    for number in [BLOCKS, BLOCKS - 9] {
        let root = rig.blocks[number - 1].block.header().state_root;
        let expected = state(&rig, number as u64);
        // All accounts, in small pieces.
        let mut origin = B256::ZERO;
        let mut accounts = BTreeMap::new();
        loop {
            let limit = B256::repeat_byte(0xff);
            let request =
                SnapMessage::GetAccountRange(GetAccountRange { id: 3, root, origin, limit, bytes: 500 });
            let SnapMessage::AccountRange(range) = snap(link, request).await else { panic!() };
            assert_eq!(range.id, 3);
            assert!(range.accounts.len() < 20, "the soft limit holds");
            check_proof(root, &range.proof, origin, None);
            let Some(last) = range.accounts.last().map(|account| account.hash) else { break };
            for account in range.accounts {
                let quintet_eth_wire::SlimAccount { nonce, balance, storage_root, code_hash } =
                    account.account;
                let full = TrieAccount { nonce, balance, storage_root, code_hash };
                if account.hash == last {
                    check_proof(root, &range.proof, last, Some(&alloy_rlp::encode(full)));
                }
                accounts.insert(account.hash, full);
            }
            origin = B256::from(U256::from_be_bytes(last.0).wrapping_add(U256::ONE));
        }
        assert!(accounts.keys().eq(expected.keys()));
        slots_of_all(link, root, &accounts, &expected).await;
        codes_of_all(link, &accounts).await;
    }
}

async fn slots_of_all(
    link: &mut Script,
    root: B256,
    accounts: &BTreeMap<B256, TrieAccount>,
    expected: &BTreeMap<B256, usize>,
) {
    let with_storage: Vec<B256> = accounts
        .iter()
        .filter(|(_, account)| account.storage_root != EMPTY_ROOT_HASH)
        .map(|(hash, _)| *hash)
        .collect();
    assert!(with_storage.len() > 2);
    // Whole storages come without a proof.
    let (origin, limit) = (None, None);
    let request =
        GetStorageRanges { id: 4, root, accounts: with_storage.clone(), origin, limit, bytes: 1 << 20 };
    let SnapMessage::StorageRanges(ranges) = snap(link, SnapMessage::GetStorageRanges(request)).await else {
        panic!()
    };
    assert!(ranges.proof.is_empty());
    let counts: Vec<usize> = ranges.slots.iter().map(Vec::len).collect();
    assert_eq!(counts, with_storage.iter().map(|hash| expected[hash]).collect::<Vec<_>>());
    // A part of one comes with one.
    let largest = *with_storage.iter().max_by_key(|hash| expected[*hash]).unwrap();
    let storage_root = accounts[&largest].storage_root;
    let (mut origin, mut got) = (B256::ZERO, 0);
    while got < expected[&largest] {
        let request = GetStorageRanges {
            id: 5,
            root,
            accounts: vec![largest],
            origin: Some(origin),
            limit: Some(B256::repeat_byte(0xff)),
            bytes: 300,
        };
        let SnapMessage::StorageRanges(ranges) = snap(link, SnapMessage::GetStorageRanges(request)).await
        else {
            panic!()
        };
        let slots = &ranges.slots[0];
        got += slots.len();
        let last = slots.last().unwrap();
        if !ranges.proof.is_empty() {
            check_proof(storage_root, &ranges.proof, last.hash, Some(&last.data));
        }
        origin = B256::from(U256::from_be_bytes(last.hash.0).wrapping_add(U256::ONE));
    }
    assert_eq!(got, expected[&largest]);
    // Nodes by path: the roots.
    let paths = vec![
        vec![Bytes::from(vec![0])],
        vec![Bytes::copy_from_slice(largest.as_slice()), Bytes::from(vec![0])],
    ];
    let request = GetTrieNodes { id: 6, root, paths, bytes: 1 << 20 };
    let SnapMessage::TrieNodes(nodes) = snap(link, SnapMessage::GetTrieNodes(request)).await else {
        panic!()
    };
    let hashes: Vec<B256> = nodes.nodes.iter().map(keccak256).collect();
    assert_eq!(hashes, [root, storage_root]);
    odd_paths(link, root, largest, storage_root).await;
}

/// What leads nowhere has an empty node in its place; accounts that are not there have nothing.
async fn odd_paths(link: &mut Script, root: B256, account: B256, storage_root: B256) {
    let whole = || Bytes::from(vec![0]);
    let [account, absent] =
        [account, B256::repeat_byte(1)].map(|hash| Bytes::copy_from_slice(hash.as_slice()));
    let paths = vec![
        vec![Bytes::from(vec![7; 55])],
        vec![Bytes::from(vec![0x20])],
        vec![Bytes::from([&[0], account.as_ref()].concat())],
        vec![whole()],
        vec![account, Bytes::from(vec![0; 40]), whole()],
        vec![absent, whole(), whole()],
        vec![Bytes::from(vec![1]), whole()],
        vec![Bytes::from([&[0x11], root.as_slice()].concat())],
    ];
    let request = GetTrieNodes { id: 7, root, paths, bytes: 1 << 20 };
    let SnapMessage::TrieNodes(nodes) = snap(link, SnapMessage::GetTrieNodes(request)).await else {
        panic!()
    };
    let hashes: Vec<B256> = nodes.nodes.iter().map(keccak256).collect();
    let none = KECCAK256_EMPTY;
    assert_eq!(hashes, [none, none, none, root, none, storage_root, none]);
}

async fn codes_of_all(link: &mut Script, accounts: &BTreeMap<B256, TrieAccount>) {
    let mut hashes: Vec<B256> = accounts.values().map(|account| account.code_hash).collect();
    hashes.push(B256::repeat_byte(1));
    let request = GetByteCodes { id: 8, hashes: hashes.clone(), bytes: 1 << 20 };
    let SnapMessage::ByteCodes(codes) = snap(link, SnapMessage::GetByteCodes(request)).await else {
        panic!()
    };
    let got: Vec<B256> = codes.codes.iter().map(keccak256).collect();
    hashes.pop();
    assert_eq!(got, hashes);
}

/// Follows a key through a proof's nodes.
fn check_proof(root: B256, proof: &[Bytes], key: B256, value: Option<&[u8]>) {
    let nodes: B256Map<&Bytes> = proof.iter().map(|node| (keccak256(node), node)).collect();
    let key = Nibbles::unpack(key);
    let (mut at, mut rlp) = (Nibbles::new(), nodes[&root].to_vec());
    loop {
        let (below, link) = match TrieNode::decode(&mut &rlp[..]).unwrap() {
            TrieNode::EmptyRoot => return assert_eq!(value, None),
            TrieNode::Leaf(leaf) => {
                let found = (at.join(&leaf.key) == key).then_some(&leaf.value[..]);
                return assert!(value.is_none() || found == value);
            }
            TrieNode::Extension(extension) => (at.join(&extension.key), Some(extension.child)),
            TrieNode::Branch(branch) => {
                let nibble = key.get(at.len()).unwrap();
                let child = branch
                    .as_ref()
                    .children()
                    .find(|(at, _)| *at == nibble)
                    .and_then(|(_, child)| child.cloned());
                (at.join(&Nibbles::from_nibbles([nibble])), child)
            }
        };
        let Some(link) = link.filter(|_| key.starts_with(&below)) else { return assert_eq!(value, None) };
        at = below;
        rlp = match link.as_hash() {
            Some(hash) => nodes.get(&hash).expect("a node of the proof").to_vec(),
            None => link.as_slice().to_vec(),
        };
    }
}

#[tokio::test]
async fn a_state_that_is_not_at_hand_has_empty_answers() {
    let (_rig, mut link) = rig(EthVersion::Eth68).await;
    let (root, limit) = (B256::repeat_byte(1), B256::repeat_byte(0xff));
    let request = GetAccountRange { id: 1, root, origin: B256::ZERO, limit, bytes: 1000 };
    let SnapMessage::AccountRange(range) = snap(&mut link, SnapMessage::GetAccountRange(request)).await
    else {
        panic!()
    };
    assert!(range.accounts.is_empty() && range.proof.is_empty());
    let paths = vec![vec![Bytes::new()]];
    let request = GetTrieNodes { id: 2, root, paths, bytes: 1000 };
    let SnapMessage::TrieNodes(nodes) = snap(&mut link, SnapMessage::GetTrieNodes(request)).await else {
        panic!()
    };
    assert!(nodes.nodes.is_empty());
    // A set without a path is no request.
    let request = GetTrieNodes { id: 2, root, paths: vec![Vec::new()], bytes: 1000 };
    link.say_snap(1, &SnapMessage::GetTrieNodes(request));
    assert_eq!(link.penalty(1).await.0, 50);
}

#[tokio::test]
async fn answers_end_at_their_limits() {
    let (rig, mut link) = rig(EthVersion::Eth68).await;
    // A thousand times the same body is too much.
    let fullest = rig.blocks.iter().max_by_key(|executed| executed.block.senders.len()).unwrap();
    let body = vec![fullest.block.hash; 20_000];
    link.say(1, &EthMessage::GetBlockBodies(Tagged { id: 1, body: body.clone() }));
    let (_, EthMessage::BlockBodies(answer)) = link.answer().await else { panic!() };
    let size: usize = answer.body.iter().map(alloy_rlp::Encodable::length).sum();
    assert!(size < (2 << 20) + (64 << 10) && answer.body.len() <= 1024, "{size}");
    link.say(1, &EthMessage::GetReceipts(Tagged { id: 1, body }));
    let (_, EthMessage::Receipts(answer)) = link.answer().await else { panic!() };
    assert!(!answer.body.is_empty() && answer.body.len() <= 1024);
    // Limits of range requests are the server's, whatever is asked.
    let root = rig.blocks[BLOCKS - 1].block.header().state_root;
    let request =
        GetAccountRange { id: 1, root, origin: B256::ZERO, limit: B256::repeat_byte(0xff), bytes: u64::MAX };
    let SnapMessage::AccountRange(range) = snap(&mut link, SnapMessage::GetAccountRange(request)).await
    else {
        panic!()
    };
    assert_eq!(range.accounts.len(), state(&rig, BLOCKS as u64).len());
}
