//! The block fetcher with invented time.

use super::*;
use quintet_types::Header;

const HEAD: u64 = 100;

struct Rig {
    fetcher: Fetcher,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        Self { fetcher: Fetcher::default(), now: Instant::now() }
    }

    fn announce(&mut self, peer: u8, header: &SealedHeader) -> Option<Action> {
        let what = (header.hash(), header.inner().number);
        self.fetcher.announce(self.now, (id(peer), &TraceContext::default()), what, HEAD)
    }

    fn after(&mut self, millis: u64) -> Vec<Action> {
        self.now += Duration::from_millis(millis);
        self.fetcher.due(self.now, HEAD)
    }

    fn header(&mut self, peer: u8, asked: B256, header: Option<&SealedHeader>) -> Option<Action> {
        self.fetcher.header(self.now, (id(peer), asked), header.cloned(), HEAD)
    }

    fn arrive(&mut self, peer: u8, header: &SealedHeader) -> Option<Action> {
        let block = Arc::new(Block { header: header.inner().clone(), body: body(header.inner().timestamp) });
        let (hash, trace) = (header.hash(), TraceContext::default());
        self.fetcher.arrive(Arrived { peer: id(peer), block, hash, trace }, HEAD)
    }
}

fn id(peer: u8) -> PeerId {
    B256::repeat_byte(peer)
}

/// A body that is told apart by its uncle's number.
fn body(seed: u64) -> Body {
    let uncle = Header { number: seed, ..Header::default() };
    Body { ommers: vec![uncle], ..Body::default() }
}

fn full(number: u64, seed: u64) -> SealedHeader {
    let roots = BodyRoots::of(&body(seed));
    let ommers_hash = alloy_consensus::proofs::calculate_ommers_root(&body(seed).ommers);
    let header = Header { number, timestamp: seed, ommers_hash, ..Header::default() };
    assert_eq!(BodyRoots::in_header(&header), roots);
    let hash = header.hash_slow();
    SealedHeader::new_unchecked(header, hash)
}

fn empty(number: u64) -> SealedHeader {
    let header = Header { number, ..Header::default() };
    let hash = header.hash_slow();
    SealedHeader::new_unchecked(header, hash)
}

fn with_roots(seed: u64) -> (Body, BodyRoots) {
    (body(seed), BodyRoots::of(&body(seed)))
}

fn fetched_header(actions: &[Action]) -> Option<(PeerId, B256)> {
    match actions {
        [Action::FetchHeader { peer, hash }] => Some((*peer, *hash)),
        [] => None,
        other => panic!("{other:?}"),
    }
}

