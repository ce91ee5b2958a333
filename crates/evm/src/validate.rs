//! Whether a transaction may run here and now, in the order in which geth asks (`core/state_transition.go`),
//! so that of several faults the same one is named. Intrinsic gas is left to revm, which asks last, as geth.

use crate::database::Overlay;
use crate::error::{ExecutionError, TxError, VmError};
use alloy_consensus::Transaction as _;
use alloy_eips::eip4844::{DATA_GAS_PER_BLOB, VERSIONED_HASH_VERSION_KZG};
use alloy_eips::eip7825::MAX_TX_GAS_LIMIT_OSAKA;
use alloy_primitives::{KECCAK256_EMPTY, TxKind, U256};
use quintet_types::Transaction;
use revm::context::{BlockEnv, Cfg, CfgEnv, TxEnv};
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;

/// Whether a real transaction is checked, or a call that is only tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything is checked.
    Transaction,
    /// Neither the nonce, nor that the sender has no code, nor the gas cap of one transaction (EIP-7825).
    Simulation,
}

/// What a block has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) gas: u64,
    pub(crate) blob_gas: u64,
}

/// Blob gas that the transaction uses (EIP-4844).
pub(crate) const fn blob_gas(tx: &TxEnv) -> u64 {
    DATA_GAS_PER_BLOB.saturating_mul(tx.blob_hashes.len() as u64)
}

/// Refuses a transaction that may not run. Intrinsic gas is not looked at.
pub(crate) fn validate(
    tx: &TxEnv,
    cfg: &CfgEnv,
    block: &BlockEnv,
    state: &mut Overlay<'_>,
    room: Room,
    mode: Mode,
) -> Result<(), VmError> {
    let sender = state.info(tx.caller).map_err(ExecutionError::from).map_err(VmError::Fatal)?;
    let sender = sender.unwrap_or_default();
    check_type(tx, cfg.spec).map_err(VmError::Tx)?;
    if mode == Mode::Transaction {
        check_nonce(tx, &sender).map_err(VmError::Tx)?;
        check_gas_cap(tx, cfg.spec).map_err(VmError::Tx)?;
        check_sender_code(tx, &sender, state)?;
    }
    check_fees(tx, cfg.spec, block)
        .and_then(|()| check_blobs(tx, cfg, block))
        .and_then(|()| check_authorizations(tx))
        .and_then(|()| check_balance(tx, &sender))
        .and_then(|()| check_room(tx, room))
        .and_then(|()| check_init_code(tx, cfg))
        .map_err(VmError::Tx)
}

/// Refuses a transaction signed for another chain, or with replay protection where there is none yet.
pub(crate) fn check_chain_id(transaction: &Transaction, allowed: bool, want: u64) -> Result<(), TxError> {
    match transaction.chain_id() {
        Some(_) if transaction.is_legacy() && !allowed => Err(TxError::ProtectedTooEarly),
        Some(have) if have != want => Err(TxError::ChainId { have, want }),
        _ => Ok(()),
    }
}

const fn check_type(tx: &TxEnv, spec: SpecId) -> Result<(), TxError> {
    let since = match tx.tx_type {
        0 => SpecId::FRONTIER,
        1 => SpecId::BERLIN,
        2 => SpecId::LONDON,
        3 => SpecId::CANCUN,
        4 => SpecId::PRAGUE,
        _ => return Err(TxError::TypeNotSupported),
    };
    if spec.is_enabled_in(since) { Ok(()) } else { Err(TxError::TypeNotSupported) }
}

const fn check_nonce(tx: &TxEnv, sender: &AccountInfo) -> Result<(), TxError> {
    let (address, state) = (tx.caller, sender.nonce);
    if tx.nonce < state {
        Err(TxError::NonceTooLow { address, tx: tx.nonce, state })
    } else if tx.nonce > state {
        Err(TxError::NonceTooHigh { address, tx: tx.nonce, state })
    } else if state == u64::MAX {
        Err(TxError::NonceMax { address, nonce: state })
    } else {
        Ok(())
    }
}

const fn check_gas_cap(tx: &TxEnv, spec: SpecId) -> Result<(), TxError> {
    if spec.is_enabled_in(SpecId::OSAKA) && tx.gas_limit > MAX_TX_GAS_LIMIT_OSAKA {
        return Err(TxError::GasLimitTooHigh { cap: MAX_TX_GAS_LIMIT_OSAKA, tx: tx.gas_limit });
    }
    Ok(())
}

