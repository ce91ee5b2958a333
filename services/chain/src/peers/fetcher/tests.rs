use super::underpriced::{LIFETIME, MOST};
use super::{ARRIVE_TIMEOUT, Delivered, FETCH_TIMEOUT, Fetch, Liar, MAX_ANNOUNCED, Meta, TxFetcher};
use alloy_primitives::{B256, U256};
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn hash(n: u64) -> B256 {
    B256::from(U256::from(n + 1))
}

fn peer(n: u8) -> B256 {
    B256::repeat_byte(n)
}

const META: Meta = Meta { kind: 2, size: 110 };

fn delivered(n: u64) -> Delivered {
    Delivered { hash: hash(n), meta: META, underpriced: false }
}

fn announce(fetcher: &mut TxFetcher, from: u8, hashes: std::ops::Range<u64>, now: Instant) -> usize {
    fetcher.announced(peer(from), hashes.map(|n| (hash(n), Some(META))), now)
}

fn fetch(from: u8, hashes: std::ops::Range<u64>) -> Fetch {
    Fetch { peer: peer(from), hashes: hashes.map(hash).collect() }
}

#[test]
fn what_is_broadcast_in_time_is_not_asked_for() {
    let now = Instant::now();
    let mut fetcher = TxFetcher::new();
    announce(&mut fetcher, 1, 0..2, now);
    assert_eq!(fetcher.next_due(), Some(now + ARRIVE_TIMEOUT));
    assert!(fetcher.poll(now + Duration::from_millis(300), B256::ZERO).is_empty());
    assert!(fetcher.delivered(peer(2), &[delivered(0)], false, now).is_empty());
    assert_eq!(fetcher.poll(now + ARRIVE_TIMEOUT, B256::ZERO), [fetch(1, 1..2)]);
}

#[test]
fn each_transaction_is_asked_of_one_and_then_of_others() {
    let start = Instant::now();
    let mut fetcher = TxFetcher::new();
    for from in 1..=3 {
        announce(&mut fetcher, from, 0..1, start);
    }
    let mut now = start + ARRIVE_TIMEOUT;
    for from in 1..=3 {
        assert_eq!(fetcher.poll(now, B256::ZERO), [fetch(from, 0..1)]);
        assert!(fetcher.poll(now, B256::ZERO).is_empty());
        now += FETCH_TIMEOUT;
    }
    assert!(fetcher.poll(now, B256::ZERO).is_empty());
    assert_eq!(fetcher.len(), 0, "nobody has it");
    // A peer that has not answered is asked for nothing until it does.
    announce(&mut fetcher, 1, 5..6, now);
    now += ARRIVE_TIMEOUT;
    assert!(fetcher.poll(now, B256::ZERO).is_empty());
    fetcher.failed(peer(1));
    assert_eq!(fetcher.poll(now, B256::ZERO), [fetch(1, 5..6)]);
}

#[test]
fn what_an_answer_has_no_room_for_is_asked_again_and_what_it_leaves_out_is_not() {
    let now = Instant::now();
    let mut fetcher = TxFetcher::new();
    announce(&mut fetcher, 1, 0..6, now);
    let now = now + ARRIVE_TIMEOUT;
    assert_eq!(fetcher.poll(now, B256::ZERO), [fetch(1, 0..6)]);
    fetcher.delivered(peer(1), &[delivered(1), delivered(3)], true, now);
    assert_eq!(fetcher.poll(now, B256::ZERO), [fetch(1, 4..6)]);
    assert_eq!(fetcher.len(), 2);
}

#[test]
fn requests_are_bounded_by_number_and_size() {
    let now = Instant::now();
    let mut fetcher = TxFetcher::new();
    announce(&mut fetcher, 1, 0..1000, now);
    let large = Meta { kind: 3, size: 130_000 };
    fetcher.announced(peer(2), (2000..2005).map(|n| (hash(n), Some(large))), now);
    let now = now + ARRIVE_TIMEOUT;
    assert_eq!(fetcher.poll(now, B256::ZERO), [fetch(1, 0..256), fetch(2, 2000..2002)]);
}

#[test]
fn an_endless_stream_of_announcements_is_bounded() {
    let now = Instant::now();
    let mut fetcher = TxFetcher::new();
    let mut refused = 0;
    for round in 0..100 {
        refused += announce(&mut fetcher, 1, round * 1000..(round + 1) * 1000, now);
    }
    assert_eq!((fetcher.len(), refused), (MAX_ANNOUNCED, 100_000 - MAX_ANNOUNCED));
    assert_eq!(announce(&mut fetcher, 2, 500_000..500_010, now), 0, "others are heard");
    fetcher.drop_peer(&peer(1));
    fetcher.drop_peer(&peer(2));
    assert_eq!((fetcher.len(), fetcher.announcers.len(), fetcher.waiting.len()), (0, 0, 0));
}

