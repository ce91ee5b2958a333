//! Accounts in `snap`'s slim format, and ranges of them.

use crate::Malformed;
use crate::codec::{Budget, Fields};
use alloy_consensus::constants::EMPTY_ROOT_HASH;
use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use alloy_rlp::{BufMut, Encodable, Header, RlpEncodable};

/// An account of the state trie. On the wire the root of an empty storage trie and the hash of no code are empty
/// strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlimAccount {
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// Root of its storage trie.
    pub storage_root: B256,
    /// Keccak of its code.
    pub code_hash: B256,
}

impl SlimAccount {
    fn hashes(&self) -> [&[u8]; 2] {
        [
            if self.storage_root == EMPTY_ROOT_HASH { &[] } else { self.storage_root.as_slice() },
            if self.code_hash == KECCAK256_EMPTY { &[] } else { self.code_hash.as_slice() },
        ]
    }

    fn header(&self) -> Header {
        let [root, code] = self.hashes();
        let lengths = [self.nonce.length(), self.balance.length(), root.length(), code.length()];
        Header { list: true, payload_length: lengths.into_iter().fold(0, usize::saturating_add) }
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let mut fields = Fields::open(fields.rest())?;
        let account = Self {
            nonce: fields.next()?,
            balance: fields.next()?,
            storage_root: hash_or("storage root", fields.bytes()?, EMPTY_ROOT_HASH)?,
            code_hash: hash_or("code hash", fields.bytes()?, KECCAK256_EMPTY)?,
        };
        fields.end()?;
        Ok(account)
    }
}

impl Encodable for SlimAccount {
    fn encode(&self, out: &mut dyn BufMut) {
        let [root, code] = self.hashes();
        self.header().encode(out);
        self.nonce.encode(out);
        self.balance.encode(out);
        root.encode(out);
        code.encode(out);
    }

    fn length(&self) -> usize {
        self.header().length_with_payload()
    }
}

/// `empty` for no bytes. The default written in full is taken too, as geth does.
fn hash_or(field: &'static str, bytes: &[u8], empty: B256) -> Result<B256, Malformed> {
    if bytes.is_empty() {
        return Ok(empty);
    }
    B256::try_from(bytes).map_err(|_| Malformed::Length { field, length: bytes.len() })
}

/// One account of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable)]
pub struct AccountData {
    /// Keccak of its address.
    pub hash: B256,
    /// The account.
    pub account: SlimAccount,
}

impl AccountData {
    pub(crate) fn read(input: &mut &[u8], _: &mut Budget) -> Result<Self, Malformed> {
        let mut fields = Fields::open(input)?;
        let hash = fields.next()?;
        let account = SlimAccount::read(&mut fields)?;
        fields.end()?;
        Ok(Self { hash, account })
    }
}
