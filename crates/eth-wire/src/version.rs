//! Versions of the protocols, and what changed with each.

use core::fmt;

/// Name of the state protocol as capabilities have it.
pub const SNAP: &str = "snap";
/// The version of `snap` that is spoken.
pub const SNAP_VERSION: u64 = 1;

/// A version of `eth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EthVersion {
    /// Headers and bodies.
    Eth62 = 62,
    /// Adds receipts and node data.
    Eth63 = 63,
    /// The fork id in the status (EIP-2364).
    Eth64 = 64,
    /// Announcements of transactions (EIP-2464).
    Eth65 = 65,
    /// Request ids (EIP-2481).
    Eth66 = 66,
    /// Takes node data away (EIP-4938).
    Eth67 = 67,
    /// Types and sizes in announcements of transactions (EIP-5793).
    Eth68 = 68,
    /// The range of blocks instead of the total difficulty, receipts without bloom (EIP-7642).
    Eth69 = 69,
}

impl EthVersion {
    /// Name of the protocol as capabilities have it.
    pub const PROTOCOL: &'static str = "eth";
    /// Every version that has a codec here.
    pub const ALL: [Self; 8] = [
        Self::Eth62,
        Self::Eth63,
        Self::Eth64,
        Self::Eth65,
        Self::Eth66,
        Self::Eth67,
        Self::Eth68,
        Self::Eth69,
    ];
    /// The versions that the node offers.
    pub const SPOKEN: [Self; 5] = [Self::Eth63, Self::Eth66, Self::Eth67, Self::Eth68, Self::Eth69];

    /// The version with this number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.number() == number)
    }

    /// The version of a capability such as `eth/68`.
    pub fn from_capability(capability: &str) -> Option<Self> {
        let number = capability.strip_prefix(Self::PROTOCOL)?.strip_prefix('/')?;
        Self::ALL.into_iter().find(|version| number == version.text())
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self as u64
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Eth62 => "62",
            Self::Eth63 => "63",
            Self::Eth64 => "64",
            Self::Eth65 => "65",
            Self::Eth66 => "66",
            Self::Eth67 => "67",
            Self::Eth68 => "68",
            Self::Eth69 => "69",
        }
    }

    /// Whether receipts can be asked for.
    pub fn has_receipts(self) -> bool {
        self >= Self::Eth63
    }

    /// Whether trie nodes and codes can be asked for by hash.
    pub fn has_node_data(self) -> bool {
        (Self::Eth63..=Self::Eth66).contains(&self)
    }

    /// Whether the status has a fork id.
    pub fn has_fork_id(self) -> bool {
        self >= Self::Eth64
    }

    /// Whether transactions are announced, and asked for by hash.
    pub fn has_pooled_transactions(self) -> bool {
        self >= Self::Eth65
    }

    /// Whether requests and their answers have ids.
    pub fn has_request_ids(self) -> bool {
        self >= Self::Eth66
    }

    /// Whether announcements of transactions have their types and sizes.
    pub fn has_typed_announcements(self) -> bool {
        self >= Self::Eth68
    }

    /// Whether the status has the range of blocks, BlockRangeUpdate exists, and receipts come without bloom. The
    /// status has the total difficulty before that.
    pub fn has_block_range(self) -> bool {
        self >= Self::Eth69
    }
}

impl fmt::Display for EthVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Self::PROTOCOL, self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_capabilities_come_back() {
        for version in EthVersion::ALL {
            assert_eq!(EthVersion::from_number(version.number()), Some(version));
            assert_eq!(EthVersion::from_capability(&version.to_string()), Some(version));
        }
        for strange in ["eth/61", "eth/70", "eth/068", "eth68", "eth/", "snap/1", ""] {
            assert_eq!(EthVersion::from_capability(strange), None, "{strange}");
        }
        assert_eq!(EthVersion::from_number(70), None);
    }
}
