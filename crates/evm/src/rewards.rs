//! Wei that a block creates or moves without a transaction: proof-of-work rewards, withdrawals, and the
//! DAO's irregular state change.

use crate::database::Overlay;
use crate::env::BlockEnvironment;
use crate::error::ExecutionError;
use alloy_eips::eip4895::Withdrawal;
use alloy_evm::eth::dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY};
use alloy_primitives::U256;
use quintet_chainspec::ChainSpec;
use quintet_types::Header;
use revm::primitives::hardfork::SpecId;

/// How far back an uncle may be, and so the depth of its parent (yellow paper, 11.1).
const UNCLE_DEPTH: u64 = 7;

/// Pays the miner and the miners of the uncles what the chain's rules give them.
pub(crate) fn pay_mining_rewards(
    state: &mut Overlay<'_>,
    chain: &ChainSpec,
    environment: &BlockEnvironment,
    uncles: &[Header],
) -> Result<(), ExecutionError> {
    let (spec, number) = (environment.cfg.spec, environment.number);
    for uncle in uncles {
        let depth = number.checked_sub(uncle.number).filter(|depth| (1..UNCLE_DEPTH).contains(depth));
        depth.ok_or(ExecutionError::UncleNumber { uncle: uncle.number, block: number })?;
    }
    let header = Header { number, ..Header::default() };
    let rewards = quintet_chainspec::rewards(chain, &header, uncles);
    for (uncle, reward) in uncles.iter().zip(rewards.uncles) {
        state.add_balance(uncle.beneficiary, reward, spec)?;
    }
    state.add_balance(environment.block.beneficiary, rewards.miner, spec)?;
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