fn check_sender_code(tx: &TxEnv, sender: &AccountInfo, state: &Overlay<'_>) -> Result<(), VmError> {
    if sender.code_hash == KECCAK256_EMPTY {
        return Ok(());
    }
    let code = state.code(&sender.code_hash).map_err(|error| VmError::Fatal(error.into()))?;
    if code.is_eip7702() {
        return Ok(());
    }
    Err(VmError::Tx(TxError::SenderNotEoa { address: tx.caller, len: code.len() }))
}

fn check_fees(tx: &TxEnv, spec: SpecId, block: &BlockEnv) -> Result<(), TxError> {
    if !spec.is_enabled_in(SpecId::LONDON) {
        return Ok(());
    }
    let (address, cap) = (tx.caller, tx.gas_price);
    if let Some(tip) = tx.gas_priority_fee.filter(|tip| *tip > cap) {
        return Err(TxError::TipAboveFeeCap { address, tip, cap });
    }
    if cap < u128::from(block.basefee) {
        return Err(TxError::FeeCapTooLow { address, cap, base_fee: block.basefee });
    }
    Ok(())
}

fn check_blobs(tx: &TxEnv, cfg: &CfgEnv, block: &BlockEnv) -> Result<(), TxError> {
    if tx.tx_type != 3 {
        return Ok(());
    }
    if tx.kind == TxKind::Create {
        return Err(TxError::BlobCreate);
    }
    if tx.blob_hashes.is_empty() {
        return Err(TxError::MissingBlobHashes);
    }
    if cfg.max_blobs_per_tx.is_some_and(|max| tx.blob_hashes.len() as u64 > max) {
        return Err(TxError::TooManyBlobs);
    }
    for (index, hash) in tx.blob_hashes.iter().enumerate() {
        if hash.first() != Some(&VERSIONED_HASH_VERSION_KZG) {
            return Err(TxError::BlobHashVersion { index });
        }
    }
    let base_fee = block.blob_excess_gas_and_price.map_or(0, |blob| blob.blob_gasprice);
    if tx.max_fee_per_blob_gas < base_fee {
        return Err(TxError::BlobFeeCapTooLow { address: tx.caller, cap: tx.max_fee_per_blob_gas, base_fee });
    }
    Ok(())
}

const fn check_authorizations(tx: &TxEnv) -> Result<(), TxError> {
    if tx.tx_type != 4 {
        return Ok(());
    }
    if matches!(tx.kind, TxKind::Create) {
        return Err(TxError::SetCodeCreate(tx.caller));
    }
    if tx.authorization_list.is_empty() {
        return Err(TxError::EmptyAuthList(tx.caller));
    }
    Ok(())
}

fn check_balance(tx: &TxEnv, sender: &AccountInfo) -> Result<(), TxError> {
    let gas = U256::from(tx.gas_limit).checked_mul(U256::from(tx.gas_price));
    let blobs = U256::from(blob_gas(tx)).checked_mul(U256::from(tx.max_fee_per_blob_gas));
    let want = gas
        .and_then(|gas| gas.checked_add(tx.value))
        .zip(blobs)
        .and_then(|(sum, blobs)| sum.checked_add(blobs))
        .ok_or(TxError::CostOverflow(tx.caller))?;
    if sender.balance < want {
        return Err(TxError::InsufficientFunds { address: tx.caller, have: sender.balance, want });
    }
    Ok(())
}

const fn check_room(tx: &TxEnv, room: Room) -> Result<(), TxError> {
    if tx.gas_limit > room.gas {
        return Err(TxError::GasLimitReached);
    }
    let blob_gas = blob_gas(tx);
    if blob_gas > room.blob_gas {
        return Err(TxError::BlobGasLimitReached { tx: blob_gas, available: room.blob_gas });
    }
    Ok(())
}

fn check_init_code(tx: &TxEnv, cfg: &CfgEnv) -> Result<(), TxError> {
    let (size, limit) = (tx.data.len(), cfg.max_initcode_size());
    if cfg.spec.is_enabled_in(SpecId::SHANGHAI) && tx.kind == TxKind::Create && size > limit {
        return Err(TxError::InitCodeTooLarge { size, limit });
    }
    Ok(())
}
