//! What of blocks is fetched when their headers are known: bodies, and for history receipts. Which are wanted, which are
//! asked of whom, and those that came, to be given out in order with their headers. What is held is bounded by bytes.

use super::ancestor::SealedHeader;
use super::headers;
use super::network::{Fault, PeerId, RequestError};
use quintet_types::Header;
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;

/// What a part was assumed to take before one was seen.
const FIRST_ESTIMATE: usize = 4 << 10;

/// Something that belongs to a block and that its header vouches for.
pub(crate) trait Part: Debug + Sized + Send + 'static {
    /// What the header vouches for it by.
    type Roots: Debug + PartialEq + Send;
    /// What a peer does wrong that gives others than were asked for.
    const FOREIGN: Fault;

    /// What the header has.
    fn roots_in(header: &Header) -> Self::Roots;

    /// Its own roots, which may take a while to compute.
    fn roots(&self) -> Self::Roots;

    /// The part that the header tells to be empty: nobody has to be asked for it.
    fn empty(header: &Header) -> Option<Self>;

    /// About its memory, in bytes.
    fn weight(&self) -> usize;
}

#[derive(Debug)]
enum State<P> {
    Wanted,
    Asked,
    Done(P, usize),
}

#[derive(Debug)]
struct Entry<P> {
    header: SealedHeader,
    state: State<P>,
    /// Peers that do not have it.
    lacking: Vec<PeerId>,
}

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// So many were wanted ones.
    Good(usize),
    /// The peer has none of them.
    Lacking,
    /// There are some that nobody asked for.
    Foreign,
}

/// The blocks whose headers are checked, oldest first.
#[derive(Debug)]
pub(crate) struct PartQueue<P> {
    entries: VecDeque<Entry<P>>,
    /// Number of the oldest.
    base: u64,
    /// Numbers of those that nobody is asked for.
    wanted: BTreeSet<u64>,
    asked: usize,
    /// Bytes of the headers.
    headers: usize,
    /// Bytes of the parts.
    held: usize,
    /// About the bytes of one part.
    estimate: usize,
    limit: usize,
}

impl<P: Part> PartQueue<P> {
    /// An empty queue that asks for no more parts while it holds `limit` bytes of them.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            base: 0,
            wanted: BTreeSet::new(),
            asked: 0,
            headers: 0,
            held: 0,
            estimate: FIRST_ESTIMATE,
            limit,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of its headers, about.
    pub(crate) const fn header_weight(&self) -> usize {
        self.headers
    }

    /// Adds the headers that follow the last one.
    pub(crate) fn push(&mut self, following: Vec<SealedHeader>) {
        for header in following {
            let number = header.inner().number;
            if self.entries.is_empty() {
                self.base = number;
            }
            let state = if let Some(part) = P::empty(header.inner()) {
                State::Done(part, 0)
            } else {
                self.wanted.insert(number);
                State::Wanted
            };
            self.headers = self.headers.saturating_add(headers::weight(&header));
            self.entries.push_back(Entry { header, state, lacking: Vec::new() });
        }
    }

    /// Parts to ask a peer for: the oldest wanted ones, at most `most`. None while memory is used up, unless they
    /// are what the import waits for.
    pub(crate) fn reserve(&mut self, peer: PeerId, most: usize) -> Vec<SealedHeader> {
        let under_way = self.held.saturating_add(self.asked.saturating_mul(self.estimate));
        let room = self.limit.saturating_sub(under_way) / self.estimate.max(1);
        let front = self.wanted.first().is_some_and(|number| *number == self.base);
        let most = most.min(room.max(usize::from(front)));
        let mut chosen = Vec::new();
        for number in &self.wanted {
            if chosen.len() >= most {
                break;
            }
            let place = usize::try_from(number.saturating_sub(self.base)).unwrap_or(usize::MAX);
            if let Some(entry) = self.entries.get(place).filter(|entry| !entry.lacking.contains(&peer)) {
                chosen.push(entry.header.clone());
            }
        }
        for header in &chosen {
            self.mark(header, State::Asked);
            self.wanted.remove(&header.inner().number);
        }
        self.asked = self.asked.saturating_add(chosen.len());
        chosen
    }

