//! Endpoint proofs: who answered our pings from where, whose pings we answered, and who fails to answer questions.
//!
//! A pong proves that its sender receives what is sent to its address. Without that proof nobody gets an answer that
//! is larger than the question: a forged sender would have us flood a victim.

use crate::recent::Recent;
use alloy_primitives::B256;
use alloy_primitives::map::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// How long a pong proves where its sender is.
pub const BOND_EXPIRATION: Duration = Duration::from_hours(24);
/// How long we take our own pong to prove to others where we are: the specification's 12 hours, of which the strictest
/// of them may think.
pub const OWN_BOND_EXPIRATION: Duration = Duration::from_hours(12);
/// Unanswered questions in a row after which a node is asked for a new proof, and may lose its place in the table.
pub const MAX_FAILURES: u32 = 5;
/// Proofs that are remembered; a proof takes a ping and a pong, so that forged senders make none.
const MAX_PROOFS: usize = 16_384;
/// Nodes without a proof that are remembered beside them.
const MAX_CONTACTS: usize = 16_384;

/// A node at an address.
pub(crate) type Peer = (B256, IpAddr);

#[derive(Clone, Copy, Debug, Default)]
struct Contact {
    last_ping: Option<Duration>,
    enr_seq: Option<u64>,
    failures: u32,
}

#[derive(Debug)]
pub(crate) struct Bonds {
    proofs: Recent<Peer, Duration>,
    contacts: Recent<Peer, Contact>,
    /// How many proofs an address has.
    proved: HashMap<IpAddr, usize>,
}

impl Bonds {
    pub(crate) fn new() -> Self {
        let (proofs, contacts) = (Recent::new(MAX_PROOFS), Recent::new(MAX_CONTACTS));
        Self { proofs, contacts, proved: HashMap::default() }
    }

    /// A pong that was asked for.
    pub(crate) fn pong_received(&mut self, at: Duration, peer: Peer) {
        if self.proofs.get(&peer).is_none() {
            let count = self.proved.entry(peer.1).or_default();
            *count = count.saturating_add(1);
        }
        let (proof, forgotten) = self.proofs.touch(peer, || at);
        *proof = at;
        if let Some(((_, ip), _)) = forgotten
            && let Some(count) = self.proved.get_mut(&ip)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.proved.remove(&ip);
            }
        }
    }

    /// A ping, which is answered.
    pub(crate) fn ping_received(&mut self, at: Duration, peer: Peer) {
        self.contacts.touch(peer, Contact::default).0.last_ping = Some(at);
    }

    /// The number of its record that a ping or a pong said, if it said one (EIP-868).
    pub(crate) fn enr_seq_heard(&mut self, peer: Peer, enr_seq: Option<u64>) {
        self.contacts.touch(peer, Contact::default).0.enr_seq = Some(enr_seq.unwrap_or_default());
    }

    /// The number of its record, as the node said last; zero when it said none, `None` when it was not heard yet.
    pub(crate) fn enr_seq(&self, peer: &Peer) -> Option<u64> {
        self.contacts.get(peer)?.enr_seq
    }

    /// When the last pong came.
    pub(crate) fn last_pong(&self, peer: &Peer) -> Option<Duration> {
        self.proofs.get(peer).copied()
    }

    /// When the last ping came.
    pub(crate) fn last_ping(&self, peer: &Peer) -> Option<Duration> {
        self.contacts.get(peer)?.last_ping
    }

    /// Whether the node proved where it is.
    pub(crate) fn is_proved(&self, now: Duration, peer: &Peer) -> bool {
        self.last_pong(peer).is_some_and(|at| now.saturating_sub(at) < BOND_EXPIRATION)
    }

    /// Whether any node at this address proved to be there, however long ago.
    pub(crate) fn is_known(&self, ip: &IpAddr) -> bool {
        self.proved.contains_key(ip)
    }

    /// Whether we should prove where we are before we ask the node anything.
    pub(crate) fn must_prove(&self, now: Duration, peer: &Peer) -> bool {
        let pinged = self.last_ping(peer).is_some_and(|at| now.saturating_sub(at) < OWN_BOND_EXPIRATION);
        !pinged || self.failures(peer) > MAX_FAILURES
    }

    /// How many questions the node left unanswered since it answered one.
    pub(crate) fn failures(&self, peer: &Peer) -> u32 {
        self.contacts.get(peer).map_or(0, |contact| contact.failures)
    }

    /// Sets that number.
    pub(crate) fn set_failures(&mut self, peer: Peer, failures: u32) {
        if failures > 0 || self.contacts.get(&peer).is_some() {
            self.contacts.touch(peer, Contact::default).0.failures = failures;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn peer(number: u32) -> Peer {
        (B256::left_padding_from(&number.to_be_bytes()), Ipv4Addr::from(number).into())
    }

    #[test]
    fn proofs_end() {
        let mut bonds = Bonds::new();
        let start = Duration::from_secs(1_000_000);
        bonds.pong_received(start, peer(1));
        bonds.ping_received(start, peer(1));
        assert!(bonds.is_proved(start, &peer(1)) && !bonds.must_prove(start, &peer(1)));
        let other_ip = (peer(1).0, peer(2).1);
        assert!(!bonds.is_proved(start, &other_ip) && bonds.must_prove(start, &other_ip));
        assert!(bonds.must_prove(start + OWN_BOND_EXPIRATION, &peer(1)));
        assert!(bonds.is_proved(start + OWN_BOND_EXPIRATION, &peer(1)));
        assert!(!bonds.is_proved(start + BOND_EXPIRATION, &peer(1)));
    }

    #[test]
    fn failures_ask_for_a_new_proof() {
        let mut bonds = Bonds::new();
        bonds.ping_received(Duration::ZERO, peer(1));
        bonds.set_failures(peer(1), MAX_FAILURES);
        assert!(!bonds.must_prove(Duration::ZERO, &peer(1)));
        bonds.set_failures(peer(1), MAX_FAILURES + 1);
        assert!(bonds.must_prove(Duration::ZERO, &peer(1)));
    }

    #[test]
    fn memory_is_bounded_and_counts_stay_right() {
        let mut bonds = Bonds::new();
        for number in 0..40_000 {
            bonds.pong_received(Duration::ZERO, peer(number));
            bonds.ping_received(Duration::ZERO, peer(number));
        }
        assert_eq!((bonds.proofs.len(), bonds.contacts.len()), (MAX_PROOFS, MAX_CONTACTS));
        assert_eq!(bonds.proved.len(), MAX_PROOFS);
        assert!(!bonds.is_known(&peer(0).1) && bonds.is_known(&peer(39_999).1));
    }
}
