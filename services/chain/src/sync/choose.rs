//! Which peer to sync with: the one that claims the best chain, if that is better than ours. Those that were at fault
//! have to wait: shortly while there is nobody else to sync with, and longer otherwise.

use super::network::{Fault, PeerHead, PeerId, PeerView};
use crate::chain::Head;
use alloy_primitives::B256;
use alloy_primitives::map::B256Map;
use std::time::Duration;
use tokio::time::Instant;

/// How long who did wrong is not synced with, should it still be there.
const SHUNNED: Duration = Duration::from_mins(5);
/// The same for who was only slow.
const SHUNNED_SHORTLY: Duration = Duration::from_secs(30);
/// A request of a sync is given up after this long. With a peer's estimates it may be sooner.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for a peer that syncs came to nothing with again and again: it may be a slow one.
const MOST_PATIENCE: Duration = Duration::from_secs(40);
/// A chain that moved so often, one sync after the other, is a fault.
const MOST_MOVES: u32 = 3;
/// Announced blocks further ahead are a reason to sync at once: the block fetcher does not take them.
pub(crate) const FAR_AHEAD: u64 = 32;
/// Peers whose announcements are remembered.
const MOST_PEERS: usize = 1024;

/// What is remembered of peers from one sync to the next.
#[derive(Debug, Default)]
pub(crate) struct Chooser {
    shunned: B256Map<Shunned>,
    /// How often syncs with a peer have stalled.
    stalls: B256Map<u32>,
    moves: B256Map<u32>,
    /// Heads that turned out to be no better than ours.
    dull: B256Map<B256>,
    /// The highest blocks that were announced.
    announced: B256Map<(B256, u64)>,
}

/// How long a peer is not synced with.
#[derive(Clone, Copy, Debug)]
struct Shunned {
    /// If there is nobody else.
    alone: Instant,
    /// If there is.
    until: Instant,
}

/// How to sync.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Whose chain.
    pub(crate) master: PeerView,
    /// No request takes longer.
    pub(crate) patience: Duration,
    /// Peers that stalled before: they are asked after the others.
    pub(crate) doubtful: Vec<PeerId>,
}

impl Chooser {
    /// The peer to sync with. `merged` is whether the chain has left proof of work at our head.
    pub(crate) fn best(
        &mut self,
        now: Instant,
        peers: &[PeerView],
        ours: &Head,
        merged: bool,
    ) -> Option<PeerView> {
        self.shunned.retain(|_, shunned| now < shunned.until);
        self.announced.retain(|peer, _| peers.iter().any(|view| view.id == *peer));
        self.moves.retain(|peer, _| peers.iter().any(|view| view.id == *peer));
        self.dull.retain(|peer, _| peers.iter().any(|view| view.id == *peer));
        self.stalls.retain(|peer, _| peers.iter().any(|view| view.id == *peer));
        let waits = |peer: &PeerId, until: fn(&Shunned) -> Instant| {
            self.shunned.get(peer).is_some_and(|shunned| now < until(shunned))
        };
        let trusted = |peer: &PeerId| !waits(peer, |shunned| shunned.until);
        let forgiven = |peer: &PeerId| !waits(peer, |shunned| shunned.alone);
        self.best_of(peers, &trusted, ours, merged).or_else(|| self.best_of(peers, &forgiven, ours, merged))
    }

    fn best_of(
        &self,
        peers: &[PeerView],
        may: &dyn Fn(&PeerId) -> bool,
        ours: &Head,
        merged: bool,
    ) -> Option<PeerView> {
        let by_status = peers.iter().filter(|peer| may(&peer.id)).copied();
        let by_announcement = peers.iter().filter(|peer| may(&peer.id)).filter_map(|peer| {
            let (hash, number) = *self.announced.get(&peer.id)?;
            let head = PeerHead { hash, number: Some(number), total_difficulty: None };
            Some(PeerView { head, ..*peer }).filter(|_| number > ours.block.number.saturating_add(1))
        });
        // Who has pruned what we need next is no master, and not at fault.
        let next = ours.block.number.saturating_add(1);
        let candidates = by_status.chain(by_announcement);
        let candidates = candidates.filter(|peer| peer.earliest.is_none_or(|earliest| earliest <= next));
        let ahead = candidates.filter(|peer| {
            self.dull.get(&peer.id) != Some(&peer.head.hash) && is_ahead(&peer.head, ours, merged)
        });
        let weight = |peer: &PeerView| {
            let difficulty = peer.head.total_difficulty.filter(|_| !merged).unwrap_or_default();
            (difficulty, peer.head.number.unwrap_or_default())
        };
        ahead.max_by_key(weight)
    }