    /// The answer to a reservation: parts with their roots, in the order asked for, with gaps for those that the
    /// peer lacks.
    pub(crate) fn deliver(
        &mut self,
        peer: PeerId,
        asked: &[SealedHeader],
        parts: Vec<(P, P::Roots)>,
    ) -> Delivery {
        self.asked = self.asked.saturating_sub(asked.len());
        let (mut accepted, mut foreign) = (0, false);
        // A peer stops at its soft limit: what comes after the last part is not lacking.
        let cut = !parts.is_empty();
        let mut rest = asked.iter();
        for (part, roots) in parts {
            let skipped_to = rest.clone().position(|header| P::roots_in(header.inner()) == roots);
            let Some(place) = skipped_to else {
                foreign = true;
                break;
            };
            for header in rest.by_ref().take(place) {
                self.want(header, Some(peer));
            }
            if let Some(header) = rest.next() {
                self.accept(header, part);
                accepted += 1;
            }
        }
        for header in rest {
            self.want(header, (!cut || foreign).then_some(peer));
        }
        if foreign {
            Delivery::Foreign
        } else if accepted == 0 {
            Delivery::Lacking
        } else {
            Delivery::Good(accepted)
        }
    }

    /// A request came to nothing: its parts are wanted again.
    pub(crate) fn fail(&mut self, asked: &[SealedHeader]) {
        self.asked = self.asked.saturating_sub(asked.len());
        for header in asked {
            self.want(header, None);
        }
    }

    /// Whether the next block's part is one that none of `peers` has.
    pub(crate) fn is_next_lacking(&self, peers: &[PeerId]) -> bool {
        let Some(Entry { state: State::Wanted, lacking, .. }) = self.entries.front() else { return false };
        peers.iter().all(|peer| lacking.contains(peer))
    }

    /// Whether the next block's part is there.
    pub(crate) fn is_ready(&self) -> bool {
        self.entries.front().is_some_and(|entry| matches!(entry.state, State::Done(..)))
    }

    /// The next block's header and part, if that is there.
    pub(crate) fn pop(&mut self) -> Option<(SealedHeader, P)> {
        if !self.is_ready() {
            return None;
        }
        let Entry { header, state: State::Done(part, held), .. } = self.entries.pop_front()? else {
            return None;
        };
        self.base = self.base.saturating_add(1);
        self.held = self.held.saturating_sub(held);
        self.headers = self.headers.saturating_sub(headers::weight(&header));
        Some((header, part))
    }

    fn accept(&mut self, header: &SealedHeader, part: P) {
        // Two blocks can have the same part, so it is weighed with what surrounds it.
        let weight = part.weight();
        self.estimate = (self.estimate.saturating_mul(9).saturating_add(weight) / 10).max(1);
        self.held = self.held.saturating_add(weight);
        self.mark(header, State::Done(part, weight));
    }

    fn want(&mut self, header: &SealedHeader, lacking: Option<PeerId>) {
        let number = header.inner().number;
        let Some(entry) = self.entry(number).filter(|entry| matches!(entry.state, State::Asked)) else {
            return;
        };
        entry.state = State::Wanted;
        entry.lacking.extend(lacking);
        self.wanted.insert(number);
    }

