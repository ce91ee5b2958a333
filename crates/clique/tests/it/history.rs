//! Snapshots are the same however they are come by.

use crate::network::{Headers, Network, Signer, Stored};
use proptest::prelude::*;
use quintet_clique::{Clique, Proposals, Snapshot, SnapshotStore as _};
use quintet_types::{BlockRef, Header};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

const EPOCH: u64 = 700;
/// Two stored snapshots, at 1024 and 2048, and blocks after them.
const BLOCKS: u64 = 2100;
const ACCOUNTS: usize = 7;

/// A chain on which seven accounts vote each other in and out, and its snapshots block by block.
struct History {
    headers: Headers,
    stored: HashMap<alloy_primitives::B256, alloy_primitives::Bytes>,
    snapshots: Vec<Arc<Snapshot>>,
}

static HISTORY: LazyLock<History> = LazyLock::new(|| {
    let accounts = Signer::many(ACCOUNTS);
    let mut network = Network::new(1, EPOCH, accounts.iter().take(4).map(|account| account.address));
    let mut snapshots = vec![network.snapshot()];
    // A fixed sequence that looks random (Knuth's multiplier).
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for number in 1..=BLOCKS {
        let snapshot = Arc::clone(snapshots.last().unwrap());
        let able: Vec<_> = accounts
            .iter()
            .filter(|account| snapshot.check_signer(number, &account.address).is_ok())
            .collect();
        let signer = able[random(able.len())];
        let subject = accounts[random(ACCOUNTS)].address;
        // Growth is likelier, so that somebody is left to sign.
        let authorize = !snapshot.signers.contains(&subject);
        let votes = authorize || (snapshot.signers.len() > 3 && random(3) > 0);
        let proposals: Proposals = votes.then_some((subject, authorize)).into_iter().collect();
        let header = network.sealed(network.prepared(signer, &proposals), signer);
        network.add(header).unwrap();
        snapshots.push(network.snapshot());
    }
    let stored = std::mem::take(&mut *network.stored.0.lock());
    History { headers: network.headers, stored, snapshots }
});

impl History {
    fn block(&self, number: usize) -> BlockRef {
        let snapshot = &self.snapshots[number];
        BlockRef { number: snapshot.number, hash: snapshot.hash }
    }
}

fn fresh() -> Clique {
    Clique::new(1, EPOCH)
}

#[test]
fn a_lively_history() {
    let history = &*HISTORY;
    let mut sizes: Vec<usize> = history.snapshots.iter().map(|snapshot| snapshot.signers.len()).collect();
    sizes.sort_unstable();
    sizes.dedup();
    assert!(sizes.len() >= 4, "{sizes:?}");
    assert!(history.snapshots.iter().any(|snapshot| snapshot.votes.len() > 3));
    let mut stored: Vec<_> = history.stored.keys().copied().collect();
    stored.sort_unstable();
    let mut expected = [history.block(1024).hash, history.block(2048).hash];
    expected.sort_unstable();
    assert_eq!(stored, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// From genesis or any stored snapshot, spoilt ones left aside.
    #[test]
    fn rebuilt_as_it_was_built(
        target in 0..=usize::try_from(BLOCKS).unwrap(),
        kept in prop::collection::vec(any::<bool>(), 2),
        spoilt in prop::option::of((0..2usize, any::<prop::sample::Index>(), 1..=u8::MAX)),
    ) {
        let history = &*HISTORY;
        let stored = Stored::default();
        for (index, number) in [1024, 2048].into_iter().enumerate() {
            let hash = history.block(number).hash;
            let mut bytes = history.stored[&hash].to_vec();
            if let Some((_, at, flip)) = spoilt.filter(|(which, ..)| *which == index) {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
            if kept[index] {
                stored.0.lock().insert(hash, bytes.into());
            }
        }
        let snapshot = fresh().snapshot_at(&history.headers, &stored, history.block(target)).unwrap();
        prop_assert_eq!(&snapshot, &history.snapshots[target]);
        // The stored snapshots on the way are whole again.
        for number in [1024, 2048] {
            let hash = history.block(number).hash;
            let nearest_is_later = number == 1024 && target >= 2048 && kept[1]
                && spoilt.is_none_or(|(which, ..)| which != 1);
            if number <= target && !nearest_is_later {
                prop_assert_eq!(stored.load(&hash), history.stored.get(&hash).cloned());
            }
        }
    }
}

#[test]
fn truncated_and_foreign_records_are_ignored() {
    let history = &*HISTORY;
    let (first, second) = (history.block(1024).hash, history.block(2048).hash);
    let whole = &history.stored[&first];
    for spoilt in [whole.slice(..0), whole.slice(..31), whole.slice(..40), history.stored[&second].clone()] {
        let stored = Stored::default();
        stored.0.lock().insert(first, spoilt);
        let snapshot = fresh().snapshot_at(&history.headers, &stored, history.block(1030)).unwrap();
        assert_eq!(snapshot, history.snapshots[1030]);
        assert_eq!(stored.load(&first).as_ref(), Some(whole));
    }
}

#[test]
fn following_a_chain_reads_each_header_once_or_twice() {
    let mut headers = Headers::default();
    let (clique, stored) = (fresh(), Stored::default());
    let history = &*HISTORY;
    for (number, snapshot) in history.snapshots.iter().enumerate() {
        headers.add(&history.headers.headers[&snapshot.hash]);
        clique.snapshot_at(&headers, &stored, history.block(number)).unwrap();
        assert!(headers.take_reads() <= 2, "block {number}");
    }
    // The latest are in memory, those of long ago next to a stored one.
    clique.snapshot_at(&headers, &stored, history.block(2000)).unwrap();
    assert_eq!(headers.take_reads(), 0);
    clique.snapshot_at(&headers, &stored, history.block(1100)).unwrap();
    assert_eq!(headers.take_reads(), 2 * (1100 - 1024));
}

#[test]
fn a_gap_in_the_ancestry_is_an_unknown_ancestor() {
    let history = &*HISTORY;
    let mut headers = Headers::default();
    headers.headers.clone_from(&history.headers.headers);
    headers.headers.remove(&history.block(500).hash);
    let refused = fresh().snapshot_at(&headers, &(), history.block(600)).unwrap_err();
    assert_eq!(refused.to_string(), "unknown ancestor");
    let wrong = BlockRef { number: 499, ..history.block(400) };
    assert_eq!(fresh().snapshot_at(&headers, &(), wrong).unwrap_err().to_string(), "unknown ancestor");
    assert_eq!(*fresh().snapshot_at(&headers, &(), history.block(499)).unwrap(), *history.snapshots[499]);
}

/// Two branches from one block: each has its own votes.
#[test]
fn branches_do_not_mix() {
    let signers = Signer::many(3);
    let addresses = || signers.iter().map(|signer| signer.address);
    let mut network = Network::new(1, EPOCH, addresses());
    let someone = Signer::named("someone").address;
    let fork = network.tip.clone();
    let grow = |network: &mut Network, proposals: &Proposals| -> Header {
        network.tip = fork.clone();
        for signer in &signers[1..3] {
            let header = network.sealed(network.prepared(signer, proposals), signer);
            network.add(header).unwrap();
        }
        network.tip.clone()
    };
    grow(&mut network, &Proposals::from([(someone, true)]));
    assert_eq!(network.snapshot().signers.len(), 4);
    grow(&mut network, &Proposals::from([(signers[0].address, false)]));
    assert_eq!(network.snapshot().signers.len(), 2);
    grow(&mut network, &Proposals::new());
    assert_eq!(network.snapshot().signers, addresses().collect());
}
