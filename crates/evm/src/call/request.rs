//! What a caller may ask for, and how it becomes a transaction of the EVM (geth's `TransactionArgs`).

use super::CallError;
use crate::database::Overlay;
use crate::env::BlockEnvironment;
use crate::error::ExecutionError;
use alloy_eips::eip2930::AccessList;
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use revm::context::TxEnv;
use revm::context_interface::either::Either;
use revm::primitives::hardfork::SpecId;
use std::collections::BTreeMap;

/// A message to try out. What is `None` was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// The sender; the zero address if not given.
    pub from: Option<Address>,
    /// The recipient; none creates a contract.
    pub to: Option<Address>,
    /// Gas limit; the cap if not given.
    pub gas: Option<u64>,
    /// Price per gas, wei.
    pub gas_price: Option<u128>,
    /// Highest price per gas (EIP-1559), wei.
    pub max_fee_per_gas: Option<u128>,
    /// Highest tip per gas (EIP-1559), wei.
    pub max_priority_fee_per_gas: Option<u128>,
    /// Highest price per blob gas (EIP-4844), wei.
    pub max_fee_per_blob_gas: Option<u128>,
    /// Wei to send.
    pub value: Option<U256>,
    /// Input, or init code.
    pub data: Bytes,
    /// Not looked at in a call: the sender's nonce is taken from the state.
    pub nonce: Option<u64>,
    /// Access list (EIP-2930).
    pub access_list: Option<AccessList>,
    /// Authorizations (EIP-7702).
    pub authorization_list: Option<Vec<SignedAuthorization>>,
    /// Blob hashes (EIP-4844).
    pub blob_versioned_hashes: Option<Vec<B256>>,
    /// The chain that the request means.
    pub chain_id: Option<u64>,
}

impl CallRequest {
    /// The gas that the call gets under `cap` (zero: none).
    pub(super) fn gas_limit(&self, cap: u64) -> u64 {
        let cap = if cap == 0 { u64::MAX / 2 } else { cap };
        self.gas.unwrap_or(cap).min(cap)
    }

    /// The sender.
    pub(super) fn sender(&self) -> Address {
        self.from.unwrap_or_default()
    }

    /// The call as the EVM takes it.
    pub(super) fn to_tx(&self, environment: &BlockEnvironment, gas_limit: u64) -> Result<TxEnv, CallError> {
        let cfg = &environment.cfg;
        if let Some(have) = self.chain_id.filter(|id| *id != cfg.chain_id) {
            return Err(CallError::ChainId { have, want: cfg.chain_id });
        }
        let priced_1559 = self.max_fee_per_gas.is_some() || self.max_priority_fee_per_gas.is_some();
        if self.gas_price.is_some() && priced_1559 {
            return Err(CallError::TwoPrices);
        }
        // Before London geth looks at the gas price alone.
        let london = cfg.spec.is_enabled_in(SpecId::LONDON);
        let (cap, tip) = match self.gas_price {
            Some(price) => (price, price),
            None if london => {
                (self.max_fee_per_gas.unwrap_or_default(), self.max_priority_fee_per_gas.unwrap_or_default())
            }
            None => (0, 0),
        };
        let access_list = self.access_list.clone().filter(|_| cfg.spec.is_enabled_in(SpecId::BERLIN));
        let authorizations = self.authorization_list.iter().flatten().cloned().map(Either::Left);
        Ok(TxEnv {
            tx_type: self.tx_type(london && priced_1559, access_list.is_some()),
            caller: self.sender(),
            gas_limit,
            gas_price: cap,
            gas_priority_fee: london.then_some(tip),
            kind: self.to.map_or(TxKind::Create, TxKind::Call),
            value: self.value.unwrap_or_default(),
            data: self.data.clone(),
            nonce: 0,
            chain_id: None,
            access_list: access_list.unwrap_or_default(),
            blob_hashes: self.blob_versioned_hashes.clone().unwrap_or_default(),
            max_fee_per_blob_gas: self.max_fee_per_blob_gas.unwrap_or_default(),
            authorization_list: authorizations.collect(),
        })
    }

