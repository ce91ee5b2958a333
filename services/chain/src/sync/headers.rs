//! The headers of a peer's chain, fetched from all peers: the master peer gives every 192nd, which vouch for those
//! between, whoever gives them (geth's skeleton). What comes out links to the ancestor, without a gap; it ends with the
//! last that the master has, or with a block that is given.

use super::ancestor::{MAX_HEADERS, SealedHeader, block_ref};
use super::network::{Fault, HeadersRequest, PeerId, Start};
use alloy_primitives::B256;
use quintet_types::BlockRef;
use std::collections::VecDeque;

/// Headers of one skeleton.
const SKELETON: u64 = 64;
/// The next skeleton is asked for when fewer segments than this are unfinished.
const FEW_SEGMENTS: usize = 16;
/// Bytes of extra data that any header may have: a clique checkpoint's signers take 20 each.
const MAX_EXTRA: usize = 64 << 10;
/// About the memory of a header without its extra data.
const HEADER_BYTES: usize = 800;

/// About the memory of a header.
pub(crate) fn weight(header: &SealedHeader) -> usize {
    HEADER_BYTES.saturating_add(header.inner().extra_data.len())
}

/// Something to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The master, for every 192nd header.
    Skeleton(HeadersRequest),
    /// The master, for the next headers one by one.
    Tail(HeadersRequest),
    /// Anybody, for the headers of a segment.
    Fill(HeadersRequest),
}

/// What an answer was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is what was asked for.
    Good,
    /// The peer does not have it: others may.
    Lacking,
    /// The peer is at fault.
    Fault(Fault),
    /// The master is at fault: its skeleton is of no chain.
    MasterFault(Fault),
    /// The master's chain is another one by now.
    Moved,
}

#[derive(Debug)]
enum State {
    Wanted,
    Asked,
    Done(Vec<SealedHeader>),
}

/// Headers that follow each other, the last of which is known by its hash.
#[derive(Debug)]
struct Segment {
    from: u64,
    parent: B256,
    last: BlockRef,
    state: State,
    /// Peers that do not have it.
    lacking: Vec<PeerId>,
}

/// What of the master's chain is laid out beyond the segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Skeleton,
    Tail,
    Ended,
}

/// The headers above an ancestor.
#[derive(Debug)]
pub(crate) struct HeaderChain {
    /// The last header that is laid out.
    end: BlockRef,
    /// The block to end with, if that is not the master's last.
    goal: Option<BlockRef>,
    stage: Stage,
    /// Whether the master is asked for what lies beyond.
    asked: bool,
    segments: VecDeque<Segment>,
    /// Bytes of headers held.
    held: usize,
}

impl HeaderChain {
    /// Those that the master has above `ancestor`.
    pub(crate) const fn new(ancestor: BlockRef) -> Self {
        Self {
            end: ancestor,
            goal: None,
            stage: Stage::Skeleton,
            asked: false,
            segments: VecDeque::new(),
            held: 0,
        }
    }

    /// Those up to and with `goal`, which is above `ancestor`.
    pub(crate) fn up_to(ancestor: BlockRef, goal: BlockRef) -> Self {
        Self { goal: Some(goal), ..Self::new(ancestor) }
    }

    /// Whether all headers that the master has are given out.
    pub(crate) fn is_done(&self) -> bool {
        (self.stage == Stage::Ended || self.goal == Some(self.end)) && self.segments.is_empty()
    }

    /// Bytes that are held, or on their way, about.
    pub(crate) fn weight(&self) -> usize {
        let asked = self.segments.iter().filter(|segment| matches!(segment.state, State::Asked)).count();
        self.held
            .saturating_add(asked.saturating_mul(usize::try_from(MAX_HEADERS).unwrap_or(0) * HEADER_BYTES))
    }

