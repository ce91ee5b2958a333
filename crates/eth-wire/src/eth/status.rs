//! The handshake's Status, in the forms of all versions.

use super::block::{BlockRange, check_difficulty};
use crate::codec::{Fields, message};
use crate::{EthMessageId, EthVersion, Malformed, WireError};
use alloy_eip2124::{ForkHash, ForkId};
use alloy_primitives::{B256, U256};
use alloy_rlp::{Encodable, Header};
use bytes::Bytes;

/// What a node says of its chain, in whatever version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainStatus {
    /// Network id, often the chain id.
    pub network_id: u64,
    /// Hash of the genesis block.
    pub genesis: B256,
    /// Fork id at the head (EIP-2124).
    pub fork_id: ForkId,
    /// Total difficulty of the head.
    pub total_difficulty: U256,
    /// The blocks that can be had; the last is the head.
    pub range: BlockRange,
}

/// A Status message. The fields that are `None` are not in its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The version whose form it has.
    pub version: EthVersion,
    /// Network id, often the chain id.
    pub network_id: u64,
    /// Hash of the genesis block.
    pub genesis: B256,
    /// Hash of the head.
    pub head: B256,
    /// Fork id at the head, from `eth/64` on.
    pub fork_id: Option<ForkId>,
    /// Total difficulty of the head, before `eth/69`.
    pub total_difficulty: Option<U256>,
    /// The blocks that can be had, the last being the head, from `eth/69` on.
    pub range: Option<BlockRange>,
}

impl Status {
    /// What `version` says of a chain.
    pub fn new(version: EthVersion, chain: &ChainStatus) -> Self {
        let ranged = version.has_block_range();
        Self {
            version,
            network_id: chain.network_id,
            genesis: chain.genesis,
            head: chain.range.latest_hash,
            fork_id: version.has_fork_id().then_some(chain.fork_id),
            total_difficulty: (!ranged).then_some(chain.total_difficulty),
            range: ranged.then_some(chain.range),
        }
    }

    /// The message's RLP, in the form of [`Self::version`]. A field that the version has and that is `None` is
    /// written as zero.
    pub fn encode(&self) -> Bytes {
        let mut fields = Vec::with_capacity(128);
        self.version.number().encode(&mut fields);
        self.network_id.encode(&mut fields);
        if self.version.has_block_range() {
            self.genesis.encode(&mut fields);
            self.put_fork_id(&mut fields);
            self.range.unwrap_or_default().put_fields(&mut fields);
        } else {
            self.total_difficulty.unwrap_or_default().encode(&mut fields);
            self.head.encode(&mut fields);
            self.genesis.encode(&mut fields);
            if self.version.has_fork_id() {
                self.put_fork_id(&mut fields);
            }
        }
        let mut out = Vec::with_capacity(fields.len().saturating_add(3));
        Header { list: true, payload_length: fields.len() }.encode(&mut out);
        out.extend_from_slice(&fields);
        out.into()
    }

    fn put_fork_id(&self, out: &mut Vec<u8>) {
        self.fork_id.unwrap_or(ForkId { hash: ForkHash([0; 4]), next: 0 }).encode(out);
    }

    /// Decodes the Status of a session of `version`.
    ///
    /// # Errors
    /// When the bytes are not one, when it is of another version, when its range ends before it begins, and when no
    /// chain has such a total difficulty.
    pub fn decode(version: EthVersion, bytes: &[u8]) -> Result<Self, WireError> {
        message(EthMessageId::Status.name(), bytes, |input, _| Self::read(version, input))
    }

    pub(crate) fn read(version: EthVersion, input: &mut &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::open(input)?;
        let got = fields.next::<u64>()?;
        if got != version.number() {
            return Err(Malformed::StatusVersion { got, want: version.number() });
        }
        let network_id = fields.next()?;
        let status = if version.has_block_range() {
            let (genesis, fork_id) = (fields.next()?, Some(fields.next()?));
            let range = BlockRange::read(&mut fields)?;
            let head = range.latest_hash;
            Self { version, network_id, genesis, head, fork_id, total_difficulty: None, range: Some(range) }
        } else {
            let total_difficulty = Some(check_difficulty(fields.next()?)?);
            let (head, genesis) = (fields.next()?, fields.next()?);
            let fork_id = if version.has_fork_id() { Some(fields.next()?) } else { None };
            Self { version, network_id, genesis, head, fork_id, total_difficulty, range: None }
        };
        fields.end()?;
        Ok(status)
    }
}