#[test]
fn who_lies_about_type_or_size_is_found_out() {
    let now = Instant::now();
    let mut fetcher = TxFetcher::new();
    let said = |meta| std::iter::once((hash(0), meta));
    fetcher.announced(peer(1), said(Some(META)), now);
    fetcher.announced(peer(2), said(Some(Meta { size: META.size + 8, ..META })), now);
    fetcher.announced(peer(3), said(None), now);
    fetcher.announced(peer(4), said(Some(Meta { kind: 3, ..META })), now);
    fetcher.announced(peer(5), said(Some(Meta { size: META.size + 9, ..META })), now);
    // To say something else later does not help.
    fetcher.announced(peer(5), said(Some(META)), now);
    let mut liars = fetcher.delivered(peer(1), &[delivered(0)], false, now);
    liars.sort_unstable_by_key(|liar| liar.peer);
    assert_eq!(liars, [Liar { peer: peer(4), hash: hash(0) }, Liar { peer: peer(5), hash: hash(0) }]);
}

#[test]
fn underpriced_ones_are_not_asked_for_again_for_a_while() {
    let now = Instant::now();
    let mut fetcher = TxFetcher::new();
    fetcher.delivered(peer(1), &[Delivered { underpriced: true, ..delivered(0) }], false, now);
    announce(&mut fetcher, 1, 0..1, now);
    assert_eq!(fetcher.len(), 0);
    announce(&mut fetcher, 1, 0..1, now + LIFETIME);
    assert_eq!(fetcher.len(), 1);
    for n in 0..2 * MOST as u64 {
        fetcher.delivered(peer(1), &[Delivered { underpriced: true, ..delivered(n) }], false, now);
    }
    assert!(fetcher.underpriced.len() <= MOST);
}

#[test]
fn a_peers_transactions_go_to_others_when_it_leaves() {
    let now = Instant::now();
    let mut fetcher = TxFetcher::new();
    announce(&mut fetcher, 1, 0..3, now);
    announce(&mut fetcher, 2, 1..3, now);
    let now = now + ARRIVE_TIMEOUT;
    assert_eq!(fetcher.poll(now, B256::ZERO), [fetch(1, 0..3)]);
    fetcher.drop_peer(&peer(1));
    assert_eq!(fetcher.poll(now, B256::ZERO), [fetch(2, 1..3)]);
}

#[derive(Clone, Debug)]
enum Step {
    Announce(u8, u64, u64),
    Deliver(u8, Vec<u64>, bool),
    Fail(u8),
    Drop(u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..6u8, 0..40u64, 1..6u64).prop_map(|(peer, from, count)| Step::Announce(peer, from, count)),
        (1..6u8, prop::collection::vec(0..45u64, 0..5), any::<bool>())
            .prop_map(|(peer, hashes, direct)| Step::Deliver(peer, hashes, direct)),
        (1..6u8).prop_map(Step::Fail),
        (1..6u8).prop_map(Step::Drop),
        (1..3000u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whatever happens, nothing is asked twice at a time, and once all peers are gone nothing is left.
    #[test]
    fn the_books_balance(steps in prop::collection::vec(step(), 0..80)) {
        let mut now = Instant::now();
        let mut fetcher = TxFetcher::new();
        for step in steps {
            match step {
                Step::Announce(from, first, count) => {
                    announce(&mut fetcher, from, first..first + count, now);
                }
                Step::Deliver(from, hashes, direct) => {
                    let transactions: Vec<_> = hashes.into_iter().map(delivered).collect();
                    fetcher.delivered(peer(from), &transactions, direct, now);
                }
                Step::Fail(from) => fetcher.failed(peer(from)),
                Step::Drop(from) => fetcher.drop_peer(&peer(from)),
                Step::Pass(millis) => now += Duration::from_millis(millis),
            }
            fetcher.poll(now, peer(3));
            let mut asked = std::collections::BTreeSet::new();
            for (peer, announcer) in &fetcher.announcers {
                for hash in announcer.request.iter().flat_map(|request| &request.hashes) {
                    let state = fetcher.transactions.get(hash).map(|entry| entry.state);
                    let live = state == Some(super::State::Fetching(*peer));
                    prop_assert!(!live || asked.insert(*hash), "asked twice");
                }
            }
            let said: usize = fetcher.transactions.values().map(|entry| entry.announcers.len()).sum();
            let held: usize = fetcher.announcers.values().map(|announcer| announcer.announced.len()).sum();
            prop_assert_eq!(said, held);
            prop_assert!(fetcher.next_due().is_none_or(|due| due > now));
        }
        for from in 1..6 {
            fetcher.drop_peer(&peer(from));
        }
        prop_assert_eq!((fetcher.len(), fetcher.announcers.len(), fetcher.waiting.len()), (0, 0, 0));
    }
}