    /// The next thing to ask the master itself.
    pub(crate) fn ask_master(&mut self) -> Option<Ask> {
        let unfinished =
            self.segments.iter().filter(|segment| !matches!(segment.state, State::Done(_))).count();
        if self.asked || unfinished >= FEW_SEGMENTS {
            return None;
        }
        let next = self.end.number.checked_add(1)?;
        let left = self.goal.map_or(u64::MAX, |goal| goal.number.saturating_sub(self.end.number));
        if self.stage == Stage::Skeleton && left < MAX_HEADERS {
            self.stage = Stage::Tail;
        }
        if left == 0 {
            self.stage = Stage::Ended;
        }
        let ask = match self.stage {
            Stage::Skeleton => Ask::Skeleton(HeadersRequest {
                start: Start::Number(next.checked_add(MAX_HEADERS - 1)?),
                limit: SKELETON.min(left / MAX_HEADERS),
                skip: MAX_HEADERS - 1,
                reverse: false,
            }),
            Stage::Tail => Ask::Tail(HeadersRequest {
                start: Start::Number(next),
                limit: MAX_HEADERS.min(left),
                skip: 0,
                reverse: false,
            }),
            Stage::Ended => return None,
        };
        self.asked = true;
        Some(ask)
    }

    /// The next segment to ask a peer for. With `urgent` only the one that all others wait for.
    pub(crate) fn ask_fill(&mut self, peer: PeerId, urgent: bool) -> Option<Ask> {
        let reach = if urgent { 1 } else { self.segments.len() };
        let wanted = |segment: &&mut Segment| {
            matches!(segment.state, State::Wanted) && !segment.lacking.contains(&peer)
        };
        let segment = self.segments.iter_mut().take(reach).find(wanted)?;
        segment.state = State::Asked;
        let limit = segment.last.number.saturating_sub(segment.from).saturating_add(1);
        Some(Ask::Fill(HeadersRequest { start: Start::Number(segment.from), limit, skip: 0, reverse: false }))
    }

    /// The master's answer to [`Ask::Skeleton`].
    pub(crate) fn skeleton(&mut self, headers: &[SealedHeader]) -> Verdict {
        self.asked = false;
        if headers.is_empty() {
            self.stage = Stage::Tail;
            return Verdict::Good;
        }
        let first = self.end.number.saturating_add(MAX_HEADERS);
        let right = |(place, header): (u64, &SealedHeader)| {
            header.inner().number == first.saturating_add(place.saturating_mul(MAX_HEADERS))
        };
        if !(0..).zip(headers).all(right) || headers.iter().any(is_bloated) {
            return Verdict::Fault(Fault::WrongHeaders);
        }
        for header in headers {
            let (from, parent) = (self.end.number.saturating_add(1), self.end.hash);
            self.end = block_ref(header);
            let lacking = Vec::new();
            self.segments.push_back(Segment { from, parent, last: self.end, state: State::Wanted, lacking });
        }
        self.keeps_to_goal()
    }

    /// Whether the block to end with is on the master's chain, as far as that is laid out.
    fn keeps_to_goal(&self) -> Verdict {
        let missed = |goal: BlockRef| self.end.number >= goal.number && self.end != goal;
        if self.goal.is_some_and(missed) { Verdict::Moved } else { Verdict::Good }
    }

