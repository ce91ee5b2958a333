//! What gets in, and in which words the rest is refused.

use crate::helpers::{
    GWEI, add, add_transfer, address, dynamic_tx, head, legacy, nonces, pool, refusal, rich, signed,
    submission, transfer,
};
use alloy_consensus::{SignableTransaction, TxEip2930, TxEip7702, TxEnvelope};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, Bytes, Signature, TxKind, U256};
use k256::ecdsa::SigningKey;
use quintet_txpool::{AccountView, Config, HeadInfo, Origin, Pool, PoolError, Rules, replay_protected_only};
use std::time::Duration;

const A: Address = Address::with_last_byte(1);

/// What a pool on `rules` says to `tx`.
fn under(rules: Rules, tx: TxEnvelope) -> String {
    let mut pool = Pool::new(Config::default(), HeadInfo { rules, ..head(1) });
    refusal(add(&mut pool, tx, A))
}

fn key(seed: u8) -> (SigningKey, Address) {
    let key = SigningKey::from_slice(&[seed; 32]).unwrap();
    let address = Address::from_public_key(key.verifying_key());
    (key, address)
}

fn set_code(from: Address, nonce: u64, authorities: &[&SigningKey]) -> TxEnvelope {
    let sign = |key: &&SigningKey| {
        let authorization = Authorization { chain_id: U256::ONE, address: A, nonce: 0 };
        let (signature, id) =
            key.sign_prehash_recoverable(authorization.signature_hash().as_slice()).unwrap();
        authorization.into_signed(Signature::from((signature, id)))
    };
    let tx = TxEip7702 {
        chain_id: 1,
        nonce,
        gas_limit: 200_000,
        max_fee_per_gas: GWEI,
        max_priority_fee_per_gas: GWEI,
        to: from,
        authorization_list: authorities.iter().map(sign).collect(),
        ..TxEip7702::default()
    };
    tx.into_signed(Signature::test_signature()).into()
}

#[test]
fn executable_is_pending_and_gapped_is_queued_until_the_gap_closes() {
    let mut pool = pool();
    let later = add_transfer(&mut pool, 1, 1, GWEI).unwrap();
    assert!(!later.pending && later.events.is_empty());
    assert_eq!(pool.pending_nonce(&A), Some(0));
    let first = add_transfer(&mut pool, 1, 0, GWEI).unwrap();
    assert!(first.pending);
    assert_eq!(crate::helpers::promoted(&first.events), [first.hash, later.hash]);
    assert_eq!((pool.status().pending, pool.status().queued), (2, 0));
    assert_eq!((pool.pending_nonce(&A), pool.pending_nonce(&address(9))), (Some(2), None));
}

#[test]
fn known_and_stale() {
    let mut pool = pool();
    add_transfer(&mut pool, 1, 0, GWEI).unwrap();
    assert_eq!(refusal(add_transfer(&mut pool, 1, 0, GWEI)), "already known");
    let view = AccountView { nonce: 5, ..rich() };
    let old = submission(transfer(address(2), 3, GWEI), address(2), Origin::Remote);
    assert_eq!(refusal(pool.add(old, view, Duration::ZERO)), "nonce too low: next nonce 5, tx nonce 3");
    assert_eq!(
        refusal(add(&mut pool, transfer(address(3), u64::MAX, GWEI), address(3))),
        "nonce has max value"
    );
}

#[test]
fn sizes() {
    let big = legacy(A, vec![1; 128 * 1024], 10_000_000, Some(1));
    assert_eq!(refusal(add(&mut pool(), big, A)), "oversized data: transaction size 131179, limit 131072");
    let create = signed(alloy_consensus::TxEip1559 {
        to: TxKind::Create,
        gas_limit: 10_000_000,
        input: Bytes::from(vec![1; 49_153]),
        ..dynamic_tx(A, 0, GWEI, GWEI)
    });
    assert_eq!(
        refusal(add(&mut pool(), create.clone(), A)),
        "max initcode size exceeded: code size 49153 limit 49152"
    );
    let mut before = Pool::new(
        Config::default(),
        HeadInfo { rules: Rules { shanghai: false, ..Rules::osaka(1) }, ..head(1) },
    );
    add(&mut before, create, A).unwrap();
}