    fn mark(&mut self, header: &SealedHeader, state: State<P>) {
        if let Some(entry) = self.entry(header.inner().number) {
            entry.state = state;
        }
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry<P>> {
        let place = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.entries.get_mut(place)
    }
}

/// Parts with their roots, made and computed off the async threads.
pub(crate) async fn with_roots<T: Send + 'static, P: Part>(
    answer: Vec<T>,
    part: fn(T) -> P,
) -> Result<Vec<(P, P::Roots)>, RequestError> {
    let compute = move || {
        let with_roots = |answer: T| {
            let part = part(answer);
            let roots = part.roots();
            (part, roots)
        };
        answer.into_iter().map(with_roots).collect()
    };
    tokio::task::spawn_blocking(compute).await.map_err(|_| RequestError::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::bodies::{BodyQueue, BodyRoots};
    use alloy_consensus::EMPTY_ROOT_HASH;
    use alloy_consensus::{EthereumTxEnvelope, Signed, TxLegacy};
    use alloy_primitives::B256;
    use alloy_primitives::{Signature, U256};
    use quintet_types::Body;

    const ONE: PeerId = PeerId::repeat_byte(1);
    const TWO: PeerId = PeerId::repeat_byte(2);
    const THREE: PeerId = PeerId::repeat_byte(3);

    fn body(nonce: u64) -> Body {
        let transaction = TxLegacy { nonce, ..TxLegacy::default() };
        let signature = Signature::new(U256::from(1), U256::from(1), false);
        let signed = Signed::new_unchecked(transaction, signature, B256::ZERO);
        Body { transactions: vec![EthereumTxEnvelope::Legacy(signed)], ..Body::default() }
    }

    fn header(number: u64) -> SealedHeader {
        let roots = BodyRoots::of(&body(number));
        let header = Header {
            number,
            transactions_root: roots.transactions,
            ommers_hash: roots.uncles,
            ..Header::default()
        };
        SealedHeader::new_unchecked(header, U256::from(number).into())
    }

    fn answer(asked: &[SealedHeader]) -> Vec<(Body, BodyRoots)> {
        asked
            .iter()
            .map(|header| body(header.inner().number))
            .map(|body| (body.clone(), BodyRoots::of(&body)))
            .collect()
    }

    fn queue(numbers: std::ops::RangeInclusive<u64>) -> BodyQueue {
        let mut queue = BodyQueue::new(1 << 20);
        queue.push(numbers.map(header).collect());
        queue
    }

    fn popped(queue: &mut BodyQueue) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop())
            .map(|(header, body)| {
                assert_eq!(BodyRoots::of(&body), BodyRoots::in_header(header.inner()));
                header.inner().number
            })
            .collect()
    }

    #[test]
    fn blocks_come_out_in_order_however_bodies_come_in() {
        let mut queue = queue(5..=12);
        let first = queue.reserve(ONE, 3);
        let second = queue.reserve(TWO, 5);
        assert!(queue.reserve(ONE, 5).is_empty());
        assert_eq!(queue.deliver(TWO, &second, answer(&second)), Delivery::Good(5));
        assert!(popped(&mut queue).is_empty());
        assert_eq!(queue.deliver(ONE, &first, answer(&first)), Delivery::Good(3));
        assert_eq!(popped(&mut queue), (5..=12).collect::<Vec<_>>());
        assert!(queue.is_empty());
        assert_eq!(queue.held, 0);
    }

    #[test]
    fn what_a_peer_lacks_is_asked_of_another() {
        let mut queue = queue(1..=4);
        let asked = queue.reserve(ONE, 4);
        // The second is left out, the fourth is beyond the soft limit.
        let mut some = answer(&asked);
        some.remove(3);
        some.remove(1);
        assert_eq!(queue.deliver(ONE, &asked, some), Delivery::Good(2));
        let again: Vec<_> = queue.reserve(ONE, 4).iter().map(|header| header.inner().number).collect();
        assert_eq!(again, [4]);
        let lacked = queue.reserve(TWO, 4);
        assert_eq!(lacked.len(), 1);
        assert_eq!(queue.deliver(TWO, &lacked, Vec::new()), Delivery::Lacking);
        assert!(queue.reserve(TWO, 4).is_empty());
        assert!(!queue.is_next_lacking(&[ONE, TWO]), "the first is there");
        assert_eq!(popped(&mut queue), [1]);
        assert!(queue.is_next_lacking(&[ONE, TWO]) && !queue.is_next_lacking(&[ONE, TWO, THREE]));
        assert_eq!(queue.reserve(THREE, 1).len(), 1);
        assert!(!queue.is_next_lacking(&[ONE, TWO]), "somebody is asked");
    }

    #[test]
    fn foreign_bodies_are_told_and_taken_from_nobody() {
        let mut queue = queue(1..=3);
        let asked = queue.reserve(ONE, 3);
        let mut bodies = answer(&asked);
        bodies[1] = answer(&[header(77)]).remove(0);
        assert_eq!(queue.deliver(ONE, &asked, bodies), Delivery::Foreign);
        assert_eq!(popped(&mut queue), [1]);
        assert!(queue.reserve(ONE, 3).is_empty(), "it is not asked again");
        assert_eq!(queue.reserve(TWO, 3).len(), 2);
    }

    #[test]
    fn a_failed_request_is_asked_again() {
        let mut queue = queue(1..=3);
        let asked = queue.reserve(ONE, 3);
        queue.fail(&asked);
        assert_eq!(queue.reserve(ONE, 9).len(), 3);
    }

    #[test]
    fn empty_bodies_are_nobodys_work() {
        let mut queue = BodyQueue::new(1 << 20);
        let header = Header { number: 9, withdrawals_root: Some(EMPTY_ROOT_HASH), ..Header::default() };
        queue.push(vec![SealedHeader::new_unchecked(header, B256::ZERO)]);
        assert!(queue.reserve(ONE, 9).is_empty());
        let (_, body) = queue.pop().unwrap();
        assert_eq!(body.withdrawals, Some(Vec::new().into()));
    }

    #[test]
    fn memory_bounds_what_is_asked_for_but_for_the_oldest() {
        let mut queue = queue(1..=100);
        queue.limit = 8 * FIRST_ESTIMATE;
        let first = queue.reserve(ONE, 100);
        assert_eq!(first.len(), 8);
        assert!(queue.reserve(TWO, 100).is_empty());
        queue.limit = 1;
        queue.fail(&first);
        assert_eq!(queue.reserve(TWO, 100).len(), 1, "the import waits for it");
        assert!(queue.reserve(ONE, 100).is_empty());
    }
}