    const fn tx_type(&self, priced_1559: bool, access_list: bool) -> u8 {
        if self.authorization_list.is_some() {
            4
        } else if self.blob_versioned_hashes.is_some() {
            3
        } else if priced_1559 {
            2
        } else {
            access_list as u8
        }
    }
}

/// What the sender pays per gas, wei.
pub(super) fn effective_gas_price(tx: &TxEnv, base_fee: u64) -> u128 {
    match tx.gas_priority_fee {
        Some(tip) if tx.tx_type >= 2 => {
            if tx.gas_price == 0 && tip == 0 {
                0
            } else {
                tip.saturating_add(u128::from(base_fee)).min(tx.gas_price)
            }
        }
        _ => tx.gas_price,
    }
}

/// Changes to one account for one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountOverride {
    /// Its nonce.
    pub nonce: Option<u64>,
    /// Its code.
    pub code: Option<Bytes>,
    /// Its balance, wei.
    pub balance: Option<U256>,
    /// All of its storage: slots that are not named are zero.
    pub state: Option<BTreeMap<U256, U256>>,
    /// Some of its slots; the others stay.
    pub state_diff: Option<BTreeMap<U256, U256>>,
}

/// Changes to the state for one call, by address.
pub type StateOverrides = BTreeMap<Address, AccountOverride>;

/// Puts the overrides into the state.
pub(super) fn apply_state_overrides(
    overlay: &mut Overlay<'_>,
    overrides: &StateOverrides,
) -> Result<(), CallError> {
    for (address, account) in overrides {
        let (storage, whole) = match (&account.state, &account.state_diff) {
            (Some(_), Some(_)) => return Err(CallError::TwoStorageOverrides(*address)),
            (Some(all), None) => (Some(all), true),
            (None, changed) => (changed.as_ref(), false),
        };
        overlay
            .override_account(*address, account.nonce, account.balance, account.code.as_ref())
            .and_then(|()| match storage {
                Some(storage) => overlay.override_storage(*address, storage, whole),
                None => Ok(()),
            })
            .map_err(ExecutionError::from)?;
    }
    Ok(())
}

/// Changes to the block for one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockOverrides {
    /// Its number.
    pub number: Option<u64>,
    /// Its difficulty.
    pub difficulty: Option<U256>,
    /// Its time, seconds since the epoch.
    pub time: Option<u64>,
    /// Its gas limit.
    pub gas_limit: Option<u64>,
    /// Its fee recipient.
    pub fee_recipient: Option<Address>,
    /// Its randomness (EIP-4399).
    pub prev_randao: Option<B256>,
    /// Its base fee, wei.
    pub base_fee_per_gas: Option<u64>,
    /// Its blob base fee, wei.
    pub blob_base_fee: Option<u128>,
}

impl BlockOverrides {
    /// As in geth, the fork is still that of the block itself.
    pub(super) fn apply(&self, environment: &mut BlockEnvironment) {
        let block = &mut environment.block;
        if let Some(number) = self.number {
            block.number = U256::from(number);
        }
        if let Some(difficulty) = self.difficulty {
            block.difficulty = difficulty;
        }
        if let Some(time) = self.time {
            block.timestamp = U256::from(time);
        }
        block.gas_limit = self.gas_limit.unwrap_or(block.gas_limit);
        block.beneficiary = self.fee_recipient.unwrap_or(block.beneficiary);
        block.prevrandao = self.prev_randao.or(block.prevrandao);
        block.basefee = self.base_fee_per_gas.unwrap_or(block.basefee);
        if let (Some(fee), Some(blob)) = (self.blob_base_fee, &mut block.blob_excess_gas_and_price) {
            blob.blob_gasprice = fee;
        }
    }
}
