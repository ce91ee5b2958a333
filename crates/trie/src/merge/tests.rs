//! Tries with short keys, whose nodes are inlined at every depth, and the vectors of other implementations.

use super::*;
use crate::{Layer, TrieError, TrieUpdate};
use alloy_primitives::{hex, keccak256};
use alloy_trie::HashBuilder;
use proptest::prelude::*;
use quintet_testkit::vectors::{archive, files};
use std::collections::BTreeMap;

/// A pass with its hashes.
struct Done {
    old_root: B256,
    root: B256,
    update: TrieUpdate,
}

fn merge(reader: &dyn NodeReader, changes: &[Change]) -> Result<Done, TrieError> {
    let mut passes = [(Owner::State, super::merge(reader, &Owner::State, false, changes)?)];
    seal(reader, &mut passes)?;
    let [(owner, merged)] = passes;
    let (old_root, root) = (merged.old_root, merged.root());
    let mut update = TrieUpdate::default();
    update.push(owner, merged);
    Ok(Done { old_root, root, update })
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn changes(ops: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Vec<Change> {
    let value = |value: &Option<Vec<u8>>| match value {
        None => Value::Delete,
        Some(bytes) => Value::Raw(bytes.clone().into()),
    };
    ops.iter().map(|(key, op)| Change { key: Nibbles::unpack(key), value: value(op) }).collect()
}

/// Applies to a flat map of nodes, as a store would.
fn apply(nodes: &mut BTreeMap<Nibbles, Bytes>, merged: &Done) {
    let mut seen = std::collections::BTreeSet::new();
    for (_, path, node, hash) in merged.update.hashed_nodes() {
        assert_eq!(*hash, node.map_or(B256::ZERO, keccak256));
        assert!(seen.insert(*path), "{path:?} written twice");
        match node {
            Some(rlp) => drop(nodes.insert(*path, rlp.clone())),
            None => assert!(nodes.remove(path).is_some(), "{path:?} removed, but was not there"),
        }
    }
}

struct Flat<'a>(&'a BTreeMap<Nibbles, Bytes>);

impl NodeReader for Flat<'_> {
    fn node(&self, _: &Owner, path: &Nibbles) -> Result<Option<Bytes>, TrieError> {
        Ok(self.0.get(path).cloned())
    }
}

fn reference_root(model: &Model) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in model {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few distinct nibbles, so that long prefixes are shared.
    prop::collection::vec(prop::sample::select(vec![0x00, 0x01, 0x10, 0x11, 0xf0, 0xff]), 3)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(1..=255u8, 1..3),
        1 => prop::collection::vec(any::<u8>(), 30..40),
    ]
}

fn block() -> impl Strategy<Value = BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    prop::collection::btree_map(key(), prop_oneof![value().prop_map(Some), Just(None)], 0..100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn short_keys_match_the_hash_builder(blocks in prop::collection::vec(block(), 1..6)) {
        let mut model = Model::new();
        let mut nodes = BTreeMap::new();
        for ops in blocks {
            let before = reference_root(&model);
            for (key, op) in &ops {
                match op {
                    Some(value) => drop(model.insert(key.clone(), value.clone())),
                    None => drop(model.remove(key)),
                }
            }
            let merged = merge(&Flat(&nodes), &changes(&ops)).unwrap();
            apply(&mut nodes, &merged);
            prop_assert_eq!(merged.old_root, before);
            prop_assert_eq!(merged.root, reference_root(&model));
            // The nodes are those of a trie built at once: none missing, none left behind.
            let all = model.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
            let built = merge(&Layer::new(), &changes(&all)).unwrap();
            let mut fresh = BTreeMap::new();
            apply(&mut fresh, &built);
            prop_assert_eq!(&nodes, &fresh);
            let short = nodes.iter().filter(|(path, rlp)| !path.is_empty() && rlp.len() < 32).count();
            prop_assert_eq!(short, 0);
        }
    }

    #[test]
    fn damaged_nodes_give_errors(
        first in block(), second in block(), at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 0..60), cut in any::<bool>(),
    ) {
        let mut nodes = BTreeMap::new();
        apply(&mut nodes, &merge(&Layer::new(), &changes(&first)).unwrap());
        prop_assume!(!nodes.is_empty());
        let path = *nodes.keys().nth(at.index(nodes.len())).unwrap();
        if cut {
            nodes.remove(&path);
        } else {
            nodes.insert(path, with.into());
        }
        let result = merge(&Flat(&nodes), &changes(&second));
        // A root that is gone is an empty trie; a pass that goes elsewhere does not see the damage.
        if let Ok(merged) = result {
            prop_assert!(cut || !path.is_empty() || merged.old_root == keccak256(&nodes[&path]));
        }
    }
}

fn bytes(text: &str) -> Vec<u8> {
    text.strip_prefix("0x").map_or_else(|| text.as_bytes().to_vec(), |hex| hex::decode(hex).unwrap())
}

/// A case's writes in order; a map has none, and is read in the order of its text.
fn writes(case: &serde_json::Value) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let text = |value: &serde_json::Value| value.as_str().map(bytes);
    match &case["in"] {
        serde_json::Value::Array(pairs) => {
            pairs.iter().map(|pair| (text(&pair[0]).unwrap(), text(&pair[1]))).collect()
        }
        serde_json::Value::Object(map) => map.iter().map(|(key, value)| (bytes(key), text(value))).collect(),
        other => panic!("unknown form: {other}"),
    }
}

/// Runs a case at once and write by write; both must give its root.
fn run_case(name: &str, secure: bool, case: &serde_json::Value) {
    let expected: B256 = case["root"].as_str().unwrap().parse().unwrap();
    let hashed = |key: Vec<u8>| if secure { keccak256(key).to_vec() } else { key };
    let writes: Vec<_> = writes(case).into_iter().map(|(key, value)| (hashed(key), value)).collect();
    let at_once = writes.iter().cloned().collect();
    let merged = merge(&Layer::new(), &changes(&at_once)).unwrap();
    assert_eq!(merged.root, expected, "{name} at once");
    let mut layer = Layer::new();
    let mut root = EMPTY_ROOT_HASH;
    for write in writes {
        let merged = merge(&layer, &changes(&[write].into())).unwrap();
        root = merged.root;
        layer.apply(merged.update);
    }
    assert_eq!(root, expected, "{name} step by step");
}

#[test]
fn trie_tests() {
    let Some(root) = archive("06") else { return };
    let (mut run, mut prefixed) = (0, 0);
    for path in files(&root.join("TrieTests"), "json") {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let secure = file.to_lowercase().contains("secure");
        let cases: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (name, case) in cases {
            // Keys of which one is another's prefix need branches with values. No trie of Ethereum's has
            // such keys: they are hashes, or RLP items.
            let keys: Vec<_> = writes(&case).into_iter().map(|(key, _)| key).collect();
            let is_prefix = |a: &[u8]| keys.iter().any(|b| a != b.as_slice() && b.starts_with(a));
            if !secure && keys.iter().any(|key| is_prefix(key)) {
                prefixed += 1;
                continue;
            }
            run_case(&format!("{file}: {name}"), secure, &case);
            run += 1;
        }
    }
    println!("{run} cases run, {prefixed} with keys that are prefixes of others passed over");
    assert!(run >= 9, "only {run} cases run");
}
