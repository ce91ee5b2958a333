//! Chains that other clients made.

use crate::network::{Headers, Stored};
use quintet_chainspec::{ChainSpec, Consensus};
use quintet_clique::{Clique, Snapshot};
use quintet_testkit::chain::decode_blocks;
use quintet_testkit::vectors::archive;
use quintet_types::Header;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Every header is checked against its parent and its parent's snapshot; the snapshots, genesis first.
fn verify(folder: &Path, genesis: &str, blocks: &str) -> (Clique, Headers, Vec<Snapshot>) {
    let spec = ChainSpec::from_json(&fs::read_to_string(folder.join(genesis)).unwrap()).unwrap();
    let Consensus::Clique { period, epoch } = spec.consensus() else { panic!("not a clique network") };
    let (clique, mut headers, stored) = (Clique::new(period, epoch), Headers::default(), Stored::default());
    let mut parent: Header = spec.genesis_block().header;
    clique.check_fields(&parent).unwrap();
    let at = headers.add(&parent);
    let mut snapshot = clique.snapshot_at(&headers, &stored, at);
    let mut snapshots = vec![(*snapshot.unwrap()).clone()];
    for block in decode_blocks(&fs::read(folder.join(blocks)).unwrap()).unwrap() {
        if block.header.number == 0 {
            assert_eq!(block.header, parent);
            continue;
        }
        let number = block.header.number;
        clique.check_header(&block.header, &parent).unwrap_or_else(|error| panic!("{number}: {error}"));
        let before = snapshots.last().unwrap();
        clique.check_seal(&block.header, before).unwrap_or_else(|error| panic!("{number}: {error}"));
        let at = headers.add(&block.header);
        snapshot = clique.snapshot_at(&headers, &stored, at);
        snapshots.push((*snapshot.unwrap()).clone());
        parent = block.header;
    }
    (clique, headers, snapshots)
}

#[test]
fn five_blocks_of_besu() {
    let Some(root) = archive("12") else { return };
    let root = root.join("besu-clique-5-blocks");
    let (_, _, snapshots) = verify(&root, "clique_to_pos.json", "clique.blocks");
    assert_eq!(snapshots.len(), 5);
    let signers = snapshots[0].signers_in_order();
    assert_eq!((signers.len(), &snapshots[4].signers), (1, &snapshots[0].signers));
    assert_eq!(snapshots[4].recents.values().copied().collect::<Vec<_>>(), signers);
}

/// Three signers vote two in and one out, over two checkpoints.
#[test]
fn snapshots_are_those_that_geth_answered() {
    let Some(root) = archive("20") else { return };
    let (clique, headers, snapshots) = verify(&root, "genesis.json", "chain.rlp");
    assert!(snapshots.len() > 100);
    let calls: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(root.join("rpc.json")).unwrap()).unwrap();
    let mut compared = 0;
    for call in &calls {
        let Some(number) = call["request"]["params"][0].as_str().and_then(|text| text.strip_prefix("0x"))
        else {
            continue;
        };
        let snapshot = |number| &snapshots[usize::from_str_radix(number, 16).unwrap()];
        let ours = match call["request"]["method"].as_str().unwrap() {
            "clique_getSnapshot" => json!(snapshot(number)),
            "clique_getSigners" => json!(snapshot(number).signers_in_order()),
            _ => continue,
        };
        assert_eq!(ours, call["response"]["result"], "{}", call["request"]);
        compared += 1;
    }
    assert_eq!(compared, 36);
    // Without anything in memory, the last one is the same.
    let last = snapshots.last().unwrap();
    let block = quintet_types::BlockRef { number: last.number, hash: last.hash };
    let fresh = Clique::new(clique.period(), clique.epoch());
    assert_eq!(*fresh.snapshot_at(&headers, &(), block).unwrap(), *last);
    // What was answered can be read back.
    for snapshot in &snapshots {
        let json = serde_json::to_string(snapshot).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), *snapshot);
    }
}
