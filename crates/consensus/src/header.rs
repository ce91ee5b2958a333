//! What a header must say whichever engine made it: gas, fees, and the fields that came with forks.

use crate::error::BlockError;
use alloy_eips::eip4844::DATA_GAS_PER_BLOB;
use alloy_primitives::B256;
use quintet_chainspec::{ChainSpec, Fork};
use quintet_types::Header;

/// Bytes of extra data that a header may have, where the engine does not say otherwise.
const MAX_EXTRA: usize = 32;
/// The least gas limit of a block.
const MIN_GAS_LIMIT: u64 = 5000;
/// A block's gas limit moves by less than this fraction of its parent's.
const GAS_LIMIT_BOUND: u64 = 1024;

/// The rules that a header was made under.
pub fn fork_of(spec: &ChainSpec, header: &Header) -> Fork {
    let merged = spec.terminal_total_difficulty().is_some() && header.difficulty.is_zero();
    spec.fork_at(header.number, header.timestamp, merged)
}

/// The gas limit of a block on `parent` that moves towards `target` as far as the protocol lets it.
pub const fn next_gas_limit(parent: u64, target: u64) -> u64 {
    let target = if target < MIN_GAS_LIMIT { MIN_GAS_LIMIT } else { target };
    let step = (parent / GAS_LIMIT_BOUND).saturating_sub(1);
    let (low, high) = (parent.saturating_sub(step), parent.saturating_add(step));
    if target < low {
        low
    } else if target > high {
        high
    } else {
        target
    }
}

pub(crate) const fn check_extra(header: &Header) -> Result<(), BlockError> {
    let have = header.extra_data.0.len();
    if have > MAX_EXTRA { Err(BlockError::ExtraData { have, limit: MAX_EXTRA }) } else { Ok(()) }
}

pub(crate) const fn check_number(header: &Header, parent: &Header) -> Result<(), BlockError> {
    let want = parent.number.saturating_add(1);
    if header.number == want { Ok(()) } else { Err(BlockError::Number { have: header.number, want }) }
}

pub(crate) const fn check_timestamp(header: &Header, parent: &Header) -> Result<(), BlockError> {
    if header.timestamp > parent.timestamp {
        return Ok(());
    }
    Err(BlockError::Timestamp { have: header.timestamp, parent: parent.timestamp })
}

/// Gas limit, gas used, and the base fee from London on.
pub(crate) fn check_gas(spec: &ChainSpec, header: &Header, parent: &Header) -> Result<(), BlockError> {
    if i64::try_from(header.gas_limit).is_err() {
        return Err(BlockError::GasLimitRange { have: header.gas_limit });
    }
    if header.gas_used > header.gas_limit {
        return Err(BlockError::GasUsed { have: header.gas_used, limit: header.gas_limit });
    }
    let london = spec.is_london_active(header.number);
    if let (false, Some(fee)) = (london, header.base_fee_per_gas) {
        return Err(BlockError::FieldBeforeFork { field: "baseFee", have: fee.to_string() });
    }
    let elastic = london && !spec.is_london_active(parent.number);
    check_gas_limit(
        header.gas_limit,
        if elastic { parent.gas_limit.saturating_mul(2) } else { parent.gas_limit },
    )?;
    let Some(want) = spec.next_base_fee(parent) else { return Ok(()) };
    let have = header.base_fee_per_gas.ok_or(BlockError::FieldMissing { field: "baseFee" })?;
    if have == want {
        return Ok(());
    }
    let (parent, parent_gas_used) = (parent.base_fee_per_gas, parent.gas_used);
    Err(BlockError::BaseFee { have, want, parent, parent_gas_used })
}

fn check_gas_limit(have: u64, parent: u64) -> Result<(), BlockError> {
    let limit = parent / GAS_LIMIT_BOUND;
    if parent.abs_diff(have) >= limit {
        return Err(BlockError::GasLimit { have, parent, bound: limit.saturating_sub(1) });
    }
    if have < MIN_GAS_LIMIT {
        return Err(BlockError::GasLimitLow { have, least: MIN_GAS_LIMIT });
    }
    Ok(())
}

