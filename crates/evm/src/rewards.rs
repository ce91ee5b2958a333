//! Wei that a block creates or moves without a transaction: proof-of-work rewards, withdrawals, and the
//! DAO's irregular state change.

use crate::database::Overlay;
use crate::error::ExecutionError;
use alloy_eips::eip4895::Withdrawal;
use alloy_evm::eth::dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY};
use alloy_primitives::{Address, U256};
use quintet_types::Header;
use revm::primitives::hardfork::SpecId;

/// How far back an uncle may be, and so the depth of its parent (yellow paper, 11.1).
const UNCLE_DEPTH: u64 = 7;

const ETHER: u128 = 1_000_000_000_000_000_000;

/// The static block reward of proof of work, wei (EIP-649, EIP-1234).
pub const fn block_reward(spec: SpecId) -> u128 {
    if spec.is_enabled_in(SpecId::PETERSBURG) {
        2 * ETHER
    } else if spec.is_enabled_in(SpecId::BYZANTIUM) {
        3 * ETHER
    } else {
        5 * ETHER
    }
}

/// Pays the miner and the miners of the uncles (yellow paper, 11.3).
pub(crate) fn pay_mining_rewards(
    state: &mut Overlay<'_>,
    spec: SpecId,
    number: u64,
    beneficiary: Address,
    uncles: &[Header],
) -> Result<(), ExecutionError> {
    let base = block_reward(spec);
    let mut miner = U256::from(base);
    for uncle in uncles {
        let depth = number.checked_sub(uncle.number).filter(|depth| (1..UNCLE_DEPTH).contains(depth));
        let depth = depth.ok_or(ExecutionError::UncleNumber { uncle: uncle.number, block: number })?;
        state.add_balance(uncle.beneficiary, U256::from(base / 8 * u128::from(8 - depth)), spec)?;
        miner += U256::from(base / 32);
    }
    state.add_balance(beneficiary, miner, spec)?;
    Ok(())
}

/// Pays the beacon chain's withdrawals (EIP-4895).
pub(crate) fn pay_withdrawals(
    state: &mut Overlay<'_>,
    spec: SpecId,
    withdrawals: &[Withdrawal],
) -> Result<(), ExecutionError> {
    for withdrawal in withdrawals {
        state.add_balance(withdrawal.address, withdrawal.amount_wei(), spec)?;
    }
    Ok(())
}

/// Moves the DAO's wei to the refund contract (EIP-779), before the fork block's transactions.
pub(crate) fn apply_dao_fork(state: &mut Overlay<'_>, spec: SpecId) -> Result<(), ExecutionError> {
    let mut moved = U256::ZERO;
    for address in DAO_HARDFORK_ACCOUNTS {
        moved += state.drain(address, spec)?;
    }
    state.add_balance(DAO_HARDFORK_BENEFICIARY, moved, spec)?;
    Ok(())
}