    /// Takes note of announcements; says whether they are too far ahead for the block fetcher.
    pub(crate) fn announced(&mut self, peer: PeerId, blocks: &[(B256, u64)], ours: u64) -> bool {
        let Some((hash, number)) = blocks.iter().copied().max_by_key(|(_, number)| *number) else {
            return false;
        };
        if number <= ours || (self.announced.len() >= MOST_PEERS && !self.announced.contains_key(&peer)) {
            return false;
        }
        self.announced.insert(peer, (hash, number));
        number > ours.saturating_add(FAR_AHEAD)
    }

    /// A sync brought what it promised.
    pub(crate) fn succeeded(&mut self, peer: PeerId) {
        self.moves.remove(&peer);
        self.announced.remove(&peer);
    }

    /// The peer did wrong.
    pub(crate) fn shun(&mut self, now: Instant, peer: PeerId, fault: &Fault) {
        let while_ = if fault.is_severe() { SHUNNED } else { SHUNNED_SHORTLY };
        self.shunned.insert(peer, Shunned { alone: now + SHUNNED_SHORTLY, until: now + while_ });
        self.announced.remove(&peer);
        if *fault == Fault::Stalling {
            let stalls = self.stalls.entry(peer).or_default();
            *stalls = stalls.saturating_add(1);
        }
    }

    /// How to sync with a peer.
    pub(crate) fn plan(&self, master: PeerView) -> Plan {
        let stalls = self.stalls.get(&master.id).copied().unwrap_or_default();
        let patience = PATIENCE.saturating_mul(1 << stalls.min(2)).min(MOST_PATIENCE);
        Plan { master, patience, doubtful: self.stalls.keys().copied().collect() }
    }

    /// The peer is to be left alone shortly.
    pub(crate) fn pause(&mut self, now: Instant, peer: PeerId, length: Duration) {
        self.shunned.insert(peer, Shunned { alone: now + length, until: now + length });
    }

    /// The peer's chain changed under a sync; says whether it has done so too often.
    pub(crate) fn moved(&mut self, peer: PeerId) -> bool {
        let moves = self.moves.entry(peer).or_default();
        *moves = moves.saturating_add(1);
        let often = *moves >= MOST_MOVES;
        if often {
            self.moves.remove(&peer);
        }
        often
    }

    /// The peer's head is known, and no better than ours.
    pub(crate) fn not_ahead(&mut self, peer: PeerId, head: B256) {
        self.dull.insert(peer, head);
        self.announced.remove(&peer);
    }
}

