//! Codes of `eth`'s messages.

use crate::EthVersion;

/// A message of `eth`, by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EthMessageId {
    /// The handshake.
    Status = 0x00,
    /// Announces blocks. geth ends a session of `eth/69` in which it comes.
    NewBlockHashes = 0x01,
    /// Broadcasts transactions.
    Transactions = 0x02,
    /// Asks for headers.
    GetBlockHeaders = 0x03,
    /// Answers it.
    BlockHeaders = 0x04,
    /// Asks for bodies.
    GetBlockBodies = 0x05,
    /// Answers it.
    BlockBodies = 0x06,
    /// Propagates a block. geth ends a session of `eth/69` in which it comes.
    NewBlock = 0x07,
    /// Announces transactions.
    NewPooledTransactionHashes = 0x08,
    /// Asks for transactions.
    GetPooledTransactions = 0x09,
    /// Answers it.
    PooledTransactions = 0x0a,
    /// Asks for trie nodes and codes.
    GetNodeData = 0x0d,
    /// Answers it.
    NodeData = 0x0e,
    /// Asks for receipts.
    GetReceipts = 0x0f,
    /// Answers it.
    Receipts = 0x10,
    /// Announces which blocks can be had.
    BlockRangeUpdate = 0x11,
}

impl EthMessageId {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 16] = [
        Self::Status,
        Self::NewBlockHashes,
        Self::Transactions,
        Self::GetBlockHeaders,
        Self::BlockHeaders,
        Self::GetBlockBodies,
        Self::BlockBodies,
        Self::NewBlock,
        Self::NewPooledTransactionHashes,
        Self::GetPooledTransactions,
        Self::PooledTransactions,
        Self::GetNodeData,
        Self::NodeData,
        Self::GetReceipts,
        Self::Receipts,
        Self::BlockRangeUpdate,
    ];

    /// The message with this code, if the version has it.
    pub fn from_code(version: EthVersion, code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.code() == code && id.exists_in(version))
    }

    /// Its code, counted from the protocol's offset.
    pub const fn code(self) -> u64 {
        self as u64
    }

    /// Whether the version has it.
    pub fn exists_in(self, version: EthVersion) -> bool {
        match self {
            Self::NewPooledTransactionHashes | Self::GetPooledTransactions | Self::PooledTransactions => {
                version.has_pooled_transactions()
            }
            Self::GetNodeData | Self::NodeData => version.has_node_data(),
            Self::GetReceipts | Self::Receipts => version.has_receipts(),
            Self::BlockRangeUpdate => version.has_block_range(),
            _ => true,
        }
    }

    /// Whether it begins with a request id in versions that have them.
    pub const fn is_request_or_answer(self) -> bool {
        self.is_request() || self.is_answer()
    }

    /// Whether it asks for something.
    pub const fn is_request(self) -> bool {
        self.answer().is_some()
    }

    /// Whether it answers a request.
    pub const fn is_answer(self) -> bool {
        matches!(
            self,
            Self::BlockHeaders
                | Self::BlockBodies
                | Self::PooledTransactions
                | Self::NodeData
                | Self::Receipts
        )
    }

    /// The message that answers it.
    pub const fn answer(self) -> Option<Self> {
        Some(match self {
            Self::GetBlockHeaders => Self::BlockHeaders,
            Self::GetBlockBodies => Self::BlockBodies,
            Self::GetPooledTransactions => Self::PooledTransactions,
            Self::GetNodeData => Self::NodeData,
            Self::GetReceipts => Self::Receipts,
            _ => return None,
        })
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "Status",
            Self::NewBlockHashes => "NewBlockHashes",
            Self::Transactions => "Transactions",
            Self::GetBlockHeaders => "GetBlockHeaders",
            Self::BlockHeaders => "BlockHeaders",
            Self::GetBlockBodies => "GetBlockBodies",
            Self::BlockBodies => "BlockBodies",
            Self::NewBlock => "NewBlock",
            Self::NewPooledTransactionHashes => "NewPooledTransactionHashes",
            Self::GetPooledTransactions => "GetPooledTransactions",
            Self::PooledTransactions => "PooledTransactions",
            Self::GetNodeData => "GetNodeData",
            Self::NodeData => "NodeData",
            Self::GetReceipts => "GetReceipts",
            Self::Receipts => "Receipts",
            Self::BlockRangeUpdate => "BlockRangeUpdate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_messages() {
        let codes =
            |version| (0..0x20).filter(|code| EthMessageId::from_code(version, *code).is_some()).count();
        let counts = EthVersion::ALL.map(codes);
        assert_eq!(counts, [8, 12, 12, 15, 15, 13, 13, 14]);
        assert_eq!(EthMessageId::from_code(EthVersion::Eth68, 0x11), None);
        assert_eq!(EthMessageId::from_code(EthVersion::Eth69, 0x11), Some(EthMessageId::BlockRangeUpdate));
        assert_eq!(EthMessageId::from_code(EthVersion::Eth69, 0x0b), None);
    }

    #[test]
    fn answers_answer() {
        for id in EthMessageId::ALL {
            assert_eq!(id.is_request(), id.name().starts_with("Get"));
            assert!(id.answer().is_none_or(EthMessageId::is_answer));
        }
    }
}
