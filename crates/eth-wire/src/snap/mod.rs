//! The `snap/1` protocol: ranges of the state, with proofs.

mod account;
mod id;

pub use account::{AccountData, SlimAccount};
pub use id::SnapMessageId;

use crate::codec::{Budget, Fields, UNLIMITED, list, message, plain, string};
use crate::{
    ListBuilder, MAX_CODE_LOOKUPS, MAX_PROOF_NODES, MAX_STORAGE_ACCOUNTS, MAX_TRIE_NODE_LOOKUPS, Malformed,
    SNAP, SNAP_VERSION, WireError,
};
use alloy_primitives::{B256, Bytes as ByteString};
use alloy_rlp::{Decodable, Encodable, Header, RlpEncodable};
use bytes::Bytes;

/// Asks for the accounts of a state trie, in the order of their hashes.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable)]
pub struct GetAccountRange {
    /// Comes back with the answer.
    pub id: u64,
    /// The trie's root.
    pub root: B256,
    /// The first account has this hash, or the next one.
    pub origin: B256,
    /// The answer may end at the first account from this hash on.
    pub limit: B256,
    /// Bytes after which the answer should end.
    pub bytes: u64,
}

/// Consecutive accounts, and the proof that there are no others between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRange {
    /// The request's.
    pub id: u64,
    /// Accounts in the order of their hashes. None of them, with a proof: there are none from the origin on. Neither:
    /// the state is not at hand.
    pub accounts: Vec<AccountData>,
    /// Trie nodes on the paths to the origin and to the last account.
    pub proof: Vec<ByteString>,
}

/// Asks for storage slots of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetStorageRanges {
    /// Comes back with the answer.
    pub id: u64,
    /// The state trie's root.
    pub root: B256,
    /// Hashes of the accounts' addresses.
    pub accounts: Vec<B256>,
    /// The first account's first slot has this hash, or the next one; from the beginning when `None`.
    pub origin: Option<B256>,
    /// The last account's slots may end at the first one from this hash on; at the end when `None`.
    pub limit: Option<B256>,
    /// Bytes after which the answer should end.
    pub bytes: u64,
}

/// One storage slot.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable)]
pub struct SlotData {
    /// Keccak of its key.
    pub hash: B256,
    /// RLP of its value.
    pub data: ByteString,
}

/// Storage slots of accounts in the order asked for; a proof only when the last account's are not all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageRanges {
    /// The request's.
    pub id: u64,
    /// For each account its slots, in the order of their hashes.
    pub slots: Vec<Vec<SlotData>>,
    /// Trie nodes on the paths to the origin and to the last slot of the last account.
    pub proof: Vec<ByteString>,
}

/// Asks for codes.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable)]
pub struct GetByteCodes {
    /// Comes back with the answer.
    pub id: u64,
    /// Their hashes.
    pub hashes: Vec<B256>,
    /// Bytes after which the answer should end.
    pub bytes: u64,
}

/// Codes in the order asked for, without those that are not known.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable)]
pub struct ByteCodes {
    /// The request's.
    pub id: u64,
    /// Codes.
    pub codes: Vec<ByteString>,
}

/// Asks for trie nodes by path.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable)]
pub struct GetTrieNodes {
    /// Comes back with the answer.
    pub id: u64,
    /// The state trie's root.
    pub root: B256,
    /// Each is a path in the state trie, in compact encoding; when more follow, it is a whole key (a hash of an
    /// address), and those are paths in that account's storage trie.
    pub paths: Vec<Vec<ByteString>>,
    /// Bytes after which the answer should end.
    pub bytes: u64,
}

/// Trie nodes in the order asked for; an empty one is not known.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable)]
pub struct TrieNodes {
    /// The request's.
    pub id: u64,
    /// Nodes.
    pub nodes: Vec<ByteString>,
}

