//! What a header and a body must satisfy before the block is executed, and what execution must have given.
//! Words are geth's.

use alloy_consensus::proofs::{
    calculate_ommers_root, calculate_transaction_root, calculate_withdrawals_root,
};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Transaction};
use alloy_primitives::{B64, U256};
use quintet_chainspec::{ChainSpec, Consensus, Fork};
use quintet_types::{Block, Header};

/// Bytes of extra data that a header may have, where the consensus engine does not say otherwise.
const MAX_EXTRA: usize = 32;
/// The least gas limit of a block.
const MIN_GAS_LIMIT: u64 = 5000;
/// A block's gas limit moves by less than this fraction of its parent's.
const GAS_LIMIT_BOUND: u64 = 1024;
/// Largest RLP of a block from Osaka on (EIP-7934): 10 MiB less the beacon block's share.
const MAX_BLOCK_SIZE: usize = 10 * 1024 * 1024 - 2 * 1024 * 1024;

/// The rules that a header was made under.
pub(crate) fn fork_of(spec: &ChainSpec, header: &Header) -> Fork {
    let merged = spec.terminal_total_difficulty().is_some() && header.difficulty.is_zero();
    spec.fork_at(header.number, header.timestamp, merged)
}

/// The reason why a block is not valid.
pub(crate) type Reason = String;