/// Fields that came with forks after the merge are there from that fork on, and not before.
pub(crate) fn check_fork_fields(
    spec: &ChainSpec,
    header: &Header,
    parent: &Header,
) -> Result<(), BlockError> {
    let fork = fork_of(spec, header);
    let root = |root: Option<B256>| root.map(|root| root.to_string());
    let gas = |gas: Option<u64>| gas.map(|gas| gas.to_string());
    let fields = [
        ("withdrawalsHash", root(header.withdrawals_root), Fork::Shanghai),
        ("excessBlobGas", gas(header.excess_blob_gas), Fork::Cancun),
        ("blobGasUsed", gas(header.blob_gas_used), Fork::Cancun),
        ("beaconRoot", root(header.parent_beacon_block_root), Fork::Cancun),
        ("requestsHash", root(header.requests_hash), Fork::Prague),
    ];
    for (field, value, since) in fields {
        match value {
            Some(have) if fork < since => return Err(BlockError::FieldBeforeFork { field, have }),
            None if fork >= since => return Err(BlockError::FieldMissing { field }),
            _ => {}
        }
    }
    if fork >= Fork::Cancun { check_blob_gas(spec, header, parent) } else { Ok(()) }
}

/// EIP-4844's rules for a header.
fn check_blob_gas(spec: &ChainSpec, header: &Header, parent: &Header) -> Result<(), BlockError> {
    let limit = spec.blob_params_at(header.timestamp).map_or(0, |params| params.max_blob_gas_per_block());
    let used = header.blob_gas_used.unwrap_or_default();
    if used > limit {
        return Err(BlockError::BlobGasLimit { have: used, limit });
    }
    if !used.is_multiple_of(DATA_GAS_PER_BLOB) {
        return Err(BlockError::BlobGasUnit { have: used, unit: DATA_GAS_PER_BLOB });
    }
    let have = header.excess_blob_gas.unwrap_or_default();
    let want = spec.next_excess_blob_gas(parent, header.timestamp).unwrap_or_default();
    if have == want {
        return Ok(());
    }
    let (parent_excess, parent_used) = (parent.excess_blob_gas, parent.blob_gas_used);
    Err(BlockError::ExcessBlobGas {
        have,
        want,
        parent_excess: parent_excess.unwrap_or_default(),
        parent_used: parent_used.unwrap_or_default(),
    })
}

/// Proof of work and proof of authority end before the forks after the merge, and their headers have none of the
/// fields of those.
pub(crate) fn check_before_merge(
    spec: &ChainSpec,
    header: &Header,
    parent: &Header,
    engine: &'static str,
) -> Result<(), BlockError> {
    let (number, time) = (header.number, header.timestamp);
    if spec.is_shanghai_active(number, time) {
        return Err(BlockError::ForkNotSupported { engine, fork: "shanghai" });
    }
    if spec.is_cancun_active(number, time) {
        return Err(BlockError::ForkNotSupported { engine, fork: "cancun" });
    }
    check_fork_fields(spec, header, parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gas_limit_moves_by_less_than_a_1024th() {
        assert_eq!(next_gas_limit(30_000_000, 30_000_000), 30_000_000);
        assert_eq!(next_gas_limit(30_000_000, 60_000_000), 30_000_000 + 30_000_000 / 1024 - 1);
        assert_eq!(next_gas_limit(30_000_000, 0), 30_000_000 - 30_000_000 / 1024 + 1);
        assert_eq!(next_gas_limit(30_000_000, 30_000_100), 30_000_100);
        assert_eq!(next_gas_limit(5000, 0), 5000);
    }

    #[test]
    fn the_gas_limit_stays_in_its_bounds() {
        check_gas_limit(30_000_000 + 29_295, 30_000_000).unwrap();
        let refused = check_gas_limit(30_000_000 + 29_296, 30_000_000).unwrap_err();
        assert_eq!(refused.to_string(), "invalid gas limit: have 30029296, want 30000000 +-= 29295");
        let refused = check_gas_limit(4999, 5000).unwrap_err();
        assert_eq!(refused.to_string(), "invalid gas limit below 5000: have 4999");
    }
}
