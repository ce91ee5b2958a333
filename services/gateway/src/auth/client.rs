//! Who a request comes from: the address of the peer, or what proxies that are trusted say of theirs.

use http::{HeaderMap, HeaderName};
use std::net::{IpAddr, Ipv6Addr};

/// Where proxies write whom they speak for, the nearest last.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Bits of an IPv6 address that one customer has: within them they choose as they like.
const CUSTOMER_BITS: u32 = 64;

/// A range of addresses, as `10.0.0.0/8` or `fd00::/8`; a single one without a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    bits: u128,
    mask: u128,
    is_v4: bool,
}

impl Network {
    /// Reads a range.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let (bits, is_v4, most) = bits(address);
        let length = length.unwrap_or(most);
        if length > most {
            return None;
        }
        let mask = u128::MAX.checked_shl(most - length).unwrap_or_default();
        Some(Self { bits: bits & mask, mask, is_v4 })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (bits, is_v4, _) = bits(address);
        self.is_v4 == is_v4 && bits & self.mask == self.bits
    }
}

/// An address as a number, whether it is of IPv4, and how many bits it has.
fn bits(address: IpAddr) -> (u128, bool, u32) {
    match address.to_canonical() {
        IpAddr::V4(address) => (u32::from(address).into(), true, 32),
        IpAddr::V6(address) => (address.into(), false, 128),
    }
}

/// Proxies whose word is taken for whom they speak for.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    pub(crate) const fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whose requests are counted together. The right-most hop that no trusted proxy is: what stands left of it,
    /// anybody could have written.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if self.0.is_empty() || !self.trusts(peer) {
            return customer(peer);
        }
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let hops = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
        let mut client = peer;
        for hop in hops {
            // Behind what is no address nothing can be believed.
            let Some(address) = hop_address(hop.trim()) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        customer(client)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// An address, with or without a port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let unbracketed = hop.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(address, _)| address);
    let without_port = || hop.rsplit_once(':').filter(|(host, _)| !host.contains(':')).map(|(host, _)| host);
    unbracketed.or_else(without_port).unwrap_or(hop).parse().ok()
}

/// One client has one IPv4 address, or an IPv6 network.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> (128 - CUSTOMER_BITS) << (128 - CUSTOMER_BITS);
            Ipv6Addr::from(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.7/8", "10.1.1.1", true),
            ("0.0.0.0/0", "255.1.1.1", true),
            ("0.0.0.0/0", "::1", false),
            ("192.168.1.1", "192.168.1.1", true),
            ("192.168.1.1", "192.168.1.2", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "2001:db8::1", true),
            ("fd00::/8", "fe80::1", false),
        ] {
            let parsed = Network::parse(network).expect("a network");
            assert_eq!(parsed.contains(ip(address)), expected, "{network} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "example.com", "10.0.0.0/8/8", "10.0.0/8"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| Network::parse(network).expect("a network"));
        let proxies = TrustedProxies::new(networks.to_vec());
        for (peer, lines, expected) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            // The left one was written by the client.
            ("10.0.0.1", &["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["127.0.0.1", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["127.0.0.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("fd00::1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["[2001:db8:1:2:3:4:5:6]:99"], "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::"),
            ("::ffff:203.0.113.9", &[], "203.0.113.9"),
        ] {
            let headers = lines.iter().map(|line| (FORWARDED_FOR, line.parse().expect("a value")));
            let headers: HeaderMap = headers.collect();
            assert_eq!(proxies.client(ip(peer), &headers), ip(expected), "{peer} {lines:?}");
        }
        let headers = [(FORWARDED_FOR, "198.51.100.1".parse().expect("a value"))].into_iter().collect();
        assert_eq!(TrustedProxies::default().client(ip("127.0.0.1"), &headers), ip("127.0.0.1"));
    }
}
