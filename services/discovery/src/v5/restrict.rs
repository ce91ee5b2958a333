//! `--netrestrict` for discovery v5, whose table takes a plain function as its filter and no closure: each node that
//! restricts its networks takes one of a few functions, and gives it back when it ends.

use parking_lot::RwLock;
use quintet_enode::Netlist;

/// Nodes of one process that restrict their networks at the same time: one, but in tests.
const SLOTS: usize = 8;

static NETWORKS: [RwLock<Option<Netlist>>; SLOTS] = [const { RwLock::new(None) }; SLOTS];

/// A filter as discovery v5 takes it.
pub(super) type Filter = fn(&discv5::Enr) -> bool;

const FILTERS: [Filter; SLOTS] =
    [filter::<0>, filter::<1>, filter::<2>, filter::<3>, filter::<4>, filter::<5>, filter::<6>, filter::<7>];

fn filter<const SLOT: usize>(enr: &discv5::Enr) -> bool {
    NETWORKS.get(SLOT).is_some_and(|networks| match &*networks.read() {
        None => true,
        Some(networks) => allows(networks, enr),
    })
}

fn allows(networks: &Netlist, enr: &discv5::Enr) -> bool {
    let v4 = enr.ip4().is_none_or(|ip| networks.contains(ip.into()));
    let v6 = enr.ip6().is_none_or(|ip| networks.contains(ip.into()));
    v4 && v6
}

/// A function that is taken.
#[derive(Debug)]
pub(super) struct Slot(usize);

impl Slot {
    /// Takes a function that lets these networks through; `None` when all are taken.
    pub(super) fn take(networks: &Netlist) -> Option<Self> {
        NETWORKS.iter().enumerate().find_map(|(index, slot)| {
            let mut slot = slot.write();
            if slot.is_some() {
                return None;
            }
            *slot = Some(networks.clone());
            Some(Self(index))
        })
    }

    /// The function.
    pub(super) fn filter(&self) -> Filter {
        FILTERS.get(self.0).copied().unwrap_or(|_| false)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slot) = NETWORKS.get(self.0) {
            *slot.write() = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Slot;
    use discv5::enr::{CombinedKey, Enr};
    use std::net::Ipv4Addr;

    #[test]
    fn each_node_has_its_own_networks() {
        let key = CombinedKey::generate_secp256k1();
        let enr = |ip: Ipv4Addr| Enr::builder().ip4(ip).build(&key).expect("a record");
        let (home, away) = (enr(Ipv4Addr::LOCALHOST), enr(Ipv4Addr::new(8, 8, 8, 8)));
        let take = |text: &str| Slot::take(&text.parse().expect("networks")).expect("a free function");
        let (one, two) = (take("127.0.0.0/8"), take("8.0.0.0/8"));
        assert_eq!((one.filter()(&home), one.filter()(&away)), (true, false));
        assert_eq!((two.filter()(&home), two.filter()(&away)), (false, true));
        drop(one);
        let three = take("8.0.0.0/7");
        assert_eq!((three.filter()(&home), three.filter()(&away)), (false, true));
    }
}
