//! A node's address: its key, its IP address, and its two ports.

use crate::{EnodeError, PublicKey, node_id, url};
use alloy_primitives::{B256, hex};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Where a node is, as `enode://KEY@IP:TCP?discport=UDP` says it.
///
/// A node of which only the key is known (geth's incomplete form, `enode://KEY`) has the unspecified address and no
/// ports; see [`Enode::is_incomplete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enode {
    /// Its public key, which names it.
    pub public_key: PublicKey,
    /// Its address, for both ports.
    pub ip: IpAddr,
    /// The port of its RLPx listener; zero when it has none.
    pub tcp: u16,
    /// The port of its discovery; zero when it has none.
    pub udp: u16,
}

impl Enode {
    /// A node of which only the key is known: discovery has to find it.
    pub const fn incomplete(public_key: PublicKey) -> Self {
        Self { public_key, ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), tcp: 0, udp: 0 }
    }

    /// Whether only the key is known.
    pub const fn is_incomplete(&self) -> bool {
        self.ip.is_unspecified() && self.tcp == 0 && self.udp == 0
    }

    /// The node id, the keccak of the key.
    pub fn node_id(&self) -> B256 {
        node_id(&self.public_key)
    }

    /// Where its RLPx listener is.
    pub const fn tcp_addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.tcp)
    }

    /// Where its discovery is.
    pub const fn udp_addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.udp)
    }

    /// Reads a URL whose host may be a name; `resolve` is asked for it, once.
    ///
    /// # Errors
    /// As [`Enode::from_str`]; a host that `resolve` does not know is [`EnodeError::IpAddress`].
    pub fn parse_with(text: &str, resolve: impl FnOnce(&str) -> Option<IpAddr>) -> Result<Self, EnodeError> {
        url::parse(text, resolve)
    }
}

impl FromStr for Enode {
    type Err = EnodeError;

    /// Reads `enode://KEY@IP:TCP`, `enode://KEY@IP:TCP?discport=UDP`, `enode://KEY` and `KEY`.
    fn from_str(text: &str) -> Result<Self, EnodeError> {
        url::parse(text, |_| None)
    }
}

impl fmt::Display for Enode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "enode://{}", hex::encode(self.public_key))?;
        if self.is_incomplete() {
            return Ok(());
        }
        write!(f, "@{}", self.tcp_addr())?;
        if self.udp != self.tcp {
            write!(f, "?discport={}", self.udp)?;
        }
        Ok(())
    }
}