#[test]
fn types_wait_for_their_forks() {
    let prague = Rules { osaka: false, ..Rules::osaka(1) };
    let cancun = Rules { prague: false, ..prague };
    let berlin = Rules { london: false, shanghai: false, cancun: false, ..cancun };
    let access_list = TxEip2930 { chain_id: 1, ..TxEip2930::default() };
    assert_eq!(
        under(Rules::frontier(1), access_list.into_signed(Signature::test_signature()).into()),
        "transaction type not supported: type 1 rejected, pool not yet in Berlin"
    );
    assert_eq!(
        under(berlin, transfer(A, 0, GWEI)),
        "transaction type not supported: type 2 rejected, pool not yet in London"
    );
    assert_eq!(
        under(cancun, set_code(A, 0, &[])),
        "transaction type not supported: type 4 rejected, pool not yet in Prague"
    );
    assert_eq!(under(prague, set_code(A, 0, &[])), "set code tx must have at least one authorization tuple");
}

#[test]
fn gas() {
    let tx = |gas_limit| legacy(A, vec![], gas_limit, Some(1));
    assert_eq!(
        refusal(add(&mut pool(), tx(20_999), A)),
        "intrinsic gas too low: gas 20999, minimum needed 21000"
    );
    let data = legacy(A, vec![1; 1000], 21_000 + 16_000, Some(1));
    assert_eq!(
        refusal(add(&mut pool(), data, A)),
        "insufficient gas for floor data gas cost: gas 37000, minimum needed 61000"
    );
    assert_eq!(
        refusal(add(&mut pool(), tx((1 << 24) + 1), A)),
        "transaction gas limit too high (cap: 16777216, tx: 16777217)"
    );
    let prague = Rules { osaka: false, ..Rules::osaka(1) };
    assert_eq!(under(prague, tx(30_000_001)), "exceeds block gas limit");
}

#[test]
fn fees() {
    let over = signed(dynamic_tx(A, 0, 1, 2));
    assert_eq!(refusal(add(&mut pool(), over, A)), "max priority fee per gas higher than max fee per gas");
    let mut picky = Pool::new(Config { price_limit: 5, ..Config::default() }, head(1));
    let cheap = signed(dynamic_tx(A, 0, 100, 4));
    assert_eq!(
        refusal(add(&mut picky, cheap.clone(), A)),
        "transaction gas price below minimum: gas tip cap 4, minimum needed 5"
    );
    let local = picky.add(submission(cheap, A, Origin::Local), rich(), Duration::ZERO).unwrap();
    assert!(local.local);
}

#[test]
fn chain_id_and_replay_protection() {
    assert_eq!(
        refusal(add(&mut pool(), legacy(A, vec![], 21_000, Some(7)), A)),
        "invalid sender: invalid chain id for signer: have 7 want 1"
    );
    let unprotected = legacy(A, vec![], 21_000, None);
    assert_eq!(
        replay_protected_only(&unprotected).unwrap_err().to_string(),
        "only replay-protected (EIP-155) transactions allowed over RPC"
    );
    replay_protected_only(&transfer(A, 0, 1)).unwrap();
    add(&mut pool(), unprotected, A).unwrap();
    assert_eq!(PoolError::InvalidSender.to_string(), "invalid sender: invalid transaction v, r, s values");
}

#[test]
fn funds_cover_the_transaction_and_those_before_it() {
    let mut pool = pool();
    let view = AccountView { balance: U256::from(50_000), ..AccountView::default() };
    let mut try_add = |nonce, price| {
        let tx = submission(transfer(A, nonce, price), A, Origin::Remote);
        pool.add(tx, view, Duration::ZERO)
    };
    assert_eq!(
        refusal(try_add(0, 3)),
        "insufficient funds for gas * price + value: balance 50000, tx cost 63000, overshot 13000"
    );
    try_add(0, 1).unwrap();
    assert_eq!(
        refusal(try_add(1, 2)),
        "insufficient funds for gas * price + value: balance 50000, queued cost 21000, tx cost 42000, overshot 13000"
    );
    try_add(1, 1).unwrap();
    assert_eq!(
        refusal(try_add(1, 2)),
        "insufficient funds for gas * price + value: balance 50000, queued cost 42000, tx bumped 21000, overshot 13000"
    );
}

