//! Codes of `snap`'s messages.

/// A message of `snap/1`, by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SnapMessageId {
    /// Asks for accounts.
    GetAccountRange = 0x00,
    /// Answers it.
    AccountRange = 0x01,
    /// Asks for storage slots.
    GetStorageRanges = 0x02,
    /// Answers it.
    StorageRanges = 0x03,
    /// Asks for codes.
    GetByteCodes = 0x04,
    /// Answers it.
    ByteCodes = 0x05,
    /// Asks for trie nodes by path.
    GetTrieNodes = 0x06,
    /// Answers it.
    TrieNodes = 0x07,
}

impl SnapMessageId {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 8] = [
        Self::GetAccountRange,
        Self::AccountRange,
        Self::GetStorageRanges,
        Self::StorageRanges,
        Self::GetByteCodes,
        Self::ByteCodes,
        Self::GetTrieNodes,
        Self::TrieNodes,
    ];

    /// The message with this code.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.code() == code)
    }

    /// Its code, counted from the protocol's offset.
    pub const fn code(self) -> u64 {
        self as u64
    }

    /// The message that answers it.
    pub const fn answer(self) -> Option<Self> {
        Some(match self {
            Self::GetAccountRange => Self::AccountRange,
            Self::GetStorageRanges => Self::StorageRanges,
            Self::GetByteCodes => Self::ByteCodes,
            Self::GetTrieNodes => Self::TrieNodes,
            _ => return None,
        })
    }

    /// Whether it asks for something; otherwise it is an answer.
    pub const fn is_request(self) -> bool {
        self.answer().is_some()
    }

    /// Its name in the specification.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetAccountRange => "GetAccountRange",
            Self::AccountRange => "AccountRange",
            Self::GetStorageRanges => "GetStorageRanges",
            Self::StorageRanges => "StorageRanges",
            Self::GetByteCodes => "GetByteCodes",
            Self::ByteCodes => "ByteCodes",
            Self::GetTrieNodes => "GetTrieNodes",
            Self::TrieNodes => "TrieNodes",
        }
    }
}
