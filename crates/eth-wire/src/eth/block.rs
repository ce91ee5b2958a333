//! Headers, bodies, blocks: how they are asked for, answered, announced.

use crate::codec::{Budget, Fields, UNLIMITED, list, plain};
use crate::eth::transactions::typed;
use crate::{MAX_TOTAL_DIFFICULTY_BITS, Malformed};
use alloy_consensus::Header as BlockHeader;
use alloy_primitives::{B256, U256};
use alloy_rlp::{BufMut, Decodable, Encodable, Header, RlpEncodable};
use quintet_types::{Block, Body};

/// A block by its hash, or the canonical one by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashOrNumber {
    /// By hash.
    Hash(B256),
    /// By number.
    Number(u64),
}

impl Encodable for HashOrNumber {
    fn encode(&self, out: &mut dyn BufMut) {
        match self {
            Self::Hash(hash) => hash.encode(out),
            Self::Number(number) => number.encode(out),
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Hash(hash) => hash.length(),
            Self::Number(number) => number.length(),
        }
    }
}

impl Decodable for HashOrNumber {
    /// 32 bytes are a hash, and anything else is a number.
    fn decode(input: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let header = Header::decode(&mut &**input)?;
        if !header.list && header.payload_length == B256::len_bytes() {
            return B256::decode(input).map(Self::Hash);
        }
        u64::decode(input).map(Self::Number)
    }
}

/// Asks for headers of the canonical chain (and, by hash, for ones beside it): from `start`, every `skip + 1`th.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable)]
pub struct GetBlockHeaders {
    /// The first.
    pub start: HashOrNumber,
    /// At most so many.
    pub limit: u64,
    /// Blocks between two of them.
    pub skip: u64,
    /// Towards genesis.
    pub reverse: bool,
}

impl GetBlockHeaders {
    pub(crate) fn read(input: &mut &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::open(input)?;
        let (start, limit) = (fields.next()?, fields.next()?);
        let (skip, reverse) = (fields.next()?, fields.next()?);
        fields.end()?;
        Ok(Self { start, limit, skip, reverse })
    }
}

/// A block that is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, RlpEncodable)]
pub struct BlockHashNumber {
    /// Its hash.
    pub hash: B256,
    /// Its number.
    pub number: u64,
}

impl BlockHashNumber {
    pub(crate) fn read(input: &mut &[u8], _: &mut Budget) -> Result<Self, Malformed> {
        let mut fields = Fields::open(input)?;
        let (hash, number) = (fields.next()?, fields.next()?);
        fields.end()?;
        Ok(Self { hash, number })
    }
}

/// A block that is propagated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlock {
    /// The block.
    pub block: Block,
    /// Total difficulty up to and with it, as its sender says.
    pub total_difficulty: U256,
}

impl NewBlock {
    /// Appends the message's RLP for a block that need not be owned.
    pub fn encode_parts(block: &Block, total_difficulty: &U256, out: &mut dyn BufMut) {
        let payload_length = block.length().saturating_add(total_difficulty.length());
        Header { list: true, payload_length }.encode(out);
        block.encode(out);
        total_difficulty.encode(out);
    }

    pub(crate) fn read(input: &mut &[u8], budget: &mut Budget) -> Result<Self, Malformed> {
        let mut fields = Fields::open(input)?;
        let mut block = Fields::open(fields.rest())?;
        let header = block.next()?;
        let body = read_body_fields(block, budget)?;
        let total_difficulty = check_difficulty(fields.next()?)?;
        fields.end()?;
        Ok(Self { block: Block { header, body }, total_difficulty })
    }
}

/// The blocks whose bodies and receipts can be had (EIP-7642).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, RlpEncodable)]
pub struct BlockRange {
    /// Number of the first.
    pub earliest: u64,
    /// Number of the last.
    pub latest: u64,
    /// Hash of the last.
    pub latest_hash: B256,
}

impl BlockRange {
    pub(crate) fn put_fields(&self, out: &mut Vec<u8>) {
        self.earliest.encode(out);
        self.latest.encode(out);
        self.latest_hash.encode(out);
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let (earliest, latest) = (fields.next()?, fields.next()?);
        let latest_hash = fields.next()?;
        if earliest > latest {
            return Err(Malformed::BlockRange { earliest, latest });
        }
        Ok(Self { earliest, latest, latest_hash })
    }
}

/// Refuses what no chain can have.
pub(crate) const fn check_difficulty(total: U256) -> Result<U256, Malformed> {
    let bits = total.bit_len();
    if bits > MAX_TOTAL_DIFFICULTY_BITS { Err(Malformed::TotalDifficulty(bits)) } else { Ok(total) }
}

/// A body: transactions, uncles, and withdrawals from Shanghai on.
pub(crate) fn read_body(input: &mut &[u8], budget: &mut Budget) -> Result<Body, Malformed> {
    read_body_fields(Fields::open(input)?, budget)
}

fn read_body_fields(mut fields: Fields<'_>, budget: &mut Budget) -> Result<Body, Malformed> {
    let transactions = list(fields.rest(), budget, UNLIMITED, typed)?;
    let ommers = list(fields.rest(), budget, UNLIMITED, plain::<BlockHeader>)?;
    let withdrawals =
        if fields.is_empty() { None } else { Some(list(fields.rest(), budget, UNLIMITED, plain)?.into()) };
    fields.end()?;
    Ok(Body { transactions, ommers, withdrawals })
}