/// A message of `snap/1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapMessage {
    /// Asks for accounts.
    GetAccountRange(GetAccountRange),
    /// Answers it.
    AccountRange(AccountRange),
    /// Asks for storage slots.
    GetStorageRanges(GetStorageRanges),
    /// Answers it.
    StorageRanges(StorageRanges),
    /// Asks for codes.
    GetByteCodes(GetByteCodes),
    /// Answers it.
    ByteCodes(ByteCodes),
    /// Asks for trie nodes.
    GetTrieNodes(GetTrieNodes),
    /// Answers it.
    TrieNodes(TrieNodes),
}

impl SnapMessage {
    /// Its code.
    pub const fn id(&self) -> SnapMessageId {
        match self {
            Self::GetAccountRange(_) => SnapMessageId::GetAccountRange,
            Self::AccountRange(_) => SnapMessageId::AccountRange,
            Self::GetStorageRanges(_) => SnapMessageId::GetStorageRanges,
            Self::StorageRanges(_) => SnapMessageId::StorageRanges,
            Self::GetByteCodes(_) => SnapMessageId::GetByteCodes,
            Self::ByteCodes(_) => SnapMessageId::ByteCodes,
            Self::GetTrieNodes(_) => SnapMessageId::GetTrieNodes,
            Self::TrieNodes(_) => SnapMessageId::TrieNodes,
        }
    }

    /// The request's id.
    pub const fn request_id(&self) -> u64 {
        match self {
            Self::GetAccountRange(message) => message.id,
            Self::AccountRange(message) => message.id,
            Self::GetStorageRanges(message) => message.id,
            Self::StorageRanges(message) => message.id,
            Self::GetByteCodes(message) => message.id,
            Self::ByteCodes(message) => message.id,
            Self::GetTrieNodes(message) => message.id,
            Self::TrieNodes(message) => message.id,
        }
    }

    /// Its RLP.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::GetAccountRange(message) => alloy_rlp::encode(message).into(),
            Self::AccountRange(AccountRange { id, accounts, proof }) => {
                let mut list = ListBuilder::new();
                list.extend(accounts);
                list.finish_with_tail(*id, &alloy_rlp::encode(proof))
            }
            Self::GetStorageRanges(message) => message.encode(),
            Self::StorageRanges(StorageRanges { id, slots, proof }) => {
                let mut list = ListBuilder::new();
                list.extend(slots);
                list.finish_with_tail(*id, &alloy_rlp::encode(proof))
            }
            Self::GetByteCodes(message) => alloy_rlp::encode(message).into(),
            Self::ByteCodes(message) => alloy_rlp::encode(message).into(),
            Self::GetTrieNodes(message) => alloy_rlp::encode(message).into(),
            Self::TrieNodes(message) => alloy_rlp::encode(message).into(),
        }
    }

    /// Decodes the message with this code, counted from the protocol's offset.
    ///
    /// # Errors
    /// When there is no such message, and when the bytes are not one.
    pub fn decode(code: u64, bytes: &[u8]) -> Result<Self, WireError> {
        let unknown = WireError::UnknownCode { protocol: SNAP, version: SNAP_VERSION, code };
        let id = SnapMessageId::from_code(code).ok_or(unknown)?;
        message(id.name(), bytes, |input, budget| {
            let mut fields = Fields::open(input)?;
            let message = Self::read(id, &mut fields, budget)?;
            fields.end()?;
            Ok(message)
        })
    }

    fn read(code: SnapMessageId, fields: &mut Fields<'_>, budget: &mut Budget) -> Result<Self, Malformed> {
        let id = fields.next()?;
        Ok(match code {
            SnapMessageId::GetAccountRange => {
                let (root, origin) = (fields.next()?, fields.next()?);
                let (limit, bytes) = (fields.next()?, fields.next()?);
                Self::GetAccountRange(GetAccountRange { id, root, origin, limit, bytes })
            }
            SnapMessageId::AccountRange => {
                let accounts = list(fields.rest(), budget, UNLIMITED, AccountData::read)?;
                let proof = list(fields.rest(), budget, MAX_PROOF_NODES, string)?;
                Self::AccountRange(AccountRange { id, accounts, proof })
            }
            SnapMessageId::GetStorageRanges => {
                Self::GetStorageRanges(GetStorageRanges::read(id, fields, budget)?)
            }
            SnapMessageId::StorageRanges => {
                let account =
                    |input: &mut &[u8], budget: &mut Budget| list(input, budget, UNLIMITED, SlotData::read);
                let slots = list(fields.rest(), budget, MAX_STORAGE_ACCOUNTS, account)?;
                let proof = list(fields.rest(), budget, MAX_PROOF_NODES, string)?;
                Self::StorageRanges(StorageRanges { id, slots, proof })
            }
            SnapMessageId::GetByteCodes => {
                let hashes = list(fields.rest(), budget, UNLIMITED, plain)?;
                Self::GetByteCodes(GetByteCodes { id, hashes, bytes: fields.next()? })
            }
            SnapMessageId::ByteCodes => Self::ByteCodes(ByteCodes {
                id,
                codes: list(fields.rest(), budget, MAX_CODE_LOOKUPS, string)?,
            }),
            SnapMessageId::GetTrieNodes => {
                let root = fields.next()?;
                let path = |input: &mut &[u8], budget: &mut Budget| list(input, budget, UNLIMITED, string);
                let paths = list(fields.rest(), budget, UNLIMITED, path)?;
                Self::GetTrieNodes(GetTrieNodes { id, root, paths, bytes: fields.next()? })
            }
            SnapMessageId::TrieNodes => Self::TrieNodes(TrieNodes {
                id,
                nodes: list(fields.rest(), budget, MAX_TRIE_NODE_LOOKUPS, string)?,
            }),
        })
    }
}

