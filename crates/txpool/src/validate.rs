//! Checks that need no account: what a transaction is by itself, on this head. They can run outside the lock
//! that guards the pool, on a clone of its [`Validator`].

use crate::blob::validate_sidecar;
use crate::entry::Entry;
use crate::gas::{floor_data_gas, intrinsic_gas};
use crate::{HeadInfo, Origin, PoolError, Rules, Submission};
use alloy_consensus::{Transaction as _, TxEnvelope, TxType};
use alloy_primitives::Address;
use alloy_primitives::map::AddressSet;
use std::sync::Arc;

/// The largest transaction: four slots of 32 KiB.
const MAX_SIZE: usize = 128 * 1024;
/// The largest blob transaction, sidecar included.
const MAX_BLOB_TX_SIZE: usize = 1024 * 1024;
/// EIP-3860.
const MAX_INIT_CODE_SIZE: usize = 2 * 24_576;
/// EIP-7825.
pub(crate) const MAX_TX_GAS: u64 = 1 << 24;

/// A transaction that is valid by itself, and that [`crate::Pool::add_validated`] takes.
#[derive(Debug)]
pub struct Validated {
    pub(crate) entry: Entry,
    pub(crate) local: bool,
}

/// What the checks need of the pool. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Validator {
    pub(crate) head: HeadInfo,
    pub(crate) min_tip: u128,
    pub(crate) no_locals: bool,
    pub(crate) locals: Arc<AddressSet>,
}

impl Validator {
    /// The rules on the head.
    pub const fn rules(&self) -> Rules {
        self.head.rules
    }

    /// Checks a transaction by itself, in geth's order; proofs of blobs are verified here.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn validate(&self, submission: Submission) -> Result<Validated, PoolError> {
        let local = (submission.origin == Origin::Local && !self.no_locals)
            || self.locals.contains(&submission.sender);
        let rules = &self.head.rules;
        check_size(&submission.transaction)?;
        check_type(&submission.transaction, rules)?;
        check_limits(&submission.transaction, &self.head)?;
        check_fees_and_chain(&submission.transaction, rules)?;
        check_gas(&submission.transaction, rules)?;
        let tip = submission.transaction.priority_fee_or_price();
        if !local && tip < self.min_tip {
            return Err(PoolError::GasPriceTooLow { tip, needed: self.min_tip });
        }
        if submission.transaction.authorization_list().is_some_and(<[_]>::is_empty) {
            return Err(PoolError::EmptyAuthorizationList);
        }
        let entry = Entry::new(submission);
        if entry.is_blob {
            let hashes = entry.tx.transaction.blob_versioned_hashes().unwrap_or_default();
            validate_sidecar(entry.sidecar(), hashes, entry.blob_fee_cap, rules)?;
        }
        Ok(Validated { entry, local })
    }

    /// Whether the address counts as local.
    pub(crate) fn is_local(&self, address: &Address) -> bool {
        self.locals.contains(address)
    }
}

/// The rule of `eth_sendRawTransaction` unless `--rpc.allow-unprotected-txs` is set: the pool itself takes
/// transactions without EIP-155 replay protection.
///
/// # Errors
/// When `transaction` is not replay-protected.
pub fn replay_protected_only(transaction: &TxEnvelope) -> Result<(), PoolError> {
    if transaction.chain_id().is_some() { Ok(()) } else { Err(PoolError::NotReplayProtected) }
}

fn check_size(transaction: &TxEnvelope) -> Result<(), PoolError> {
    use alloy_eips::eip2718::Encodable2718 as _;
    let size = transaction.encode_2718_len();
    let limit = if transaction.is_eip4844() { MAX_BLOB_TX_SIZE } else { MAX_SIZE };
    if size > limit { Err(PoolError::OversizedData { size, limit }) } else { Ok(()) }
}

fn check_type(transaction: &TxEnvelope, rules: &Rules) -> Result<(), PoolError> {
    let kind = transaction.tx_type();
    let refuse = |fork| Err(PoolError::TypeNotActive { kind: kind as u8, fork });
    if kind != TxType::Legacy && !rules.berlin {
        return refuse("Berlin");
    }
    match kind {
        TxType::Eip1559 if !rules.london => refuse("London"),
        TxType::Eip4844 if !rules.cancun => refuse("Cancun"),
        TxType::Eip7702 if !rules.prague => refuse("Prague"),
        _ => Ok(()),
    }
}

fn check_limits(transaction: &TxEnvelope, head: &HeadInfo) -> Result<(), PoolError> {
    let (gas, size) = (transaction.gas_limit(), transaction.input().len());
    if head.rules.shanghai && transaction.is_create() && size > MAX_INIT_CODE_SIZE {
        return Err(PoolError::MaxInitCodeSizeExceeded { size, limit: MAX_INIT_CODE_SIZE });
    }
    if head.rules.osaka && gas > MAX_TX_GAS {
        return Err(PoolError::GasLimitTooHigh { cap: MAX_TX_GAS, gas });
    }
    if gas > head.gas_limit {
        return Err(PoolError::ExceedsBlockGasLimit);
    }
    Ok(())
}

fn check_fees_and_chain(transaction: &TxEnvelope, rules: &Rules) -> Result<(), PoolError> {
    if transaction.max_fee_per_gas() < transaction.priority_fee_or_price() {
        return Err(PoolError::TipAboveFeeCap);
    }
    if let Some(have) = transaction.chain_id()
        && have != rules.chain_id
    {
        return Err(PoolError::InvalidChainId { have, want: rules.chain_id });
    }
    if transaction.nonce() == u64::MAX {
        return Err(PoolError::NonceMax);
    }
    Ok(())
}

fn check_gas(transaction: &TxEnvelope, rules: &Rules) -> Result<(), PoolError> {
    let (gas, needed) = (transaction.gas_limit(), intrinsic_gas(transaction, rules));
    if gas < needed {
        return Err(PoolError::IntrinsicGas { gas, needed });
    }
    if rules.prague {
        let needed = floor_data_gas(transaction.input());
        if gas < needed {
            return Err(PoolError::FloorDataGas { gas, needed });
        }
    }
    Ok(())
}
