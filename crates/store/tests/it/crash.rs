//! A writer that is killed: what it had acknowledged is there, and the store opens.

use crate::chain::{Change, State, address, extend};
use quintet_store::{Commit, Options, StoreError, TrieFlush, open};
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

fn start(directory: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["crash::writer", "--exact", "--ignored", "--nocapture"]).env(DIRECTORY, directory);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn acknowledged_commits_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = None;
    for round in 0..6_u64 {
        let mut child = start(directory.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("committed ")?.parse().ok());
        last = Some(lines.next().unwrap_or_else(|| panic!("nothing committed in round {round}")));
        assert!(matches!(open(directory.path(), &Options::default()).err(), Some(StoreError::InUse { .. })));
        let delay = Duration::from_micros(1000 + rand::random_range(0..60_000));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(delay);
                child.kill().unwrap();
                child.wait().unwrap();
            });
            last = lines.last().or(last);
        });
        check(directory.path(), last.unwrap());
    }
    assert!(last > Some(10), "{last:?}");
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