impl GetStorageRanges {
    fn encode(&self) -> Bytes {
        let mut fields = Vec::with_capacity(self.accounts.length().saturating_add(128));
        self.id.encode(&mut fields);
        self.root.encode(&mut fields);
        self.accounts.encode(&mut fields);
        for end in [&self.origin, &self.limit] {
            end.as_ref().map_or(&[][..], |hash| hash.as_slice()).encode(&mut fields);
        }
        self.bytes.encode(&mut fields);
        let mut out = Vec::with_capacity(fields.len().saturating_add(9));
        Header { list: true, payload_length: fields.len() }.encode(&mut out);
        out.extend_from_slice(&fields);
        out.into()
    }

    fn read(id: u64, fields: &mut Fields<'_>, budget: &mut Budget) -> Result<Self, Malformed> {
        let root = fields.next()?;
        let accounts = list(fields.rest(), budget, UNLIMITED, plain)?;
        let origin = optional_hash("origin", fields.bytes()?)?;
        let limit = optional_hash("limit", fields.bytes()?)?;
        Ok(Self { id, root, accounts, origin, limit, bytes: fields.next()? })
    }
}

fn optional_hash(field: &'static str, bytes: &[u8]) -> Result<Option<B256>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    B256::try_from(bytes).map(Some).map_err(|_| Malformed::Length { field, length: bytes.len() })
}

impl SlotData {
    fn read(input: &mut &[u8], budget: &mut Budget) -> Result<Self, Malformed> {
        let mut fields = Fields::open(input)?;
        let (hash, data) = (fields.next()?, string(fields.rest(), budget)?);
        fields.end()?;
        Ok(Self { hash, data })
    }
}

/// The id of a request or an answer, read without the rest of it; `None` when the bytes are no such message.
pub fn snap_request_id(code: u64, mut bytes: &[u8]) -> Option<u64> {
    SnapMessageId::from_code(code)?;
    let mut payload = Header::decode_bytes(&mut bytes, true).ok()?;
    u64::decode(&mut payload).ok()
}