/// Whether a peer claims a better chain than ours.
fn is_ahead(peer: &PeerHead, ours: &Head, merged: bool) -> bool {
    if peer.hash == ours.block.hash {
        return false;
    }
    let longer = peer.number.map(|number| number > ours.block.number);
    match peer.total_difficulty {
        // There is nothing to compare but numbers, and the older versions of `eth` do not tell those.
        Some(_) if merged => longer.unwrap_or(true),
        Some(claimed) => claimed > ours.total_difficulty,
        None => longer.unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use quintet_types::{BlockRef, Header};

    fn ours() -> Head {
        Head {
            block: BlockRef { number: 100, hash: B256::repeat_byte(0xaa) },
            header: Header { number: 100, ..Header::default() },
            total_difficulty: U256::from(1000),
        }
    }

    fn peer(id: u8, difficulty: Option<u64>, number: Option<u64>) -> PeerView {
        let head =
            PeerHead { hash: B256::repeat_byte(id), number, total_difficulty: difficulty.map(U256::from) };
        PeerView { id: B256::repeat_byte(id), head, earliest: None, snap: false }
    }

    fn best(chooser: &mut Chooser, peers: &[PeerView], merged: bool) -> Option<u8> {
        chooser.best(Instant::now(), peers, &ours(), merged).map(|peer| peer.id[0])
    }

    #[tokio::test]
    async fn work_decides_and_numbers_where_there_is_none() {
        let mut chooser = Chooser::default();
        let worse = peer(1, Some(1000), Some(500));
        assert_eq!(best(&mut chooser, &[worse], false), None);
        assert_eq!(best(&mut chooser, &[worse, peer(2, Some(1001), None)], false), Some(2));
        assert_eq!(
            best(&mut chooser, &[peer(2, Some(1001), None), peer(3, Some(2000), None)], false),
            Some(3)
        );
        assert_eq!(best(&mut chooser, &[worse, peer(4, None, Some(101))], false), Some(4));
        assert_eq!(best(&mut chooser, &[peer(4, None, Some(100)), peer(5, None, None)], false), None);
        assert_eq!(best(&mut chooser, &[worse], true), Some(1));
        assert_eq!(best(&mut chooser, &[peer(1, Some(9), Some(100))], true), None);
        assert_eq!(best(&mut chooser, &[peer(0xaa, Some(9), None)], true), None);
        assert_eq!(best(&mut chooser, &[peer(1, Some(9), None)], true), Some(1));
    }

    #[tokio::test]
    async fn who_has_pruned_what_is_needed_is_no_master() {
        let mut chooser = Chooser::default();
        let pruned = |earliest| PeerView { earliest: Some(earliest), ..peer(1, None, Some(500)) };
        assert_eq!(best(&mut chooser, &[pruned(102)], false), None);
        assert_eq!(best(&mut chooser, &[pruned(102), peer(2, None, Some(200))], false), Some(2));
        assert_eq!(best(&mut chooser, &[pruned(101)], false), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_did_wrong_has_to_wait() {
        let mut chooser = Chooser::default();
        let peers = [peer(1, Some(3000), None), peer(2, Some(2000), None)];
        chooser.shun(Instant::now(), peers[0].id, &Fault::Unlinked);
        assert_eq!(best(&mut chooser, &peers, false), Some(2));
        chooser.shun(Instant::now(), peers[1].id, &Fault::Stalling);
        assert_eq!(best(&mut chooser, &peers, false), None);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(best(&mut chooser, &peers, false), Some(2));
        tokio::time::advance(Duration::from_mins(5)).await;
        assert_eq!(best(&mut chooser, &peers, false), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_did_wrong_is_tried_again_soon_when_there_is_nobody_else() {
        let mut chooser = Chooser::default();
        let bad = peer(1, Some(3000), None);
        chooser.shun(Instant::now(), bad.id, &Fault::WrongHeaders);
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(best(&mut chooser, &[bad], false), None);
        // In the meantime it was away.
        assert_eq!(best(&mut chooser, &[], false), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(best(&mut chooser, &[bad], false), Some(1));
        assert_eq!(best(&mut chooser, &[bad, peer(2, Some(2000), None)], false), Some(2));
        // Another that is no further than we are is nobody to sync with.
        assert_eq!(best(&mut chooser, &[bad, peer(2, Some(1000), None)], false), Some(1));
    }

    #[tokio::test]
    async fn a_slow_peer_is_given_more_time_after_each_stall_up_to_a_limit() {
        let mut chooser = Chooser::default();
        let slow = peer(1, Some(3000), None);
        for seconds in [10, 20, 40, 40] {
            assert_eq!(chooser.plan(slow).patience, Duration::from_secs(seconds));
            chooser.shun(Instant::now(), slow.id, &Fault::Stalling);
        }
        let plan = chooser.plan(peer(2, Some(1), None));
        assert_eq!((plan.patience, plan.doubtful), (Duration::from_secs(10), vec![slow.id]));
    }

    #[tokio::test]
    async fn heads_that_were_looked_at_are_not_looked_at_again() {
        let mut chooser = Chooser::default();
        let peers = [peer(1, Some(9), None)];
        chooser.not_ahead(peers[0].id, peers[0].head.hash);
        assert_eq!(best(&mut chooser, &peers, true), None);
        let mut moved = peers;
        moved[0].head.hash = B256::repeat_byte(9);
        assert_eq!(best(&mut chooser, &moved, true), Some(1));
    }

    #[tokio::test]
    async fn announcements_ahead_are_remembered() {
        let mut chooser = Chooser::default();
        let peers = [peer(1, Some(1000), None)];
        let hash = B256::repeat_byte(7);
        assert!(!chooser.announced(peers[0].id, &[(hash, 101)], 100));
        assert_eq!(best(&mut chooser, &peers, false), None, "the fetcher's work");
        assert!(!chooser.announced(peers[0].id, &[(hash, 103)], 100));
        assert_eq!(best(&mut chooser, &peers, false), Some(1));
        assert!(chooser.announced(peers[0].id, &[(hash, 133)], 100));
        chooser.succeeded(peers[0].id);
        assert_eq!(best(&mut chooser, &peers, false), None);
    }

    #[test]
    fn a_chain_that_always_moves_is_a_fault() {
        let mut chooser = Chooser::default();
        let peer = B256::repeat_byte(1);
        assert!(!chooser.moved(peer));
        chooser.succeeded(peer);
        assert_eq!([chooser.moved(peer), chooser.moved(peer), chooser.moved(peer)], [false, false, true]);
    }
}