#[test]
fn replacement_needs_the_bump_on_both_fees() {
    for nonce in [0, 7] {
        let mut pool = pool();
        let old = add(&mut pool, signed(dynamic_tx(A, nonce, 1000, 100)), A).unwrap();
        for (fee_cap, tip_cap) in [(1099, 110), (1100, 109), (2000, 100), (1000, 200)] {
            let tx = signed(dynamic_tx(A, nonce, fee_cap, tip_cap));
            assert_eq!(refusal(add(&mut pool, tx, A)), "replacement transaction underpriced");
        }
        let new = add(&mut pool, signed(dynamic_tx(A, nonce, 1100, 110)), A).unwrap();
        assert_eq!((new.replaced, new.pending), (Some(old.hash), old.pending));
        assert_eq!(
            crate::helpers::dropped(&new.events),
            [(old.hash, quintet_txpool::DropReason::Replaced(new.hash))]
        );
        assert!(!pool.contains(&old.hash) && pool.get(&new.hash).is_some());
        assert_eq!(pool.slots(), 1);
    }
}

#[test]
fn delegated_accounts_have_one_transaction_in_flight() {
    let mut pool = pool();
    let view = AccountView { has_code: true, ..rich() };
    let mut try_add = |nonce, price| {
        let tx = submission(transfer(A, nonce, price), A, Origin::Remote);
        pool.add(tx, view, Duration::ZERO)
    };
    assert_eq!(refusal(try_add(1, 100)), "gapped-nonce tx from delegated accounts");
    try_add(0, 100).unwrap();
    assert_eq!(refusal(try_add(1, 100)), "in-flight transaction limit reached for delegated accounts");
    try_add(0, 200).unwrap();
}

#[test]
fn authorities_and_their_transactions_keep_apart() {
    let mut pool = pool();
    let (signer, authority) = key(7);
    let by_authority = |nonce| signed(dynamic_tx(authority, nonce, GWEI, GWEI));
    add(&mut pool, by_authority(0), authority).unwrap();
    add(&mut pool, set_code(A, 0, &[&signer, &signer]), A).unwrap();
    assert_eq!(
        refusal(add(&mut pool, by_authority(1), authority)),
        "in-flight transaction limit reached for delegated accounts"
    );
    let (other, busy) = key(8);
    for nonce in 0..2 {
        add(&mut pool, signed(dynamic_tx(busy, nonce, GWEI, GWEI)), busy).unwrap();
    }
    let conflict = set_code(address(2), 0, &[&other]);
    assert_eq!(refusal(add(&mut pool, conflict, address(2))), "authority already reserved");

    // Once the set code transaction is mined, the authority is free again.
    pool.set_head(crate::helpers::update(2, &[(1, 1)]), Duration::ZERO);
    add(&mut pool, by_authority(1), authority).unwrap();
}

#[test]
fn a_tracked_account_is_judged_by_the_head() {
    let mut pool = pool();
    add_transfer(&mut pool, 1, 0, GWEI).unwrap();
    let stale = AccountView { nonce: 9, ..rich() };
    pool.add(submission(transfer(A, 1, GWEI), A, Origin::Remote), stale, Duration::ZERO).unwrap();
    assert_eq!(nonces(&pool, 1), (vec![0, 1], vec![]));
}

#[test]
fn validation_can_run_outside_the_pool() {
    let mut pool = pool();
    let validator = pool.validator();
    let validated = validator.validate(submission(transfer(A, 0, GWEI), A, Origin::Remote)).unwrap();
    let added = pool.add_validated(validated, rich(), Duration::ZERO).unwrap();
    assert_eq!(added.hash, *transfer(A, 0, GWEI).tx_hash());
}
