//! What nodes and addresses have done to us, and for how long they are not talked to because of it.
//!
//! Points are taken for offences and come back with time. Who has lost 100 is banned: for ten minutes the first time, and
//! twice as long each time again while it is remembered. An address answers for what is not yet a node's: handshakes that
//! fail. What must hold: trusted nodes are never banned, and neither are addresses of local networks, which many share;
//! what is remembered is bounded, whoever offends.

use crate::expiring::Expiring;
use alloy_primitives::B256;
use quintet_enode::is_lan;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Points that are lost at once where there is no forgiving: they ban.
pub(crate) const BAN_POINTS: u32 = 100;
/// A point comes back in this time: all of them in ten minutes.
const POINT_RETURNS: Duration = Duration::from_secs(6);
const FIRST_BAN: Duration = Duration::from_mins(10);
const LONGEST_BAN: Duration = Duration::from_hours(24);
/// How long after a ban the next one is longer.
const BAN_MEMORY: Duration = Duration::from_hours(6);
/// Nodes, and addresses, of which something is remembered.
const CAPACITY: usize = 4096;

/// Something that costs points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offence {
    /// No handshake came, or none that is valid.
    BadHandshake,
    /// A frame that cannot be: its MAC, its size, its compression.
    BadFrame,
    /// A message that the agreed protocols do not have, or one out of order.
    Breach,
    /// It asks for more than it reads.
    Flood,
    /// What `chain` found.
    Reported(u32),
}

impl Offence {
    /// Points that it costs.
    pub(crate) const fn points(self) -> u32 {
        match self {
            Self::BadHandshake => 10,
            Self::Flood => 25,
            Self::Breach => 50,
            Self::BadFrame => BAN_POINTS,
            Self::Reported(points) => points,
        }
    }

    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BadHandshake => "bad_handshake",
            Self::BadFrame => "bad_frame",
            Self::Breach => "breach",
            Self::Flood => "flood",
            Self::Reported(_) => "reported",
        }
    }
}

/// The reputation of nodes and addresses.
#[derive(Debug)]
pub(crate) struct Reputation {
    nodes: Ledger<B256>,
    addresses: Ledger<IpAddr>,
}

impl Default for Reputation {
    fn default() -> Self {
        Self { nodes: Ledger::new(), addresses: Ledger::new() }
    }
}

impl Reputation {
    /// Takes points from a node; true when that bans it.
    pub(crate) fn punish_node(&mut self, node: B256, offence: Offence, now: Instant) -> bool {
        self.nodes.punish(node, offence, now)
    }

    /// Takes points from an address; true when that bans it.
    pub(crate) fn punish_address(&mut self, address: IpAddr, offence: Offence, now: Instant) -> bool {
        !is_lan(address) && self.addresses.punish(address.to_canonical(), offence, now)
    }

    /// Whether a node is banned.
    pub(crate) fn bars_node(&self, node: &B256, now: Instant) -> bool {
        self.nodes.bans.contains(node, now)
    }

    /// Whether an address is banned.
    pub(crate) fn bars_address(&self, address: IpAddr, now: Instant) -> bool {
        self.addresses.bans.contains(&address.to_canonical(), now)
    }

    /// Takes a node's ban back.
    pub(crate) fn pardon(&mut self, node: &B256) {
        self.nodes.bans.remove(node);
        self.nodes.accounts.remove(node);
    }

    /// Forgets what time has healed; gives how many nodes and addresses are banned.
    pub(crate) fn expire(&mut self, now: Instant) -> (usize, usize) {
        (self.nodes.expire(now), self.addresses.expire(now))
    }
}

/// Points lost, as of a moment.
#[derive(Clone, Copy, Debug)]
struct Account {
    lost: u32,
    at: Instant,
    /// Bans in a row.
    bans: u32,
    last_ban: Option<Instant>,
}

impl Account {
    const fn new(now: Instant) -> Self {
        Self { lost: 0, at: now, bans: 0, last_ban: None }
    }

    /// Gives points back for the time since.
    fn heal(&mut self, now: Instant) {
        let returned = now.saturating_duration_since(self.at).as_secs() / POINT_RETURNS.as_secs();
        let returned = u32::try_from(returned).unwrap_or(u32::MAX);
        if returned > 0 {
            self.lost = self.lost.saturating_sub(returned);
            self.at = now;
        }
        if self.last_ban.is_some_and(|last| now.saturating_duration_since(last) >= BAN_MEMORY) {
            self.bans = 0;
            self.last_ban = None;
        }
    }

    const fn is_clear(&self) -> bool {
        self.lost == 0 && self.last_ban.is_none()
    }
}

#[derive(Debug)]
struct Ledger<K> {
    accounts: HashMap<K, Account>,
    bans: Expiring<K>,
}

