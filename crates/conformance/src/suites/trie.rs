//! Trie tests, and the encoding of paths. The node's own trie holds accounts and slots only: it runs what is a
//! state, and the state tests run it at every step. The rest goes through the hash builder that it is checked against.

use super::json::{self, same};
use crate::report::Outcome;
use crate::runner::Sink;
use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use alloy_rlp::Decodable;
use alloy_trie::nodes::encode_path_leaf;
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles, TrieAccount};
use quintet_trie::{FullRoot, Layer};
use quintet_types::{Account, AccountDiff, StateDiff};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "in")]
    input: Value,
    root: B256,
    #[serde(rename = "hexEncoded", default)]
    _hex: bool,
}

const PREFIX: &str =
    "a key that begins another one puts a value into a branch, which no trie of Ethereum has";

pub(super) fn run(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: BTreeMap<String, Case> = json::read(&sink.bytes()?)?;
    let secure = sink.stem().to_lowercase().contains("secure");
    for (name, case) in &cases {
        sink.case(if secure { "hashed keys" } else { "plain keys" }, name, |_| {
            let entries = match entries(&case.input) {
                Ok(entries) => entries,
                Err(why) => return Outcome::Failed(why),
            };
            run_case(&entries, secure, &case.root)
        });
    }
    Ok(())
}

fn run_case(entries: &BTreeMap<Vec<u8>, Vec<u8>>, secure: bool, root: &B256) -> Outcome {
    let hashed: BTreeMap<Vec<u8>, &[u8]> = entries
        .iter()
        .map(|(key, value)| (if secure { keccak256(key).to_vec() } else { key.clone() }, value.as_slice()))
        .collect();
    let keys: Vec<&Vec<u8>> = hashed.keys().collect();
    if keys.windows(2).any(|pair| pair[1].starts_with(pair[0])) {
        return Outcome::Skipped(PREFIX.into());
    }
    let mut builder = HashBuilder::default();
    for (key, value) in &hashed {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    let result = same("root", &builder.root(), root).and_then(|()| match accounts(entries) {
        Some(accounts) if secure => run_state(&accounts, root),
        _ => Ok(()),
    });
    result.into()
}

/// The entries after all changes, in order; a value that is null takes its key away.
fn entries(input: &Value) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, String> {
    let pairs: Vec<(&str, Option<&str>)> = match input {
        Value::Object(map) => map.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
        Value::Array(list) => list
            .iter()
            .map(|pair| Ok((pair[0].as_str().ok_or("a key that is no text")?, pair[1].as_str())))
            .collect::<Result<_, &str>>()?,
        other => return Err(format!("unknown input {other}")),
    };
    let bytes = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).map_err(|error| error.to_string()),
        None => Ok(text.as_bytes().to_vec()),
    };
    let mut entries = BTreeMap::new();
    for (key, value) in pairs {
        match value {
            Some(value) => entries.insert(bytes(key)?, bytes(value)?),
            None => entries.remove(&bytes(key)?),
        };
    }
    Ok(entries)
}

/// The entries as a state, if they are one without storage.
fn accounts(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<BTreeMap<Address, Account>> {
    let account = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let account = TrieAccount::decode(&mut value.as_slice()).ok()?;
        let TrieAccount { nonce, balance, storage_root, code_hash } = account;
        let address = Address::try_from(key.as_slice()).ok()?;
        (storage_root == EMPTY_ROOT_HASH)
            .then_some((address, Account { nonce, balance, code_hash, incarnation: 0 }))
    };
    entries.iter().map(account).collect()
}

/// The node's trie: accounts added at once, one after the other in either order, and from scratch.
fn run_state(accounts: &BTreeMap<Address, Account>, root: &B256) -> Result<(), String> {
    let diff = |accounts: &[(&Address, &Account)]| {
        let diff =
            |after: &Account| AccountDiff { before: None, after: Some(*after), storage: BTreeMap::new() };
        let accounts = accounts.iter().map(|(address, account)| (**address, diff(account))).collect();
        StateDiff { accounts, ..StateDiff::default() }
    };
    let all: Vec<_> = accounts.iter().collect();
    let one_by_one = |order: &mut dyn Iterator<Item = (&Address, &Account)>| {
        let mut trie = Layer::new();
        let mut root = EMPTY_ROOT_HASH;
        for account in order {
            let (next, update) =
                quintet_trie::update(&trie, &diff(&[account])).map_err(|error| error.to_string())?;
            trie.apply(update);
            root = next;
        }
        Ok::<_, String>(root)
    };
    let (at_once, _) = quintet_trie::update(&Layer::new(), &diff(&all)).map_err(|error| error.to_string())?;
    let mut full = FullRoot::new();
    for (address, account) in accounts {
        full.add(address, account, std::iter::empty::<(U256, U256)>());
    }
    same("root at once", &at_once, root)?;
    same("root one by one", &one_by_one(&mut accounts.iter())?, root)?;
    same("root in the other order", &one_by_one(&mut accounts.iter().rev())?, root)?;
    same("root from scratch", &full.root(), root)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Path {
    seq: Vec<u8>,
    term: bool,
    out: Bytes,
}

/// `hexencodetest`: nibbles, and whether a value ends them.
pub(super) fn run_paths(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: BTreeMap<String, Path> = json::read(&sink.bytes()?)?;
    for (name, case) in &cases {
        sink.check("paths", name, || {
            let encoded = encode_path_leaf(&Nibbles::from_nibbles(&case.seq), case.term);
            same("encoding", &hex::encode(&encoded), &hex::encode(&case.out))
        });
    }
    Ok(())
}
