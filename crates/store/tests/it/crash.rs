//! A writer that is killed: what it had acknowledged is there, and the store opens.

use crate::chain::{Change, State, address, chain, commit, extend, history};
use alloy_primitives::{B256, U256, keccak256};
use quintet_store::{Commit, FetchedState, Options, Store, StoreError, TrieAccount, TrieFlush, open};
use quintet_types::BlockRef;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DIRECTORY: &str = "QUINTET_TEST_STORE_DIRECTORY";

/// The process that is killed: goes on with the chain that it finds, and prints each block once committed.
#[test]
#[ignore = "run by acknowledged_commits_survive_a_kill"]
fn writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = open(Path::new(&directory), &Options::default()).unwrap();
    let mut out = std::io::stdout();
    let mut parent = store.head().unwrap();
    loop {
        let number = parent.map_or(0, |parent: BlockRef| parent.number + 1);
        let before = parent.map(|parent| store.account_at(&address(1), parent.number).unwrap().unwrap());
        let mut state = State::new();
        if let Some(account) = before {
            state.insert(address(1), (account, std::collections::BTreeMap::new()));
        }
        let block = extend(
            &mut state,
            parent,
            0,
            &[(1, Change::Pay(number, number)), (2, Change::Write(vec![(number, 1)]))],
        );
        parent = Some(block.block.block_ref());
        let nodes = vec![(b"root".to_vec(), Some(number.to_be_bytes().into()))];
        let trie = Some(TrieFlush { block: block.block.block_ref(), wiped_prefixes: vec![], nodes });
        store.commit(Commit { blocks: vec![block], trie, ..Commit::default() }).unwrap();
        writeln!(out, "committed {number}").unwrap();
    }
}

/// Another one: fetches a state and the history below it, a part in each transaction, and prints each.
#[test]
#[ignore = "run by a_fetched_state_survives_a_kill_and_shows_nothing"]
fn fetcher() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = open(Path::new(&directory), &Options::default()).unwrap();
    let mut out = std::io::stdout();
    if store.head().unwrap().is_none() {
        store.commit(commit(&chain(1))).unwrap();
    }
    let blocks = chain(LONGEST);
    for number in parts(&*store) + 1..LONGEST {
        let block = &blocks[usize::try_from(number).unwrap()];
        store.commit(history(std::slice::from_ref(block))).unwrap();
        let account = TrieAccount { nonce: number, ..TrieAccount::default() };
        let hash = keccak256(address(number));
        let part = FetchedState {
            accounts: vec![(hash, account)],
            slots: vec![(hash, keccak256([1; 32]), U256::from(number))],
            nodes: vec![(b"root".to_vec(), Some(number.to_be_bytes().into()))],
            meta: vec![("parts".to_owned(), Some(number.to_be_bytes().into()))],
            ..FetchedState::default()
        };
        store.write_fetched(part).unwrap();
        writeln!(out, "committed {number}").unwrap();
    }
}

/// Blocks of the chain that the fetcher is to write.
const LONGEST: u64 = 20_000;

/// How many parts the fetcher has written.
fn parts(store: &dyn Store) -> u64 {
    let parts = store.meta("parts").unwrap();
    parts.map_or(0, |parts| u64::from_be_bytes(parts[..].try_into().unwrap()))
}

#[test]
fn a_fetched_state_survives_a_kill_and_shows_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..4 {
        last = killed(directory.path(), "crash::fetcher");
        let store = open(directory.path(), &Options::default()).unwrap();
        let parts = parts(&*store);
        assert!(parts >= last, "part {last} is lost, there are {parts}");
        // All of a part is there, and nothing of it shows.
        let accounts = store.base_accounts(&B256::ZERO, 100_000).unwrap();
        assert_eq!(accounts.len() as u64, parts);
        for (hash, account) in accounts {
            let slots = store.base_slots(&hash, &B256::ZERO, 9).unwrap();
            assert_eq!(slots, [(keccak256([1; 32]), U256::from(account.nonce))]);
        }
        assert_eq!(store.trie_node(b"root").unwrap().unwrap()[..], parts.to_be_bytes());
        assert_eq!((store.head().unwrap().unwrap().number, store.first_state().unwrap()), (0, 0));
        assert_eq!(store.canonical_hash(1).unwrap(), None);
        assert_eq!(store.account_at(&address(3), 0).unwrap(), None);
    }
    let store = open(directory.path(), &Options::default()).unwrap();
    let head = chain(last + 1)[usize::try_from(last).unwrap()].block.block_ref();
    store.commit(Commit { adopt: Some(head), ..Commit::default() }).unwrap();
    assert_eq!((store.head().unwrap(), store.first_state().unwrap()), (Some(head), last));
    assert_eq!(store.account_at(&address(last), last).unwrap().unwrap().nonce, last);
}

fn start(directory: &Path, writer: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([writer, "--exact", "--ignored", "--nocapture"]).env(DIRECTORY, directory);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn acknowledged_commits_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..6_u64 {
        last = killed(directory.path(), "crash::writer");
        check(directory.path(), last);
    }
    assert!(last > 10, "{last}");
}

/// Starts a writer and kills it at some time; gives the last commit that it acknowledged.
fn killed(directory: &Path, writer: &str) -> u64 {
    let mut child = start(directory, writer);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines =
        lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("committed ")?.parse().ok());
    let first = lines.next().unwrap_or_else(|| panic!("{writer} has committed nothing"));
    assert!(matches!(open(directory, &Options::default()).err(), Some(StoreError::InUse { .. })));
    let delay = Duration::from_micros(1000 + rand::random_range(0..60_000));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(delay);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        lines.last().unwrap_or(first)
    })
}

/// Everything up to block `acknowledged` is there, and whatever is there fits together.
fn check(directory: &Path, acknowledged: u64) {
    let store = open(directory, &Options::default()).unwrap();
    let head = store.head().unwrap().unwrap();
    assert!(head.number >= acknowledged, "block {acknowledged} is lost, the head is {}", head.number);
    assert_eq!(store.trie_block().unwrap(), Some(head));
    assert_eq!(store.trie_node(b"root").unwrap().unwrap()[..], head.number.to_be_bytes());
    for number in 0..=head.number {
        let hash = store.canonical_hash(number).unwrap().unwrap();
        assert!(store.block(&hash).unwrap().is_some() && store.receipts(&hash).unwrap().is_some());
        let account = store.account_at(&address(1), number).unwrap().unwrap();
        assert_eq!(account.nonce, number);
        assert_eq!(store.changes(number).unwrap().accounts.len(), 2);
    }
}
