//! Planned calls made into signed transactions, of every type that the block's fork has.

use super::content::{Call, Nonces, Planned};
use super::keys::Key;
use super::random::Random;
use super::setup::Setup;
use alloy_consensus::{SignableTransaction, Signed, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Signature, TxKind, U256};
use quintet_chainspec::Fork;
use quintet_types::{Header, Transaction};
use rayon::prelude::*;

/// Wei per gas that a transaction pays beyond the base fee.
const TIP: u128 = 1_000_000_000;
/// Wei per blob gas that a blob transaction is ready to pay.
const BLOB_FEE: u128 = 10_000_000_000;
/// What a delegation costs at most (EIP-7702).
const DELEGATION_GAS: u64 = 25_000;

/// A transaction's type, with what only that type has.
enum Shape {
    /// Legacy; whether with replay protection (EIP-155).
    Legacy(bool),
    AccessList(AccessList),
    DynamicFee,
    Blob(B256),
    SetCode {
        authority: usize,
        nonce: u64,
    },
}

/// Signs the calls for the block with this header and these rules, in parallel, in their order.
pub(crate) fn sign_all(
    setup: &Setup,
    random: &mut Random,
    nonces: &mut Nonces<'_>,
    planned: Vec<Planned>,
    header: &Header,
    fork: Fork,
) -> Vec<(Transaction, Address)> {
    let shaped: Vec<_> = planned
        .into_iter()
        .map(|planned| (shape(setup, random, nonces, &planned, header, fork), planned))
        .collect();
    let base_fee = u128::from(header.base_fee_per_gas.unwrap_or_default());
    let sign = |(shape, planned): (Shape, Planned)| {
        let key = &setup.senders[planned.sender];
        (transaction(setup, key, planned, shape, base_fee), key.address)
    };
    shaped.into_par_iter().map(sign).collect()
}

fn shape(
    setup: &Setup,
    random: &mut Random,
    nonces: &mut Nonces<'_>,
    planned: &Planned,
    header: &Header,
    fork: Fork,
) -> Shape {
    let draw = random.below(1000);
    let call = matches!(planned.call.to, TxKind::Call(_));
    let authority = random.index(setup.senders.len());
    match draw {
        0..5 if fork >= Fork::Cancun && call => {
            let mut hash = random.word();
            hash[0] = 1;
            Shape::Blob(hash)
        }
        5..15 if fork >= Fork::Prague && call && authority != planned.sender => {
            Shape::SetCode { authority, nonce: nonces.take(setup.senders[authority].address) }
        }
        15..600 if fork >= Fork::London => Shape::DynamicFee,
        600..750 if fork >= Fork::Berlin => Shape::AccessList(access_list(&planned.call)),
        _ => Shape::Legacy(setup.spec.is_eip155_active(header.number) && draw < 950),
    }
}

fn access_list(call: &Call) -> AccessList {
    let TxKind::Call(address) = call.to else { return AccessList::default() };
    AccessList(vec![AccessListItem { address, storage_keys: vec![B256::ZERO] }])
}

/// Gas that an access list costs, and that calldata costs more from Osaka on: room enough for either.
const SPARE_GAS: u64 = 5_000;

fn transaction(setup: &Setup, key: &Key, planned: Planned, shape: Shape, base_fee: u128) -> Transaction {
    let chain_id = setup.spec.chain_id();
    let Planned { nonce, call: Call { to, value, input, gas: gas_limit }, .. } = planned;
    let (max_fee_per_gas, max_priority_fee_per_gas) = (base_fee * 2 + TIP, TIP);
    match shape {
        Shape::Legacy(protected) => {
            let (chain_id, gas_price) = (protected.then_some(chain_id), base_fee + TIP);
            sign(key, TxLegacy { chain_id, nonce, gas_price, gas_limit, to, value, input }).into()
        }
        Shape::AccessList(access_list) => {
            let (gas_price, gas_limit) = (base_fee + TIP, gas_limit + SPARE_GAS);
            sign(key, TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input })
                .into()
        }
        Shape::DynamicFee => sign(
            key,
            TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to,
                value,
                input,
                access_list: AccessList::default(),
            },
        )
        .into(),
        Shape::Blob(hash) => sign(
            key,
            TxEip4844 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to: to.to().copied().unwrap_or_default(),
                value,
                input,
                access_list: AccessList::default(),
                max_fee_per_blob_gas: BLOB_FEE,
                blob_versioned_hashes: vec![hash],
            },
        )
        .into(),
        Shape::SetCode { authority, nonce: authority_nonce } => sign(
            key,
            TxEip7702 {
                chain_id,
                nonce,
                gas_limit: gas_limit + DELEGATION_GAS,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to: to.to().copied().unwrap_or_default(),
                value,
                input,
                access_list: AccessList::default(),
                authorization_list: vec![delegation(setup, authority, authority_nonce)],
            },
        )
        .into(),
    }
}

fn sign<T: SignableTransaction<Signature>>(key: &Key, transaction: T) -> Signed<T> {
    let signature = key.sign(transaction.signature_hash());
    transaction.into_signed(signature)
}

/// A sender's delegation to one of the churn contracts; every other one is taken back by the next.
fn delegation(setup: &Setup, authority: usize, nonce: u64) -> SignedAuthorization {
    let key = &setup.senders[authority];
    let address = if nonce.is_multiple_of(2) { setup.churns[0] } else { Address::ZERO };
    let authorization = Authorization { chain_id: U256::from(setup.spec.chain_id()), address, nonce };
    let signature = key.sign(authorization.signature_hash());
    authorization.into_signed(signature)
}
