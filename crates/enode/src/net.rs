//! Which addresses may be told to whom, and which networks an operator allows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::LazyLock;

/// Networks whose members trust each other's addresses: private use, and links (geth's LAN lists).
const LAN: [&str; 6] =
    ["0.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fe80::/10", "fc00::/7"];
/// Addresses for special purposes, where no node can be (RFC 5735, RFC 5156, and IANA's registries).
const SPECIAL: [&str; 24] = [
    "192.0.0.0/29",
    "192.0.0.9/32",
    "192.0.0.170/32",
    "192.0.0.171/32",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "255.255.255.255/32",
    "100::/64",
    "2001::/32",
    "2001:1::1/128",
    "2001:2::/48",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:5::/32",
    "2001:10::/28",
    "2001:20::/28",
    "2001:db8::/32",
    "2002::/16",
];

static LAN_LIST: LazyLock<Netlist> = LazyLock::new(|| Netlist::of(&LAN));
static SPECIAL_LIST: LazyLock<Netlist> = LazyLock::new(|| Netlist::of(&SPECIAL));

/// Whether an address is of a local network, or of this machine.
pub fn is_lan(ip: IpAddr) -> bool {
    ip.is_loopback() || LAN_LIST.contains(ip)
}

/// Whether a node at `sender` may say that another one is at `ip`: never for an address that no node can have, and
/// for a local one only when it is local itself.
pub fn may_relay(sender: IpAddr, ip: IpAddr) -> bool {
    let possible = !ip.is_unspecified() && !ip.is_multicast() && !SPECIAL_LIST.contains(ip);
    let loopback = !ip.is_loopback() || sender.is_loopback();
    possible && loopback && (!is_lan(ip) || is_lan(sender))
}

/// Networks, as `--netrestrict` lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Netlist(Vec<Network>);

impl Netlist {
    /// Whether one of them has this address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip.to_canonical()))
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(networks: &[&str]) -> Self {
        Self(networks.iter().filter_map(|text| text.parse().ok()).collect())
    }
}

/// A text that is no list of networks; it holds the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct NetlistError(String);

impl FromStr for Netlist {
    type Err = NetlistError;

    /// Reads networks in CIDR notation with commas between them, and blanks and more commas wherever.
    fn from_str(text: &str) -> Result<Self, NetlistError> {
        let text: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        let parts = text.split(',').filter(|part| !part.is_empty());
        parts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    ip: IpAddr,
    bits: u32,
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        subnet(ip, self.bits) == subnet(self.ip, self.bits)
    }
}

impl FromStr for Network {
    type Err = NetlistError;

    fn from_str(text: &str) -> Result<Self, NetlistError> {
        let wrong = || NetlistError(text.to_owned());
        let (ip, bits) = text.split_once('/').ok_or_else(wrong)?;
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let bits: u32 = bits.parse().map_err(|_| wrong())?;
        if bits > if ip.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS } {
            return Err(wrong());
        }
        Ok(Self { ip, bits })
    }
}

/// The network of the addresses whose first `bits` bits are those of `ip`, by its first address.
pub fn subnet(ip: IpAddr, bits: u32) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(Ipv4Addr::BITS.saturating_sub(bits)).unwrap_or_default();
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(Ipv6Addr::BITS.saturating_sub(bits)).unwrap_or_default();
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn all_built_in_networks_are_read() {
        assert_eq!((LAN_LIST.0.len(), SPECIAL_LIST.0.len()), (LAN.len(), SPECIAL.len()));
    }

    #[test]
    fn local_addresses_stay_local() {
        let lan = [
            "127.0.0.1",
            "10.0.1.1",
            "10.22.0.3",
            "172.31.252.251",
            "192.168.1.4",
            "fe80::f4a1:8eff:fec5:9d9d",
            "febf::ab32:2233",
            "fc00::4",
            "::1",
        ];
        let wan = ["192.0.2.1", "1.0.0.0", "172.32.0.1", "fec0::2233"];
        for text in lan {
            assert!(is_lan(ip(text)), "{text}");
        }
        for text in wan {
            assert!(!is_lan(ip(text)), "{text}");
        }
    }

    #[test]
    fn relayed_addresses_must_be_possible() {
        let cases = [
            ("127.0.0.1", "0.0.0.0", false),
            ("192.168.0.1", "0.0.0.0", false),
            ("23.55.1.242", "255.255.255.255", false),
            ("192.168.0.1", "127.0.2.19", false),
            ("23.55.1.242", "192.168.0.1", false),
            ("127.0.0.1", "127.0.2.19", true),
            ("127.0.0.1", "192.168.0.1", true),
            ("127.0.0.1", "23.55.1.242", true),
            ("192.168.0.1", "192.168.0.2", true),
            ("23.55.1.242", "1.1.1.1", true),
            ("23.55.1.242", "224.0.0.22", false),
            ("23.55.1.242", "203.0.113.5", false),
            ("2600::1", "2001:db8::1", false),
            ("2600::1", "2600::2", true),
        ];
        for (sender, relayed, expected) in cases {
            assert_eq!(may_relay(ip(sender), ip(relayed)), expected, "{sender} {relayed}");
        }
    }

    #[test]
    fn lists_are_read_as_geth_reads_them() {
        let list: Netlist = " 127.0.0.0/8,, 23.23.23.23/24 ,\n\t2600::/16,".parse().unwrap();
        for (text, expected) in [
            ("127.9.9.9", true),
            ("23.23.23.1", true),
            ("23.23.24.1", false),
            ("2600:ffff::1", true),
            ("2601::1", false),
            ("::ffff:127.0.0.1", true),
        ] {
            assert_eq!(list.contains(ip(text)), expected, "{text}");
        }
        assert!("0.0.0.0/0".parse::<Netlist>().unwrap().contains(ip("9.9.9.9")));
        assert_eq!("".parse(), Ok(Netlist::default()));
        for wrong in ["127.0.0.1", "127.0.0.0/33", "::/129", "x/8", "1.2.3.4/-1"] {
            let error = format!("10.0.0.0/8,{wrong}").parse::<Netlist>().unwrap_err();
            assert_eq!(error.to_string(), format!("invalid CIDR address: {wrong}"));
        }
    }
}
