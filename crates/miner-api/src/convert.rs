//! Conversions between domain types and the contract's messages.

use crate::{MinerStatus, SealerKind, Work};
use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use quintet_proto::common::v1::BlockId;
use quintet_proto::miner::v1 as proto;
use quintet_service::grpc::RpcError;
use quintet_types::BlockRef;

/// A field that is not what the contract says; the text names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl From<Malformed> for RpcError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::malformed(what)
    }
}

/// An address of 20 bytes.
///
/// # Errors
/// When the length is another; `what` names the field.
pub fn address(bytes: &[u8], what: &'static str) -> Result<Address, Malformed> {
    Address::try_from(bytes).map_err(|_| Malformed(what))
}

/// A hash of 32 bytes.
///
/// # Errors
/// When the length is another; `what` names the field.
pub fn hash(bytes: &[u8], what: &'static str) -> Result<B256, Malformed> {
    B256::try_from(bytes).map_err(|_| Malformed(what))
}

/// A price in wei, from up to 32 big-endian bytes.
///
/// # Errors
/// When there are more.
pub fn price(bytes: &[u8]) -> Result<U256, Malformed> {
    U256::try_from_be_slice(bytes).ok_or(Malformed("price"))
}

/// Message form of a quantity: big-endian, without leading zeros.
pub(crate) fn quantity(value: U256) -> Bytes {
    value.to_be_bytes_trimmed_vec().into()
}

/// Message form of bytes of a fixed length.
pub(crate) fn fixed(value: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(value.as_ref())
}

/// Message form of the kind of seal.
pub const fn sealer_to_proto(sealer: SealerKind) -> proto::Sealer {
    match sealer {
        SealerKind::Instant => proto::Sealer::Instant,
        SealerKind::Ethash => proto::Sealer::Ethash,
        SealerKind::Clique => proto::Sealer::Clique,
    }
}

/// The kind of seal that a message names.
///
/// # Errors
/// When it names none that this build knows.
pub fn sealer_from_proto(sealer: i32) -> Result<SealerKind, Malformed> {
    match proto::Sealer::try_from(sealer) {
        Ok(proto::Sealer::Instant) => Ok(SealerKind::Instant),
        Ok(proto::Sealer::Ethash) => Ok(SealerKind::Ethash),
        Ok(proto::Sealer::Clique) => Ok(SealerKind::Clique),
        Ok(proto::Sealer::Unspecified) | Err(_) => Err(Malformed("sealer")),
    }
}

/// Message form of the miner's status.
pub fn status_to_proto(status: &MinerStatus) -> proto::GetStatusResponse {
    let block_id = |block: BlockRef| BlockId { number: block.number, hash: fixed(block.hash) };
    proto::GetStatusResponse {
        sealing: status.sealing,
        etherbase: status.etherbase.map(fixed).unwrap_or_default(),
        hashrate: status.hashrate,
        sealer: sealer_to_proto(status.sealer).into(),
        parent: status.parent.map(block_id),
    }
}

impl TryFrom<proto::GetStatusResponse> for MinerStatus {
    type Error = Malformed;

    fn try_from(message: proto::GetStatusResponse) -> Result<Self, Malformed> {
        let etherbase = &message.etherbase;
        let parent = |id: BlockId| Ok(BlockRef { number: id.number, hash: hash(&id.hash, "parent")? });
        Ok(Self {
            sealing: message.sealing,
            etherbase: (!etherbase.is_empty()).then(|| address(etherbase, "etherbase")).transpose()?,
            hashrate: message.hashrate,
            sealer: sealer_from_proto(message.sealer)?,
            parent: message.parent.map(parent).transpose()?,
        })
    }
}

impl TryFrom<proto::GetWorkResponse> for Work {
    type Error = Malformed;

    fn try_from(message: proto::GetWorkResponse) -> Result<Self, Malformed> {
        Ok(Self {
            seal_hash: hash(&message.seal_hash, "seal hash")?,
            seed_hash: hash(&message.seed_hash, "seed hash")?,
            target: U256::from_be_bytes(hash(&message.target, "target")?.0),
            number: message.number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Malformed, proto, status_to_proto};
    use crate::{MinerStatus, SealerKind, Work};
    use alloy_primitives::{Address, B256, U256};
    use quintet_types::BlockRef;

    fn status(etherbase: Option<Address>, sealer: SealerKind, parent: Option<BlockRef>) -> MinerStatus {
        MinerStatus { sealing: true, etherbase, hashrate: 5, sealer, parent }
    }

    #[test]
    fn a_status_survives_the_wire() {
        let parent = BlockRef { number: 7, hash: B256::repeat_byte(7) };
        for sealer in [SealerKind::Instant, SealerKind::Ethash, SealerKind::Clique] {
            for etherbase in [None, Some(Address::repeat_byte(1))] {
                for parent in [None, Some(parent)] {
                    let status = status(etherbase, sealer, parent);
                    assert_eq!(MinerStatus::try_from(status_to_proto(&status)), Ok(status));
                }
            }
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        let good = status_to_proto(&status(None, SealerKind::Instant, Some(BlockRef::default())));
        let short = proto::GetStatusResponse { etherbase: vec![1; 19].into(), ..good.clone() };
        assert_eq!(MinerStatus::try_from(short), Err(Malformed("etherbase")));
        let unknown = proto::GetStatusResponse { sealer: 0, ..good };
        assert_eq!(MinerStatus::try_from(unknown), Err(Malformed("sealer")));
    }

    #[test]
    fn work_is_read_big_endian() {
        let mut target = [0; 32];
        target[31] = 9;
        let message = proto::GetWorkResponse {
            seal_hash: vec![1; 32].into(),
            seed_hash: vec![2; 32].into(),
            target: target.to_vec().into(),
            number: 3,
        };
        assert_eq!(Work::try_from(message.clone()).map(|work| work.target), Ok(U256::from(9)));
        let short = proto::GetWorkResponse { target: vec![9].into(), ..message };
        assert_eq!(Work::try_from(short), Err(Malformed("target")));
    }
}