fn imported(actions: &[Action]) -> Option<u64> {
    match actions {
        [Action::Import(arrived)] => Some(arrived.block.header.number),
        [] => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_announced_block_is_waited_for_then_fetched_in_two_steps() {
    let mut rig = Rig::new();
    let header = full(101, 1);
    assert!(rig.announce(1, &header).is_none());
    assert_eq!(fetched_header(&rig.after(399)), None);
    assert_eq!(fetched_header(&rig.after(1)), Some((id(1), header.hash())));
    assert!(rig.header(1, header.hash(), Some(&header)).is_none());
    assert!(rig.after(99).is_empty());
    let actions = rig.after(1);
    let [Action::FetchBodies { peer, headers }] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((*peer, headers.as_slice()), (id(1), std::slice::from_ref(&header)));
    assert!(rig.fetcher.bodies(rig.now, id(1), headers, vec![with_roots(1)], HEAD).is_empty());
    assert_eq!(imported(&rig.after(0)), Some(101));
    assert!(rig.fetcher.wanted.is_empty() && rig.fetcher.announced.is_empty());
    rig.fetcher.imported(None);
    assert!(rig.fetcher.held.is_empty());
}

#[test]
fn a_block_that_comes_by_itself_is_not_fetched() {
    let mut rig = Rig::new();
    let header = full(101, 1);
    rig.announce(1, &header);
    rig.announce(2, &header);
    assert!(rig.arrive(3, &header).is_none());
    assert_eq!(imported(&rig.after(0)), Some(101));
    assert!(rig.after(1000).is_empty());
    assert!(rig.announce(1, &header).is_none());
    assert!(rig.fetcher.wanted.is_empty(), "it is being imported");
}

#[test]
fn an_empty_block_needs_no_body() {
    let mut rig = Rig::new();
    let header = empty(101);
    rig.announce(1, &header);
    rig.after(500);
    assert!(rig.header(1, header.hash(), Some(&header)).is_none());
    assert_eq!(imported(&rig.after(0)), Some(101));
}

#[test]
fn bodies_are_asked_for_together() {
    let mut rig = Rig::new();
    let headers = [full(101, 1), full(102, 2), full(101, 3)];
    for header in &headers {
        rig.announce(1, header);
    }
    assert_eq!(rig.after(500).len(), 3);
    for header in &headers {
        rig.header(1, header.hash(), Some(header));
    }
    let actions = rig.after(100);
    let [Action::FetchBodies { headers: asked, .. }] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(asked.len(), 3);
    // Two come, the third is given up: nobody else announced it.
    assert!(rig.fetcher.bodies(rig.now, id(1), asked, vec![with_roots(2), with_roots(1)], HEAD).is_empty());
    assert!(rig.fetcher.wanted.is_empty());
    assert_eq!(imported(&rig.after(0)), Some(101));
    assert_eq!(imported(&rig.after(0)), None, "one at a time");
    rig.fetcher.imported(None);
    assert_eq!(imported(&rig.fetcher.due(rig.now, 101)), Some(102));
}

#[test]
fn who_does_not_give_what_it_announced_is_passed_over() {
    let mut rig = Rig::new();
    let header = full(101, 1);
    rig.announce(1, &header);
    rig.announce(2, &header);
    let (first, _) = fetched_header(&rig.after(500)).unwrap();
    // It says that it has none.
    assert!(rig.fetcher.header(rig.now, (first, header.hash()), None, HEAD).is_none());
    let (second, _) = fetched_header(&rig.after(0)).unwrap();
    assert_ne!(first, second);
    // It says nothing.
    assert!(rig.after(5000).is_empty());
    assert!(rig.fetcher.wanted.is_empty() && rig.fetcher.announced.is_empty());
    // What it says then is too late.
    assert!(rig.fetcher.header(rig.now, (second, header.hash()), Some(header), HEAD).is_none());
    assert!(rig.after(1000).is_empty());
}

#[test]
fn wrong_answers_are_faults() {
    let mut rig = Rig::new();
    let (header, other) = (full(101, 1), full(101, 2));
    rig.announce(1, &header);
    rig.after(500);
    let fault = rig.header(1, header.hash(), Some(&other)).unwrap();
    assert!(matches!(fault, Action::Fault(_, Fault::WrongHeaders)), "{fault:?}");
    rig.fetcher.announce(rig.now, (id(1), &TraceContext::default()), (header.hash(), 102), HEAD);
    rig.after(500);
    let fault = rig.header(1, header.hash(), Some(&header)).unwrap();
    assert!(matches!(fault, Action::Fault(_, Fault::WrongAnnouncement)), "{fault:?}");
    rig.announce(1, &header);
    rig.after(500);
    rig.header(1, header.hash(), Some(&header));
    rig.after(100);
    let actions = rig.fetcher.bodies(rig.now, id(1), &[header], vec![with_roots(9)], HEAD);
    assert!(matches!(actions.as_slice(), [Action::Fault(_, Fault::WrongBodies)]), "{actions:?}");
    assert!(rig.fetcher.wanted.is_empty() && rig.fetcher.announced.is_empty());
}

#[test]
fn distance_limits_hold() {
    let mut rig = Rig::new();
    for number in [HEAD - 8, HEAD + 33] {
        rig.announce(1, &full(number, number));
        rig.arrive(1, &full(number, number));
    }
    assert!(rig.fetcher.wanted.is_empty() && rig.fetcher.waiting.is_empty());
    for number in [HEAD - 7, HEAD + 32] {
        rig.announce(1, &full(number, number));
    }
    assert_eq!(rig.fetcher.wanted.len(), 2);
    // What waits too long falls behind.
    rig.arrive(1, &full(HEAD + 2, 2));
    assert_eq!(imported(&rig.fetcher.due(rig.now, HEAD)), None);
    assert_eq!(imported(&rig.fetcher.due(rig.now, HEAD + 10)), None);
    assert!(rig.fetcher.waiting.is_empty() && rig.fetcher.held.is_empty());
}

#[test]
fn an_endless_stream_of_announcements_and_blocks_is_bounded() {
    let mut rig = Rig::new();
    let mut faults = 0;
    for seed in 0..1000 {
        faults += usize::from(rig.announce(1, &full(101, seed)).is_some());
    }
    assert_eq!((rig.fetcher.wanted.len(), faults), (MOST_ANNOUNCED, 1000 - MOST_ANNOUNCED));
    assert!(rig.announce(2, &full(101, 5000)).is_none(), "others are heard");
    let floods = (2000..3000).filter(|seed| rig.arrive(1, &full(101, *seed)).is_some()).count();
    assert_eq!((rig.fetcher.waiting.len(), floods), (MOST_BLOCKS, 1000 - MOST_BLOCKS));
    assert!(rig.arrive(2, &full(101, 6000)).is_none());
    // The same again and again counts once.
    for _ in 0..1000 {
        assert!(rig.announce(3, &full(102, 1)).is_none());
    }
    assert_eq!(rig.fetcher.announced[&id(3)], 1);
}

#[test]
fn a_block_that_is_early_is_tried_again() {
    let mut rig = Rig::new();
    rig.arrive(1, &full(101, 1));
    assert_eq!(imported(&rig.after(0)), Some(101));
    rig.fetcher.imported(Some(rig.now + Duration::from_secs(2)));
    assert_eq!(imported(&rig.after(1999)), None);
    assert_eq!(imported(&rig.after(1)), Some(101));
    rig.fetcher.imported(None);
    assert!(rig.fetcher.held.is_empty());
}

#[test]
fn a_peer_that_leaves_is_not_asked() {
    let mut rig = Rig::new();
    let header = full(101, 1);
    rig.announce(1, &header);
    rig.announce(2, &header);
    let (asked, _) = fetched_header(&rig.after(500)).unwrap();
    rig.fetcher.left(rig.now, asked);
    let (other, _) = fetched_header(&rig.after(0)).unwrap();
    assert_ne!(asked, other);
    rig.fetcher.left(rig.now, other);
    assert!(rig.fetcher.wanted.is_empty() && rig.fetcher.announced.is_empty());
    assert!(rig.fetcher.waiting.is_empty());
}

#[test]
fn the_next_deadline_is_told() {
    let mut rig = Rig::new();
    assert_eq!(rig.fetcher.deadline(rig.now), None);
    rig.announce(1, &full(101, 1));
    assert_eq!(rig.fetcher.deadline(rig.now), Some(rig.now + ARRIVE));
    rig.after(500);
    assert_eq!(rig.fetcher.deadline(rig.now), Some(rig.now + FETCH));
}
