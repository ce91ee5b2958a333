//! Why a message is refused. Each of these is the sender's fault.

use alloy_primitives::B256;

/// A message that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The protocol has no message with this code in the agreed version.
    #[error("{protocol}/{version} has no message {code:#04x}")]
    UnknownCode {
        /// `eth` or `snap`.
        protocol: &'static str,
        /// The agreed version.
        version: u64,
        /// The message's code.
        code: u64,
    },
    /// It is longer than [`crate::MAX_MESSAGE_SIZE`].
    #[error("{message} of {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Which message.
        message: &'static str,
        /// Its length.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Its bytes do not say what the protocol wants of them.
    #[error("malformed {message}: {reason}")]
    Malformed {
        /// Which message.
        message: &'static str,
        /// What is wrong.
        reason: Malformed,
    },
}

/// What is wrong with a message's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not the RLP of such a message.
    #[error("{0}")]
    Rlp(alloy_rlp::Error),
    /// A list has fields that the protocol does not know, or bytes follow the message.
    #[error("{0} bytes too many")]
    Surplus(usize),
    /// A list is longer than anybody has reason to send.
    #[error("a list of {count} items, at most {limit} are allowed")]
    TooMany {
        /// Its length.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Decoded, it would take more than [`crate::MAX_DECODED_SIZE`].
    #[error("it would take more than {0} bytes of memory")]
    Memory(usize),
    /// A typed transaction or receipt without its type, or with one that is not known.
    #[error("unknown transaction type {0:#04x}")]
    TransactionType(u8),
    /// Announced transactions have different numbers of hashes, types, and sizes (EIP-5793).
    #[error("{types} types and {sizes} sizes for {hashes} hashes")]
    Announcement {
        /// How many types.
        types: usize,
        /// How many sizes.
        sizes: usize,
        /// How many hashes.
        hashes: usize,
    },
    /// A blob transaction in a Transactions message: they are announced only (EIP-4844).
    #[error("disallowed broadcast of blob transaction {0}")]
    BlobBroadcast(B256),
    /// A blob transaction without its blobs, where they were asked for.
    #[error("blob transaction {0} without its sidecar")]
    MissingSidecar(B256),
    /// The range of blocks ends before it begins (EIP-7642).
    #[error("block range from {earliest} to {latest}")]
    BlockRange {
        /// Its first block.
        earliest: u64,
        /// Its last block.
        latest: u64,
    },
    /// A total difficulty that no chain can have.
    #[error("total difficulty of {0} bits")]
    TotalDifficulty(usize),
    /// A status of another version than the one agreed on.
    #[error("status of version {got} under eth/{want}")]
    StatusVersion {
        /// What it says.
        got: u64,
        /// The agreed version.
        want: u64,
    },
    /// A field has a length that it must not have.
    #[error("{field} of {length} bytes")]
    Length {
        /// The field.
        field: &'static str,
        /// Its length.
        length: usize,
    },
}

impl From<alloy_rlp::Error> for Malformed {
    fn from(error: alloy_rlp::Error) -> Self {
        Self::Rlp(error)
    }
}
