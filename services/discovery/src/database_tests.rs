//! What is kept of nodes, for how long, and what a broken file costs.

use super::{EXPIRATION, MOST_NODES, NodeDatabase, SEED_AGE, write};
use alloy_primitives::B256;
use quintet_discv4::NodeFacts;
use quintet_enode::{Enode, NodeKey, Record, RecordBuilder};
use std::net::Ipv4Addr;
use std::time::Duration;

const NOW: u64 = 1_800_000_000;

fn enode(key: &NodeKey) -> Enode {
    Enode { public_key: key.public(), ip: Ipv4Addr::new(1, 2, 3, 4).into(), tcp: 1, udp: 2 }
}

fn facts(key: &NodeKey, last_pong: u64) -> NodeFacts {
    let last_pong = Some(Duration::from_secs(last_pong));
    NodeFacts { enode: enode(key), record: None, last_ping: None, last_pong, failures: 0, seed: true }
}

fn record(key: &NodeKey) -> Record {
    RecordBuilder::new(5).sign(key).expect("a record")
}

#[test]
fn nodes_are_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data/nodes");
    let local = B256::repeat_byte(7);
    let mut database = NodeDatabase::load(&path, local);
    assert_eq!((database.len(), database.local_seq(), database.to_write()), (0, None, None));

    let (one, two, three) = (NodeKey::generate(), NodeKey::generate(), NodeKey::generate());
    let first = NodeFacts { record: Some(record(&one)), ..facts(&one, NOW) };
    database.take(&first);
    // Later nobody asked for the record; the one that is known stays.
    database.take(&facts(&one, NOW + 1));
    let second = NodeFacts { failures: 3, last_ping: Some(Duration::from_secs(NOW - 5)), ..facts(&two, NOW) };
    database.take(&second);
    database.answered_v5(&enode(&three), &record(&three), NOW);
    database.set_local_seq(9);
    write(&path, &database.to_write().expect("changes")).expect("written");
    assert_eq!(database.to_write(), None);

    let read = NodeDatabase::load(&path, local);
    assert_eq!((read.len(), read.local_seq()), (3, Some(9)));
    let all = read.facts();
    let of = |key: &NodeKey| all.iter().find(|facts| facts.enode == enode(key)).expect("known").clone();
    assert_eq!(of(&one), NodeFacts { last_pong: Some(Duration::from_secs(NOW + 1)), ..first });
    assert_eq!(of(&two), second);
    assert_eq!((of(&three).last_pong, of(&three).seed), (None, false), "no proof in the other protocol");
    assert_eq!(read.seeds(NOW + 1, SEED_AGE, 10), [enode(&one), enode(&two)]);
    assert_eq!(read.v5_seeds(NOW + 1, SEED_AGE, 10), [record(&three)]);
    // Another key: another node's number.
    assert_eq!(NodeDatabase::load(&path, B256::ZERO).local_seq(), None);
}

#[test]
fn nodes_age() {
    let mut database = NodeDatabase::new(B256::ZERO);
    let (old, new) = (NodeKey::generate(), NodeKey::generate());
    database.take(&facts(&old, NOW));
    database.answered_v5(&enode(&new), &record(&new), NOW + 1);
    let seeds = |database: &NodeDatabase, after: u64| {
        (database.seeds(NOW + after, SEED_AGE, 10).len(), database.v5_seeds(NOW + after, SEED_AGE, 10).len())
    };
    assert_eq!(seeds(&database, SEED_AGE.as_secs() - 1), (1, 1));
    assert_eq!(seeds(&database, SEED_AGE.as_secs()), (0, 1));
    database.expire(NOW + EXPIRATION.as_secs() - 1);
    assert_eq!(database.len(), 2);
    database.expire(NOW + EXPIRATION.as_secs());
    assert_eq!(database.len(), 1);
    database.expire(NOW + EXPIRATION.as_secs() + 1);
    assert_eq!(database.len(), 0);
}

#[test]
fn the_newest_are_kept() {
    let mut database = NodeDatabase::new(B256::ZERO);
    let key = NodeKey::generate();
    for index in 0..u32::try_from(2 * MOST_NODES).expect("small") {
        // Some at the same time.
        database.take(&facts(&key.derive(index), NOW + u64::from(index) / 4));
    }
    assert!(database.len() <= MOST_NODES + MOST_NODES / 10 + 1);
    let lines = database.to_write().expect("changes").lines().count();
    assert_eq!((database.len(), lines), (MOST_NODES, MOST_NODES + 1));
    assert!(database.nodes.values().all(|node| node.last_pong >= NOW + MOST_NODES as u64 / 4));
}

#[test]
fn a_broken_file_costs_what_is_broken() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nodes");
    let good = format!(r#"{{"enode":"{}","last_pong":{NOW}}}"#, enode(&NodeKey::generate()));
    let long = "x".repeat(100_000);
    let text = format!("\u{0}\n{good}\n{{\"enode\":\"enode://00@1.2.3.4:1\",\"last_pong\":1}}\n{long}\n{{");
    std::fs::write(&path, text).expect("written");
    let database = NodeDatabase::load(&path, B256::ZERO);
    assert_eq!((database.len(), database.seeds(NOW, SEED_AGE, 10).len()), (1, 1));
    assert_eq!(NodeDatabase::load(folder.path(), B256::ZERO).len(), 0, "a directory");
}
