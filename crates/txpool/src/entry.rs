//! One transaction in the pool, with everything that decisions about it need read out once.

use alloy_consensus::{Transaction as _, TxEip4844Variant, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip7594::BlobTransactionSidecarVariant;
use alloy_primitives::{Address, B256, U256};
use quintet_types::{PoolTransaction, TraceContext};
use std::sync::Arc;

/// Bytes of one slot; a transaction takes as many as its size needs.
const SLOT_SIZE: usize = 32 * 1024;

/// Where a transaction came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A user of this node.
    Local,
    /// A peer.
    Remote,
}

/// A transaction on its way into the pool.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The transaction in its pooled form: a blob transaction with its sidecar.
    pub transaction: TxEnvelope,
    /// Its sender, recovered from the signature (low s from Homestead on).
    pub sender: Address,
    /// Where it came from.
    pub origin: Origin,
    /// The trace that brought it.
    pub trace: TraceContext,
}

/// A transaction in the pool.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tx: Arc<PoolTransaction>,
    pub(crate) nonce: u64,
    pub(crate) gas: u64,
    pub(crate) fee_cap: u128,
    pub(crate) tip_cap: u128,
    /// Zero unless it is a blob transaction.
    pub(crate) blob_fee_cap: u128,
    /// The most it can cost: gas, blob gas and value. Saturates, above any balance.
    pub(crate) cost: U256,
    /// Bytes of the EIP-2718 encoding, sidecar included.
    pub(crate) size: usize,
    pub(crate) is_blob: bool,
    /// Accounts that it sets code for (EIP-7702), each once.
    pub(crate) authorities: Vec<Address>,
    /// Order of arrival.
    pub(crate) seq: u64,
}

impl Entry {
    pub(crate) fn new(submission: Submission) -> Self {
        let Submission { transaction, sender, trace, origin: _ } = submission;
        let gas = transaction.gas_limit();
        let fee_cap = transaction.max_fee_per_gas();
        let blob_fee_cap = transaction.max_fee_per_blob_gas().unwrap_or(0);
        let blob_gas = transaction.blob_gas_used().unwrap_or(0);
        let product = |price: u128, amount: u64| U256::from(price).saturating_mul(U256::from(amount));
        let cost = product(fee_cap, gas)
            .saturating_add(product(blob_fee_cap, blob_gas))
            .saturating_add(transaction.value());
        Self {
            nonce: transaction.nonce(),
            gas,
            fee_cap,
            tip_cap: transaction.priority_fee_or_price(),
            blob_fee_cap,
            cost,
            size: transaction.encode_2718_len(),
            is_blob: transaction.is_eip4844(),
            authorities: authorities(&transaction),
            seq: 0,
            tx: Arc::new(PoolTransaction { hash: *transaction.tx_hash(), sender, transaction, trace }),
        }
    }

    pub(crate) fn hash(&self) -> B256 {
        self.tx.hash
    }

    pub(crate) fn sender(&self) -> Address {
        self.tx.sender
    }

    pub(crate) fn slots(&self) -> usize {
        self.size.div_ceil(SLOT_SIZE)
    }

    pub(crate) fn sidecar(&self) -> Option<&BlobTransactionSidecarVariant> {
        match &self.tx.transaction {
            TxEnvelope::Eip4844(signed) => match signed.tx() {
                TxEip4844Variant::TxEip4844WithSidecar(tx) => Some(&tx.sidecar),
                TxEip4844Variant::TxEip4844(_) => None,
            },
            _ => None,
        }
    }

    /// Whether this may take `old`'s place: fee cap and tip both higher, and by `bump` percent at least.
    pub(crate) fn outbids(&self, old: &Self, bump: u64) -> bool {
        self.fee_cap > old.fee_cap
            && self.tip_cap > old.tip_cap
            && self.fee_cap >= bumped(old.fee_cap, bump)
            && self.tip_cap >= bumped(old.tip_cap, bump)
    }
}

/// `price` raised by `bump` percent, rounded down.
pub(crate) fn bumped(price: u128, bump: u64) -> u128 {
    let raised = U256::from(price).saturating_mul(U256::from(bump).saturating_add(U256::from(100)));
    (raised / U256::from(100)).saturating_to()
}

/// The accounts that sign authorizations, each once; what is not signed properly counts for nobody.
fn authorities(transaction: &TxEnvelope) -> Vec<Address> {
    let mut found = Vec::new();
    for authorization in transaction.authorization_list().unwrap_or_default() {
        if let Ok(authority) = authorization.recover_authority()
            && !found.contains(&authority)
        {
            found.push(authority);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::bumped;

    #[test]
    fn bump_rounds_down_and_saturates() {
        assert_eq!(bumped(100, 10), 110);
        assert_eq!(bumped(9, 10), 9);
        assert_eq!(bumped(1, 100), 2);
        assert_eq!(bumped(u128::MAX, 10), u128::MAX);
    }
}
