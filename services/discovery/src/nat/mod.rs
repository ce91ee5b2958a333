//! `--nat`: how the node gets ports and an address that others can reach, in geth's words.
//!
//! [`Nat`] is the choice, [`Gateway`] what it finds, and [`mapping`] the task that keeps the ports mapped and tells the
//! node its external address.

mod gateway;
pub mod mapping;
mod route;
pub mod stun;

pub use gateway::{Gateway, NatError, Protocol, Search};

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// A mechanism of port mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nat {
    /// None: the node's ports are its own.
    None,
    /// UPnP or NAT-PMP, whichever answers first.
    Any,
    /// Universal Plug and Play, with the gateway that answers.
    Upnp,
    /// NAT-PMP or its successor PCP, with this gateway or the one of the default route.
    Pmp(Option<Ipv4Addr>),
    /// An external address that the user knows, with the ports mapped by hand.
    ExtIp(IpAddr),
    /// A STUN server tells the external address; ports are mapped by hand.
    Stun(Option<String>),
}

/// A text that names no mechanism.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NatSyntaxError {
    /// No such mechanism.
    #[error("unknown mechanism {0:?}")]
    Unknown(String),
    /// `extip` without an address.
    #[error("missing IP address")]
    MissingIp,
    /// What should be an address is none.
    #[error("invalid IP address")]
    InvalidIp,
}

impl FromStr for Nat {
    type Err = NatSyntaxError;

    fn from_str(text: &str) -> Result<Self, NatSyntaxError> {
        let (mechanism, argument) = match text.split_once(':') {
            Some((mechanism, argument)) => (mechanism, Some(argument)),
            None => (text, None),
        };
        let ip =
            || argument.map(|ip| ip.parse::<IpAddr>().map_err(|_| NatSyntaxError::InvalidIp)).transpose();
        match mechanism.to_lowercase().as_str() {
            "" | "none" | "off" => Ok(Self::None),
            "any" | "auto" | "on" => Ok(Self::Any),
            "extip" | "ip" => ip()?.map(Self::ExtIp).ok_or(NatSyntaxError::MissingIp),
            "upnp" => Ok(Self::Upnp),
            "pmp" | "natpmp" | "nat-pmp" => match ip()? {
                None => Ok(Self::Pmp(None)),
                Some(IpAddr::V4(gateway)) => Ok(Self::Pmp(Some(gateway))),
                Some(IpAddr::V6(_)) => Err(NatSyntaxError::InvalidIp),
            },
            "stun" => {
                Ok(Self::Stun(argument.filter(|host| !["", "default"].contains(host)).map(stun_server)))
            }
            _ => Err(NatSyntaxError::Unknown(mechanism.to_owned())),
        }
    }
}

/// A server with its port, where none is named the protocol's own.
fn stun_server(host: &str) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    });
    match has_port {
        true => host.to_owned(),
        false if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{}", stun::DEFAULT_PORT),
        false => format!("{host}:{}", stun::DEFAULT_PORT),
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Any => f.write_str("any"),
            Self::Upnp => f.write_str("upnp"),
            Self::Pmp(None) => f.write_str("pmp"),
            Self::Pmp(Some(gateway)) => write!(f, "pmp:{gateway}"),
            Self::ExtIp(ip) => write!(f, "extip:{ip}"),
            Self::Stun(None) => f.write_str("stun"),
            Self::Stun(Some(server)) => write!(f, "stun:{server}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Nat, NatSyntaxError};

    #[test]
    fn mechanisms_are_read_and_written() {
        for (text, wanted) in [
            ("", "none"),
            ("none", "none"),
            ("off", "none"),
            ("any", "any"),
            ("AUTO", "any"),
            ("upnp", "upnp"),
            ("pmp", "pmp"),
            ("natpmp:192.168.0.1", "pmp:192.168.0.1"),
            ("extip:1.2.3.4", "extip:1.2.3.4"),
            ("extip:2001:db8::1", "extip:2001:db8::1"),
            ("ip:77.12.33.4", "extip:77.12.33.4"),
            ("stun", "stun"),
            ("stun:default", "stun"),
            ("stun:example.org", "stun:example.org:3478"),
            ("stun:127.0.0.1:19302", "stun:127.0.0.1:19302"),
            ("stun:::1", "stun:[::1]:3478"),
            ("stun:[::1]:1", "stun:[::1]:1"),
        ] {
            let nat: Nat = text.parse().expect(text);
            assert_eq!(nat.to_string(), wanted, "{text}");
            assert_eq!(wanted.parse(), Ok(nat), "{wanted}");
        }
    }

    #[test]
    fn errors_are_geths() {
        let error = |text: &str| text.parse::<Nat>().expect_err(text);
        assert_eq!(error("foo").to_string(), "unknown mechanism \"foo\"");
        assert_eq!(error("extip").to_string(), "missing IP address");
        assert_eq!(error("extip:").to_string(), "invalid IP address");
        assert_eq!(error("pmp:router"), NatSyntaxError::InvalidIp);
        assert_eq!(error("pmp:::1"), NatSyntaxError::InvalidIp);
    }
}
