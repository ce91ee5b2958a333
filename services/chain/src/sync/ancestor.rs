//! The newest block that a peer's chain and ours have in common: a look at samples near our head, then by halves.

use super::network::{Fault, HeadersRequest, Start};
use quintet_types::{BlockRef, Header};

/// Headers of one request (geth's `MaxHeaderFetch`).
pub(crate) const MAX_HEADERS: u64 = 192;
/// A chain that forks off deeper is not followed (geth's `MaxForkAncestry`).
pub(crate) const MAX_FORK: u64 = 90_000;
/// Blocks from one sample to the next.
const SAMPLE_STEP: u64 = 16;

/// A header with its hash.
pub(crate) type SealedHeader = alloy_primitives::Sealed<Header>;

/// That a header is its block's.
pub(crate) const fn block_ref(header: &SealedHeader) -> BlockRef {
    BlockRef { number: header.inner().number, hash: header.hash() }
}

/// A search under way. Tells what to ask the peer, and takes the answers.
#[derive(Debug)]
pub(crate) struct AncestorSearch {
    stage: Stage,
    /// Below is too old.
    floor: u64,
}

#[derive(Debug)]
enum Stage {
    /// Samples from `from` on, each [`SAMPLE_STEP`] after the one before.
    Samples { from: u64, count: u64, genesis: BlockRef, above: u64 },
    /// `known` is common, block `unknown` is not.
    Halves { known: BlockRef, unknown: u64 },
}

impl AncestorSearch {
    /// Between our head at `local`, and a peer whose head is block `remote`. Below block `floor` is too deep.
    pub(crate) fn new(genesis: BlockRef, local: u64, remote: u64, floor: u64) -> Self {
        let top = local.min(remote);
        let from = top.saturating_sub(MAX_HEADERS);
        let ours = (local.saturating_sub(from) / SAMPLE_STEP + 1).min(2 * MAX_HEADERS / SAMPLE_STEP);
        // ethereumjs gives no headers at all when the last one's step leads beyond its head.
        let count = (remote.saturating_sub(from) / SAMPLE_STEP).clamp(1, ours);
        Self { stage: Stage::Samples { from, count, genesis, above: top.saturating_add(1) }, floor }
    }

    /// What to ask next.
    pub(crate) const fn request(&self) -> HeadersRequest {
        match self.stage {
            Stage::Samples { from, count, .. } => HeadersRequest {
                start: Start::Number(from),
                limit: count,
                skip: if count == 1 { 0 } else { SAMPLE_STEP - 1 },
                reverse: false,
            },
            Stage::Halves { known, unknown } => {
                HeadersRequest::one(Start::Number(known.number + (unknown - known.number) / 2))
            }
        }
    }

    /// The answer, with a word for each header whether we hold its block. Gives the ancestor once it is found.
    pub(crate) fn answer(
        &mut self,
        headers: &[SealedHeader],
        held: &[bool],
    ) -> Result<Option<BlockRef>, Fault> {
        match self.stage {
            Stage::Samples { from, genesis, above, .. } => {
                let right = |(place, header): (u64, &SealedHeader)| {
                    header.inner().number == from.saturating_add(place.saturating_mul(SAMPLE_STEP))
                };
                // None is no fault: a peer's chain may be shorter by now, and some give all or nothing.
                if !(0..).zip(headers).all(right) {
                    return Err(Fault::WrongHeaders);
                }
                let samples = || headers.iter().zip(held.iter().copied());
                let known = samples().rev().find(|(_, held)| *held).map(|(header, _)| block_ref(header));
                let known = known.unwrap_or(genesis);
                let unknown = samples().find(|(header, held)| !held && header.inner().number > known.number);
                let unknown = unknown.map_or(known.number.max(above), |(header, _)| header.inner().number);
                self.stage = Stage::Halves { known, unknown };
            }
            Stage::Halves { known, unknown } => {
                let middle = known.number + (unknown - known.number) / 2;
                let ([header], [held]) = (headers, held) else { return Err(Fault::WrongHeaders) };
                if header.inner().number != middle {
                    return Err(Fault::WrongHeaders);
                }
                self.stage = if *held {
                    Stage::Halves { known: block_ref(header), unknown }
                } else {
                    Stage::Halves { known, unknown: middle }
                };
            }
        }
        self.found()
    }