impl<K: Copy + Eq + Hash + Ord> Ledger<K> {
    fn new() -> Self {
        Self { accounts: HashMap::new(), bans: Expiring::new(CAPACITY) }
    }

    fn punish(&mut self, key: K, offence: Offence, now: Instant) -> bool {
        self.make_room(now);
        let account = self.accounts.entry(key).or_insert_with(|| Account::new(now));
        account.heal(now);
        account.lost = account.lost.saturating_add(offence.points());
        if account.lost < BAN_POINTS {
            return false;
        }
        let length = FIRST_BAN.saturating_mul(1_u32.checked_shl(account.bans).unwrap_or(u32::MAX));
        let until = now + length.min(LONGEST_BAN);
        (account.lost, account.bans, account.last_ban) = (0, account.bans.saturating_add(1), Some(until));
        self.bans.insert(key, until);
        true
    }

    /// Forgets the ones that lost least, when there are too many.
    fn make_room(&mut self, now: Instant) {
        if self.accounts.len() < CAPACITY {
            return;
        }
        self.expire(now);
        let mut weights: Vec<_> =
            self.accounts.iter().map(|(key, account)| (account.bans, account.lost, *key)).collect();
        weights.sort_unstable();
        // An eighth at once, so that an attacker with many keys does not make each offence a sort.
        let surplus = self.accounts.len().saturating_sub(CAPACITY - CAPACITY / 8);
        for (_, _, key) in weights.into_iter().take(surplus) {
            self.accounts.remove(&key);
        }
    }

    fn expire(&mut self, now: Instant) -> usize {
        self.bans.expire(now);
        self.accounts.retain(|_, account| {
            account.heal(now);
            !account.is_clear()
        });
        self.bans.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{BAN_POINTS, CAPACITY, Offence, Reputation};
    use alloy_primitives::{B256, U256};
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, Instant};

    const NODE: B256 = B256::repeat_byte(7);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn points_come_back_and_a_hundred_ban() {
        let (mut reputation, start) = (Reputation::default(), Instant::now());
        assert!(!reputation.punish_node(NODE, Offence::Breach, start));
        // After five minutes all 50 are back.
        let later = start + SECOND * 300;
        assert!(!reputation.punish_node(NODE, Offence::Breach, later));
        assert!(!reputation.bars_node(&NODE, later));
        assert!(reputation.punish_node(NODE, Offence::Breach, later + SECOND));
        assert!(reputation.bars_node(&NODE, later + SECOND * 600));
        let over = later + SECOND * 601;
        assert!(!reputation.bars_node(&NODE, over));
        // The second ban is twice as long; after hours it is the first again.
        assert!(reputation.punish_node(NODE, Offence::BadFrame, over));
        assert!(reputation.bars_node(&NODE, over + SECOND * 1199));
        assert!(!reputation.bars_node(&NODE, over + SECOND * 1200));
        let much_later = over + SECOND * 3600 * 8;
        assert!(reputation.punish_node(NODE, Offence::Reported(BAN_POINTS), much_later));
        assert!(!reputation.bars_node(&NODE, much_later + SECOND * 600));
        assert!(reputation.bars_node(&NODE, much_later));
        reputation.pardon(&NODE);
        assert!(!reputation.bars_node(&NODE, much_later));
        assert_eq!(reputation.expire(much_later), (0, 0));
    }

    #[test]
    fn addresses_answer_for_handshakes_but_local_ones_do_not() {
        let (mut reputation, now) = (Reputation::default(), Instant::now());
        let [public, local]: [IpAddr; 2] = [[8, 8, 8, 8].into(), [10, 0, 0, 1].into()];
        for _ in 0..9 {
            assert!(!reputation.punish_address(public, Offence::BadHandshake, now));
        }
        assert!(reputation.punish_address(public, Offence::BadHandshake, now));
        assert!(reputation.bars_address(IpAddr::V6(Ipv4Addr::new(8, 8, 8, 8).to_ipv6_mapped()), now));
        for _ in 0..20 {
            assert!(!reputation.punish_address(local, Offence::BadHandshake, now));
        }
        assert!(!reputation.bars_address(local, now));
        assert_eq!(reputation.expire(now), (0, 1));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_worst_is_kept() {
        let (mut reputation, now) = (Reputation::default(), Instant::now());
        reputation.punish_node(NODE, Offence::Breach, now);
        for number in 0..3 * CAPACITY {
            reputation.punish_node(B256::from(U256::from(number)), Offence::BadHandshake, now);
            assert!(reputation.nodes.accounts.len() <= CAPACITY);
        }
        assert!(reputation.punish_node(NODE, Offence::Breach, now), "its first breach is remembered");
    }
}