    /// The master's answer to [`Ask::Tail`].
    pub(crate) fn tail(&mut self, headers: Vec<SealedHeader>) -> Verdict {
        self.asked = false;
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            self.stage = Stage::Ended;
            // It had the block to end with.
            return if self.goal.is_some() { Verdict::Moved } else { Verdict::Good };
        };
        let from = self.end.number.saturating_add(1);
        if first.inner().number != from || headers.iter().any(is_bloated) {
            return Verdict::Fault(Fault::WrongHeaders);
        }
        if !are_linked(&headers) {
            return Verdict::Fault(Fault::Unlinked);
        }
        if first.inner().parent_hash != self.end.hash {
            return Verdict::Moved;
        }
        let parent = self.end.hash;
        self.end = block_ref(last);
        self.held = self.held.saturating_add(headers.iter().map(weight).sum());
        self.segments.push_back(Segment {
            from,
            parent,
            last: self.end,
            state: State::Done(headers),
            lacking: Vec::new(),
        });
        self.keeps_to_goal()
    }

    /// A peer's answer to [`Ask::Fill`] from block `from` on.
    pub(crate) fn fill(&mut self, peer: PeerId, from: u64, headers: Vec<SealedHeader>) -> Verdict {
        let Some(segment) = self.segments.iter_mut().find(|segment| segment.from == from) else {
            return Verdict::Good;
        };
        if !matches!(segment.state, State::Asked) {
            return Verdict::Good;
        }
        segment.state = State::Wanted;
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            segment.lacking.push(peer);
            return Verdict::Lacking;
        };
        segment.lacking.push(peer);
        if first.inner().number != from || headers.iter().any(is_bloated) {
            return Verdict::Fault(Fault::WrongHeaders);
        }
        if !are_linked(&headers) {
            return Verdict::Fault(Fault::Unlinked);
        }
        if block_ref(last) != segment.last {
            return Verdict::Lacking;
        }
        if first.inner().parent_hash != segment.parent {
            // The last hash vouches for all of them, so it is the skeleton that does not hold together.
            return Verdict::MasterFault(Fault::Unlinked);
        }
        self.held = self.held.saturating_add(headers.iter().map(weight).sum());
        segment.state = State::Done(headers);
        Verdict::Good
    }

    /// A request to the master came to nothing.
    pub(crate) const fn master_failed(&mut self) {
        self.asked = false;
    }

    /// A request for a segment came to nothing.
    pub(crate) fn fill_failed(&mut self, from: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.from == from)
            && matches!(segment.state, State::Asked)
        {
            segment.state = State::Wanted;
        }
    }

    /// Whether the next headers in order are ones that none of `peers` has.
    pub(crate) fn is_next_lacking(&self, peers: &[PeerId]) -> bool {
        let Some(Segment { state: State::Wanted, lacking, .. }) = self.segments.front() else { return false };
        peers.iter().all(|peer| lacking.contains(peer))
    }

    /// The next headers in order, once they are there.
    pub(crate) fn take(&mut self) -> Option<Vec<SealedHeader>> {
        if !matches!(self.segments.front()?.state, State::Done(_)) {
            return None;
        }
        let State::Done(headers) = self.segments.pop_front()?.state else { return None };
        self.held = self.held.saturating_sub(headers.iter().map(weight).sum());
        Some(headers)
    }
}

fn is_bloated(header: &SealedHeader) -> bool {
    header.inner().extra_data.len() > MAX_EXTRA
}

