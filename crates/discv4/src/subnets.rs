//! How many addresses of one network there are.

use alloy_primitives::map::HashMap;
use quintet_enode::{is_lan, subnet};
use std::net::IpAddr;

/// The bits of an address that name its network.
const SUBNET_BITS: u32 = 24;

/// Counts of addresses by /24. Those of local networks are not counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subnets(HashMap<IpAddr, usize>);

impl Subnets {
    /// Counts an address, unless `limit` of its network are counted already.
    pub(crate) fn add(&mut self, ip: IpAddr, limit: usize) -> bool {
        if is_lan(ip) {
            return true;
        }
        let count = self.0.entry(subnet(ip, SUBNET_BITS)).or_default();
        if *count >= limit {
            return false;
        }
        *count = count.saturating_add(1);
        true
    }

    /// Takes back an [`Self::add`].
    pub(crate) fn remove(&mut self, ip: IpAddr) {
        let network = subnet(ip, SUBNET_BITS);
        if let Some(count) = self.0.get_mut(&network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&network);
            }
        }
    }
}