/// The gas limit of a block on `parent` that moves towards `target` as far as the protocol lets it.
pub(crate) const fn next_gas_limit(parent: u64, target: u64) -> u64 {
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

/// Checks a header against its parent.
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn check_header(spec: &ChainSpec, header: &Header, parent: &Header) -> Result<(), Reason> {
    if header.number != parent.number.saturating_add(1) {
        return Err(format!("invalid number: have {}, want {}", header.number, parent.number + 1));
    }
    if header.timestamp <= parent.timestamp {
        return Err(format!("invalid timestamp: have {}, parent {}", header.timestamp, parent.timestamp));
    }
    if header.gas_used > header.gas_limit {
        return Err(format!("invalid gasUsed: have {}, gasLimit {}", header.gas_used, header.gas_limit));
    }
    if header.extra_data.len() > MAX_EXTRA {
        return Err(format!("extra-data too long: {} > {MAX_EXTRA}", header.extra_data.len()));
    }
    check_seal(spec, header)?;
    check_fees(spec, header, parent)?;
    check_fork_fields(spec, header, parent)
}

/// The rules of the merge; engines with a seal of their own come with their crates.
fn check_seal(spec: &ChainSpec, header: &Header) -> Result<(), Reason> {
    if matches!(spec.consensus(), Consensus::Ethash | Consensus::Clique { .. }) {
        return Err("no consensus engine: ethash and clique blocks cannot be verified yet".to_owned());
    }
    if !header.difficulty.is_zero() {
        return Err(format!("invalid difficulty: have {}, want 0", header.difficulty));
    }
    if header.nonce != B64::ZERO {
        return Err("invalid nonce: beacon block nonce is not 0".to_owned());
    }
    if header.ommers_hash != EMPTY_OMMER_ROOT_HASH {
        return Err("invalid uncle hash".to_owned());
    }
    Ok(())
}

fn check_fees(spec: &ChainSpec, header: &Header, parent: &Header) -> Result<(), Reason> {
    let london = fork_of(spec, header) >= Fork::London;
    let elastic = london && fork_of(spec, parent) < Fork::London;
    let parent_limit = if elastic { parent.gas_limit.saturating_mul(2) } else { parent.gas_limit };
    let difference = parent_limit.abs_diff(header.gas_limit);
    let limit = parent_limit / GAS_LIMIT_BOUND;
    if difference >= limit {
        let (have, want) = (header.gas_limit, parent_limit);
        return Err(format!("invalid gas limit: have {have}, want {want} +-= {}", limit.saturating_sub(1)));
    }
    if header.gas_limit < MIN_GAS_LIMIT {
        return Err(format!("invalid gas limit below {MIN_GAS_LIMIT}: have {}", header.gas_limit));
    }
    let want = spec.next_base_fee(parent);
    if header.base_fee_per_gas != want {
        let show = |fee: Option<u64>| fee.map_or_else(|| "<nil>".to_owned(), |fee| fee.to_string());
        return Err(format!(
            "invalid baseFee: have {}, want {}, parentBaseFee {}, parentGasUsed {}",
            show(header.base_fee_per_gas),
            show(want),
            show(parent.base_fee_per_gas),
            parent.gas_used
        ));
    }
    Ok(())
}

/// Fields that come with a fork are there from that fork on, and not before.
fn check_fork_fields(spec: &ChainSpec, header: &Header, parent: &Header) -> Result<(), Reason> {
    let fork = fork_of(spec, header);
    let fields = [
        ("withdrawalsRoot", header.withdrawals_root.is_some(), Fork::Shanghai),
        ("excessBlobGas", header.excess_blob_gas.is_some(), Fork::Cancun),
        ("blobGasUsed", header.blob_gas_used.is_some(), Fork::Cancun),
        ("parentBeaconRoot", header.parent_beacon_block_root.is_some(), Fork::Cancun),
        ("requestsHash", header.requests_hash.is_some(), Fork::Prague),
    ];
    for (name, present, since) in fields {
        if present && fork < since {
            return Err(format!("invalid {name}: have one, expected 'nil'"));
        }
        if !present && fork >= since {
            return Err(format!("header is missing {name}"));
        }
    }
    if let (Some(have), Some(want)) =
        (header.excess_blob_gas, spec.next_excess_blob_gas(parent, header.timestamp))
        && have != want
    {
        return Err(format!("invalid excessBlobGas: have {have}, want {want}"));
    }
    Ok(())
}

/// Checks that a body is the one that its header promises.
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn check_body(spec: &ChainSpec, block: &Block) -> Result<(), Reason> {
    let (header, body) = (&block.header, &block.body);
    let root = calculate_transaction_root(&body.transactions);
    if root != header.transactions_root {
        return Err(format!(
            "transaction root hash mismatch (header value {}, calculated {root})",
            header.transactions_root
        ));
    }
    let uncles = calculate_ommers_root(&body.ommers);
    if uncles != header.ommers_hash {
        return Err(format!(
            "uncle root hash mismatch (header value {}, calculated {uncles})",
            header.ommers_hash
        ));
    }
    match (&body.withdrawals, header.withdrawals_root) {
        (Some(withdrawals), Some(want)) => {
            let have = calculate_withdrawals_root(withdrawals);
            if have != want {
                return Err(format!(
                    "withdrawals root hash mismatch (header value {want}, calculated {have})"
                ));
            }
        }
        (None, Some(_)) => return Err("missing withdrawals in block body".to_owned()),
        (Some(_), None) => return Err("withdrawals present in block body".to_owned()),
        (None, None) => {}
    }
    let blob_gas: u64 = body.transactions.iter().filter_map(Transaction::blob_gas_used).sum();
    if header.blob_gas_used.unwrap_or(0) != blob_gas {
        let have = header.blob_gas_used.unwrap_or(0);
        return Err(format!("blob gas used mismatch (header {have}, calculated {blob_gas})"));
    }
    let size = alloy_rlp::Encodable::length(block);
    if fork_of(spec, header) >= Fork::Osaka && size > MAX_BLOCK_SIZE {
        return Err(format!("block RLP-encoded size exceeds maximum: {size} > {MAX_BLOCK_SIZE}"));
    }
    Ok(())
}

/// Whether a chain with the first total difficulty (or, after the merge, length) is to be preferred.
pub(crate) fn prefers(candidate: (U256, u64), head: (U256, u64)) -> bool {
    candidate.0 > head.0 || (candidate.0 == head.0 && candidate.1 > head.1)
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
    fn the_longer_chain_wins_only_at_equal_difficulty() {
        let (one, two) = (U256::from(1), U256::from(2));
        assert!(prefers((two, 1), (one, 9)));
        assert!(prefers((one, 2), (one, 1)));
        assert!(!prefers((one, 1), (one, 1)));
        assert!(!prefers((one, 9), (two, 1)));
    }
}