/// Whether each header is the parent of the next.
fn are_linked(headers: &[SealedHeader]) -> bool {
    headers.windows(2).all(|pair| {
        let [parent, child] = pair else { return true };
        child.inner().parent_hash == parent.hash()
            && Some(child.inner().number) == parent.inner().number.checked_add(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_types::Header;

    const MASTER: PeerId = PeerId::repeat_byte(1);
    const OTHER: PeerId = PeerId::repeat_byte(2);

    fn chain(length: u64, seed: u64) -> Vec<SealedHeader> {
        let mut parent = B256::ZERO;
        (0..=length)
            .map(|number| {
                let header = Header { number, parent_hash: parent, timestamp: seed, ..Header::default() };
                parent = header.hash_slow();
                SealedHeader::new_unchecked(header, parent)
            })
            .collect()
    }

    fn serve(chain: &[SealedHeader], request: HeadersRequest) -> Vec<SealedHeader> {
        let Start::Number(from) = request.start else { panic!("by number") };
        let places = (0..request.limit).map(|place| from + place * (request.skip + 1));
        places.map_while(|number| chain.get(usize::try_from(number).unwrap()).cloned()).collect()
    }

    /// Asks a chain for all up to a goal.
    fn fetch_up_to(theirs: &[SealedHeader], goal: BlockRef) -> Result<Vec<SealedHeader>, Verdict> {
        let mut headers = HeaderChain::up_to(block_ref(&theirs[0]), goal);
        let mut fetched = Vec::new();
        while !headers.is_done() {
            let asked =
                headers.ask_master().or_else(|| headers.ask_fill(OTHER, false)).expect("something to ask");
            let (request, from) = request_of(asked);
            assert!(from + (request.limit - 1) * (request.skip + 1) <= goal.number, "{request:?}");
            let answer = serve(theirs, request);
            let verdict = match asked {
                Ask::Skeleton(_) => headers.skeleton(&answer),
                Ask::Tail(_) => headers.tail(answer),
                Ask::Fill(_) => headers.fill(OTHER, from, answer),
            };
            if verdict != Verdict::Good {
                return Err(verdict);
            }
            fetched.extend(std::iter::from_fn(|| headers.take()).flatten());
        }
        Ok(fetched)
    }

    #[test]
    fn it_ends_with_the_block_that_is_given() {
        let theirs = chain(900, 1);
        for goal in [1, 5, 191, 192, 193, 384, 500, 576, 899] {
            let fetched = fetch_up_to(&theirs, block_ref(&theirs[goal])).unwrap();
            assert_eq!(fetched, theirs[1..=goal]);
        }
        // The master has another block there, or none.
        let other = chain(900, 2);
        for goal in [1, 192, 300, 384] {
            assert_eq!(fetch_up_to(&theirs, block_ref(&other[goal])), Err(Verdict::Moved));
            assert_eq!(fetch_up_to(&theirs[..goal], block_ref(&theirs[goal])), Err(Verdict::Moved));
        }
    }

    fn request_of(ask: Ask) -> (HeadersRequest, u64) {
        let (Ask::Skeleton(request) | Ask::Tail(request) | Ask::Fill(request)) = ask;
        let Start::Number(from) = request.start else { panic!("by number") };
        (request, from)
    }

    #[test]
    fn a_chain_comes_out_whole_and_in_order() {
        let chain = chain(30_000, 0);
        let mut headers = HeaderChain::new(block_ref(&chain[0]));
        let mut out = Vec::new();
        let mut waiting = Vec::new();
        while !headers.is_done() {
            match headers.ask_master() {
                Some(ask @ Ask::Skeleton(_)) => {
                    assert_eq!(headers.skeleton(&serve(&chain, request_of(ask).0)), Verdict::Good);
                }
                Some(ask) => assert_eq!(headers.tail(serve(&chain, request_of(ask).0)), Verdict::Good),
                None => {}
            }
            while let Some(ask) = headers.ask_fill(OTHER, false) {
                waiting.push(request_of(ask));
            }
            // The last one asked for comes first.
            if let Some((request, from)) = waiting.pop() {
                assert_eq!(headers.fill(OTHER, from, serve(&chain, request)), Verdict::Good);
            }
            while let Some(ready) = headers.take() {
                out.extend(ready);
            }
        }
        assert_eq!(out, chain[1..]);
        assert_eq!(headers.weight(), 0);
    }

    fn with_skeleton(chain: &[SealedHeader]) -> HeaderChain {
        let mut headers = HeaderChain::new(block_ref(&chain[0]));
        let ask = headers.ask_master().unwrap();
        assert_eq!(headers.skeleton(&serve(chain, request_of(ask).0)), Verdict::Good);
        headers
    }

    #[test]
    fn who_is_on_another_branch_lacks_a_segment_and_another_peer_gives_it() {
        let (ours, theirs) = (chain(1000, 0), chain(1000, 1));
        let mut headers = with_skeleton(&ours);
        let (request, from) = request_of(headers.ask_fill(OTHER, true).unwrap());
        assert_eq!(headers.fill(OTHER, from, serve(&theirs, request)), Verdict::Lacking);
        assert_eq!(headers.ask_fill(OTHER, true), None);
        assert!(headers.is_next_lacking(&[OTHER]) && !headers.is_next_lacking(&[OTHER, MASTER]));
        let (again, same) = request_of(headers.ask_fill(MASTER, true).unwrap());
        assert_eq!((again, same), (request, from));
        assert!(!headers.is_next_lacking(&[OTHER]), "somebody is asked");
        assert_eq!(headers.fill(MASTER, from, serve(&ours, request)), Verdict::Good);
        assert_eq!(headers.take().unwrap().len(), 192);
        let (_, from) = request_of(headers.ask_fill(OTHER, true).unwrap());
        headers.fill_failed(from);
        assert!(headers.ask_fill(OTHER, true).is_some(), "a failure does not keep it from being asked");
    }

    #[test]
    fn unlinked_headers_are_their_senders_fault() {
        let chain = chain(1000, 0);
        let mut headers = with_skeleton(&chain);
        let (request, from) = request_of(headers.ask_fill(OTHER, false).unwrap());
        let mut answer = serve(&chain, request);
        answer.remove(7);
        assert_eq!(headers.fill(OTHER, from, answer), Verdict::Fault(Fault::Unlinked));
        let (request, from) = request_of(headers.ask_fill(MASTER, false).unwrap());
        let answer = serve(&chain, HeadersRequest { start: Start::Number(from + 1), ..request });
        assert_eq!(headers.fill(MASTER, from, answer), Verdict::Fault(Fault::WrongHeaders));
    }

    #[test]
    fn a_skeleton_of_two_branches_is_the_masters_fault() {
        let (one, other) = (chain(1000, 0), chain(1000, 1));
        let mut headers = HeaderChain::new(block_ref(&one[0]));
        headers.ask_master().unwrap();
        assert_eq!(headers.skeleton(&[one[192].clone(), other[384].clone()]), Verdict::Good);
        let (first, from) = request_of(headers.ask_fill(OTHER, false).unwrap());
        assert_eq!(headers.fill(OTHER, from, serve(&one, first)), Verdict::Good);
        let (second, from) = request_of(headers.ask_fill(OTHER, false).unwrap());
        assert_eq!(headers.fill(OTHER, from, serve(&other, second)), Verdict::MasterFault(Fault::Unlinked));
    }

    #[test]
    fn a_false_skeleton_and_a_chain_that_moves_are_told_apart() {
        let (one, other) = (chain(500, 0), chain(500, 1));
        let mut headers = HeaderChain::new(block_ref(&one[0]));
        headers.ask_master().unwrap();
        assert_eq!(headers.skeleton(&one[193..194]), Verdict::Fault(Fault::WrongHeaders));
        headers.ask_master().unwrap();
        assert_eq!(headers.skeleton(&[]), Verdict::Good);
        headers.ask_master().unwrap();
        assert_eq!(headers.tail(one[1..100].to_vec()), Verdict::Good);
        headers.ask_master().unwrap();
        assert_eq!(headers.tail(other[100..120].to_vec()), Verdict::Moved);
        headers.ask_master().unwrap();
        let gap = [&one[100..110], &one[111..120]].concat();
        assert_eq!(headers.tail(gap), Verdict::Fault(Fault::Unlinked));
    }

    #[test]
    fn bloated_headers_are_refused() {
        let mut headers = HeaderChain::new(block_ref(&chain(0, 0)[0]));
        headers.ask_master().unwrap();
        let header = Header { number: 192, extra_data: vec![0; MAX_EXTRA + 1].into(), ..Header::default() };
        let header = SealedHeader::new_unchecked(header, B256::ZERO);
        assert_eq!(headers.skeleton(&[header]), Verdict::Fault(Fault::WrongHeaders));
    }
}