    fn found(&self) -> Result<Option<BlockRef>, Fault> {
        match self.stage {
            Stage::Halves { known, unknown } if unknown <= known.number.saturating_add(1) => {
                if known.number < self.floor { Err(Fault::TooOld) } else { Ok(Some(known)) }
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;

    fn header(number: u64, branch: u64) -> SealedHeader {
        let hash = U256::from(number * 10 + branch).into();
        SealedHeader::new_unchecked(Header { number, ..Header::default() }, hash)
    }

    /// Searches between two chains that are the same up to `fork`.
    fn search(fork: u64, local: u64, remote: u64) -> (Result<BlockRef, Fault>, usize) {
        search_with(fork, local, remote, |_| false)
    }

    /// The same with a peer that gives nothing to the requests that `refuses`.
    fn search_with(
        fork: u64,
        local: u64,
        remote: u64,
        refuses: impl Fn(HeadersRequest) -> bool,
    ) -> (Result<BlockRef, Fault>, usize) {
        let genesis = block_ref(&header(0, 0));
        let mut search = AncestorSearch::new(genesis, local, remote, local.saturating_sub(MAX_FORK));
        for asked in 1..40 {
            let request = search.request();
            let HeadersRequest { start: Start::Number(from), limit, skip, .. } = request else {
                panic!("by number")
            };
            assert!(limit <= MAX_HEADERS);
            let given = if refuses(request) { 0 } else { limit };
            let numbers =
                (0..given).map(|place| from + place * (skip + 1)).filter(|number| *number <= remote);
            let headers: Vec<_> = numbers.map(|number| header(number, u64::from(number > fork))).collect();
            let held: Vec<_> =
                headers.iter().map(|header| header.inner().number <= fork.min(local)).collect();
            match search.answer(&headers, &held) {
                Ok(None) => {}
                Ok(Some(found)) => return (Ok(found), asked),
                Err(fault) => return (Err(fault), asked),
            }
        }
        panic!("no end")
    }

    /// How deep the fork lies, our head, and the peer's.
    const CASES: [(u64, u64, u64); 15] = [
        (0, 0, 1000),
        (0, 1, 1),
        (0, 500, 700),
        (1, 500, 700),
        (500, 500, 700),
        (499, 500, 501),
        (430, 500, 9000),
        (7, 9000, 9500),
        (8999, 9000, 9001),
        (300, 900, 300),
        (250, 900, 300),
        (59_321, 60_000, 70_000),
        (0, 0, 10),
        (0, 0, 31),
        (12, 12, 13),
    ];

    #[test]
    fn the_fork_is_found_wherever_it_lies() {
        for (fork, local, remote) in CASES {
            let (found, asked) = search(fork, local, remote);
            assert_eq!(found, Ok(block_ref(&header(fork, 0))), "{fork} {local} {remote}");
            assert!(asked <= 20, "{asked} requests for {fork} {local} {remote}");
        }
    }

    /// To ask it for such is to get nothing from ethereumjs.
    #[test]
    fn nothing_is_asked_for_that_leads_beyond_the_peers_head() {
        for (fork, local, remote) in CASES {
            let beyond = |request: HeadersRequest| {
                let HeadersRequest { start: Start::Number(from), limit, skip, .. } = request else {
                    panic!("by number")
                };
                let reach = if limit == 1 { from } else { from + limit * (skip + 1) };
                assert!(reach <= remote, "{request:?} of a peer at block {remote}");
                false
            };
            let (found, _) = search_with(fork, local, remote, beyond);
            assert_eq!(found, Ok(block_ref(&header(fork, 0))), "{fork} {local} {remote}");
        }
    }

    #[test]
    fn a_peer_without_samples_is_searched_by_halves() {
        for (fork, local, remote) in CASES {
            let (found, asked) = search_with(fork, local, remote, |request| request.limit > 1);
            assert_eq!(found, Ok(block_ref(&header(fork, 0))), "{fork} {local} {remote}");
            assert!(asked <= 20, "{asked} requests for {fork} {local} {remote}");
        }
    }

    #[test]
    fn near_the_head_a_few_requests_do() {
        assert!(search(9_995, 10_000, 10_400).1 <= 5);
        assert!(search(10_000, 10_000, 500_000).1 <= 5);
    }

    #[test]
    fn a_fork_too_deep_is_not_followed() {
        assert_eq!(search(5, 200_000, 200_100).0, Err(Fault::TooOld));
        assert!(search(110_500, 200_000, 200_100).0.is_ok());
    }

    #[test]
    fn other_headers_than_asked_for_are_a_fault() {
        let genesis = block_ref(&header(0, 0));
        let mut search = AncestorSearch::new(genesis, 100, 100, 0);
        assert_eq!(search.answer(&[header(3, 0)], &[true]), Err(Fault::WrongHeaders));
        search.answer(&[header(0, 0)], &[true]).unwrap();
        assert_eq!(search.answer(&[header(51, 0)], &[true]), Err(Fault::WrongHeaders));
        assert_eq!(search.answer(&[], &[]), Err(Fault::WrongHeaders));
    }
}
