//! Blob transactions: sidecars, limits and reorgs.

use crate::helpers::{
    GWEI, add, add_transfer, address, dropped, head, nonces, pool, refusal, rich, seconds, update,
};
use alloy_consensus::{SignableTransaction, TxEip4844, TxEip4844Variant, TxEip4844WithSidecar, TxEnvelope};
use alloy_eips::eip4844::env_settings::EnvKzgSettings;
use alloy_eips::eip4844::{Blob, BlobTransactionSidecar};
use alloy_eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use alloy_primitives::{Address, Bytes, Signature, U256};
use quintet_txpool::{AccountView, Config, DropReason, HeadInfo, HeadUpdate, Origin, Pool, Rules};
use std::sync::OnceLock;

const A: Address = Address::with_last_byte(1);

fn blob() -> Blob {
    // Not a constant: the cells' proofs would all be the same.
    let mut blob = Blob::repeat_byte(1);
    blob[31] = 9;
    blob
}

/// One blob with cell proofs (EIP-7594).
pub(crate) fn cell_sidecar() -> BlobTransactionSidecarVariant {
    static SIDECAR: OnceLock<BlobTransactionSidecarEip7594> = OnceLock::new();
    let make = || BlobTransactionSidecarEip7594::try_from_blobs(vec![blob()]).unwrap();
    BlobTransactionSidecarVariant::Eip7594(SIDECAR.get_or_init(make).clone())
}

/// One blob with one proof (EIP-4844).
fn blob_sidecar() -> BlobTransactionSidecarVariant {
    let settings = EnvKzgSettings::Default;
    let sidecar = BlobTransactionSidecar::try_from_blobs_with_settings(vec![blob()], settings.get());
    BlobTransactionSidecarVariant::Eip4844(sidecar.unwrap())
}

fn unsigned(from: Address, nonce: u64, fee: u128, sidecar: &BlobTransactionSidecarVariant) -> TxEip4844 {
    TxEip4844 {
        chain_id: 1,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: fee,
        max_priority_fee_per_gas: fee,
        max_fee_per_blob_gas: fee,
        to: from,
        blob_versioned_hashes: sidecar.versioned_hashes().collect(),
        ..TxEip4844::default()
    }
}

fn sign(tx: TxEip4844Variant) -> TxEnvelope {
    tx.into_signed(Signature::test_signature()).into()
}

fn with_sidecar(tx: TxEip4844, sidecar: BlobTransactionSidecarVariant) -> TxEnvelope {
    sign(TxEip4844Variant::TxEip4844WithSidecar(TxEip4844WithSidecar { tx, sidecar }))
}

pub(crate) fn blob_tx(from: Address, nonce: u64, sidecar: BlobTransactionSidecarVariant) -> TxEnvelope {
    with_sidecar(unsigned(from, nonce, GWEI, &sidecar), sidecar)
}

fn priced(from: Address, nonce: u64, fee: u128) -> TxEnvelope {
    with_sidecar(unsigned(from, nonce, fee, &cell_sidecar()), cell_sidecar())
}

fn on_prague() -> Pool {
    let rules = Rules { osaka: false, max_blobs_per_tx: 9, ..Rules::osaka(1) };
    Pool::new(Config::default(), HeadInfo { rules, ..head(1) })
}

#[test]
fn proofs_are_those_of_the_fork() {
    add(&mut pool(), blob_tx(A, 0, cell_sidecar()), A).unwrap();
    add(&mut on_prague(), blob_tx(A, 0, blob_sidecar()), A).unwrap();
    assert_eq!(
        refusal(add(&mut pool(), blob_tx(A, 0, blob_sidecar()), A)),
        "Wrong sidecar format: unexpected sidecar version, want: 1, got: 0"
    );
    assert_eq!(
        refusal(add(&mut on_prague(), blob_tx(A, 0, cell_sidecar()), A)),
        "Wrong sidecar format: unexpected sidecar version, want: 0, got: 1"
    );
    let mut before = Pool::new(
        Config::default(),
        HeadInfo { rules: Rules { cancun: false, prague: false, ..Rules::osaka(1) }, ..head(1) },
    );
    assert_eq!(
        refusal(add(&mut before, blob_tx(A, 0, cell_sidecar()), A)),
        "transaction type not supported: type 3 rejected, pool not yet in Cancun"
    );
}

#[test]
fn a_sidecar_must_be_there_and_match() {
    let cells = cell_sidecar();
    let bare = sign(TxEip4844Variant::TxEip4844(unsigned(A, 0, GWEI, &cells)));
    assert_eq!(refusal(add(&mut pool(), bare, A)), "missing sidecar in blob transaction");

    let free = TxEip4844 { max_fee_per_blob_gas: 0, ..unsigned(A, 0, GWEI, &cells) };
    assert_eq!(
        refusal(add(&mut pool(), with_sidecar(free, cells.clone()), A)),
        "transaction gas price below minimum: blob fee cap 0, minimum needed 1"
    );
    let mut two = unsigned(A, 0, GWEI, &cells);
    two.blob_versioned_hashes.push(two.blob_versioned_hashes[0]);
    assert_eq!(
        refusal(add(&mut pool(), with_sidecar(two, cells.clone()), A)),
        "invalid number of 1 blob commitments compared to 2 blob hashes"
    );
    let mut other = unsigned(A, 0, GWEI, &cells);
    let computed = other.blob_versioned_hashes[0];
    other.blob_versioned_hashes[0] = alloy_primitives::B256::ZERO;
    assert_eq!(
        refusal(add(&mut pool(), with_sidecar(other, cells), A)),
        format!("blob 0: computed hash {computed:?} mismatches transaction one 0x{}", "0".repeat(64))
    );
}

#[test]
fn blobs_and_proofs_are_counted_and_verified() {
    let BlobTransactionSidecarVariant::Eip7594(good) = cell_sidecar() else { unreachable!() };
    let say = |sidecar: BlobTransactionSidecarEip7594| {
        let tx = unsigned(A, 0, GWEI, &cell_sidecar());
        refusal(add(&mut pool(), with_sidecar(tx, BlobTransactionSidecarVariant::Eip7594(sidecar)), A))
    };
    let mut short = good.clone();
    short.cell_proofs.pop();
    assert_eq!(say(short), "Wrong sidecar format: invalid number of 127 blob proofs expected 128");
    let mut doubled = good.clone();
    doubled.blobs.push(blob());
    assert_eq!(say(doubled), "invalid number of 2 blobs compared to 1 commitments");
    let mut swapped = good;
    swapped.cell_proofs.swap(0, 1);
    assert_eq!(say(swapped), "KZG verification error: invalid proof");

    let none = BlobTransactionSidecarVariant::Eip7594(BlobTransactionSidecarEip7594::default());
    assert_eq!(refusal(add(&mut pool(), blob_tx(A, 0, none), A)), "blobless blob transaction");
}

#[test]
fn six_blobs_are_the_most() {
    let BlobTransactionSidecarVariant::Eip4844(one) = blob_sidecar() else { unreachable!() };
    let seven = BlobTransactionSidecarVariant::Eip4844(BlobTransactionSidecar {
        blobs: vec![one.blobs[0]; 7],
        commitments: vec![one.commitments[0]; 7],
        proofs: vec![one.proofs[0]; 7],
    });
    assert_eq!(
        refusal(add(&mut on_prague(), blob_tx(A, 0, seven), A)),
        "transaction blob limit exceeded: blob count 7, limit 6"
    );
    let mut tx = unsigned(A, 0, GWEI, &cell_sidecar());
    tx.input = Bytes::from(vec![0; 1024 * 1024]);
    tx.gas_limit = 15_000_000;
    assert!(refusal(add(&mut pool(), with_sidecar(tx, cell_sidecar()), A)).ends_with("limit 1048576"));
}

#[test]
fn no_gaps_and_no_mixing() {
    let mut pool = pool();
    assert_eq!(refusal(add(&mut pool, priced(A, 1, GWEI), A)), "nonce too high: tx nonce 1, gapped nonce 0");
    add(&mut pool, priced(A, 0, GWEI), A).unwrap();
    assert_eq!(refusal(add_transfer(&mut pool, 1, 1, GWEI)), "address already reserved");
    add_transfer(&mut pool, 2, 0, GWEI).unwrap();
    assert_eq!(refusal(add(&mut pool, priced(address(2), 0, GWEI), address(2))), "address already reserved");
}

#[test]
fn an_account_has_so_many() {
    let mut pool = Pool::new(Config { blob_account_slots: 2, ..Config::default() }, head(1));
    add(&mut pool, priced(A, 0, GWEI), A).unwrap();
    add(&mut pool, priced(A, 1, GWEI), A).unwrap();
    assert_eq!(refusal(add(&mut pool, priced(A, 2, GWEI), A)), "account limit exceeded: pooled 2 txs");
}

#[test]
fn a_replacement_pays_double() {
    let mut pool = pool();
    let old = add(&mut pool, priced(A, 0, 100), A).unwrap();
    assert_eq!(
        refusal(add(&mut pool, priced(A, 0, 99), A)),
        "replacement transaction underpriced: new tx gas fee cap 99 <= 100 queued"
    );
    assert_eq!(
        refusal(add(&mut pool, priced(A, 0, 199), A)),
        "replacement transaction underpriced: new tx gas fee cap 199 < 100 queued + 100% replacement penalty"
    );
    let dear = |fee, blob_fee| {
        let tx = TxEip4844 { max_fee_per_blob_gas: blob_fee, ..unsigned(A, 0, fee, &cell_sidecar()) };
        with_sidecar(tx, cell_sidecar())
    };
    assert_eq!(
        refusal(add(&mut pool, dear(200, 150), A)),
        "replacement transaction underpriced: new tx blob gas fee cap 150 < 100 queued + 100% replacement penalty"
    );
    assert_eq!(add(&mut pool, dear(200, 200), A).unwrap().replaced, Some(old.hash));
}

#[test]
fn bytes_are_bounded_and_the_furthest_from_a_block_leaves() {
    let one = alloy_eips::eip2718::Encodable2718::encode_2718_len(&priced(A, 0, GWEI)) as u64;
    let mut pool = Pool::new(Config { blob_data_cap: 2 * one + 10, ..Config::default() }, head(1));
    let dear_fees = HeadInfo { base_fee: 1000, blob_base_fee: 1000, ..head(2) };
    pool.set_head(HeadUpdate::new(dear_fees), seconds(1));
    let far = add(&mut pool, priced(A, 0, 100), A).unwrap();
    add(&mut pool, priced(address(2), 0, 2000), address(2)).unwrap();
    let near = add(&mut pool, priced(address(3), 0, 900), address(3)).unwrap();
    assert_eq!(dropped(&near.events), [(far.hash, DropReason::Underpriced)]);
    assert!(pool.blob_bytes() <= 2 * one + 10);
    assert_eq!(refusal(add(&mut pool, priced(A, 0, 100), A)), "transaction underpriced");
}

#[test]
fn a_reorg_brings_the_sidecar_back_if_it_is_recent() {
    for (number, reason) in [(3, None), (200, Some(DropReason::SidecarGone))] {
        let mut pool = pool();
        let tx = priced(A, 0, GWEI);
        let added = add(&mut pool, tx.clone(), A).unwrap();
        let mut next = update(2, &[(1, 1)]);
        next.mined = vec![added.hash];
        pool.set_head(next, seconds(1));
        assert_eq!(pool.blob_bytes(), 0);

        let mut reorg = update(number, &[(1, 0)]);
        let TxEnvelope::Eip4844(signed) = tx.clone() else { unreachable!() };
        let (variant, signature, hash) = signed.into_parts();
        let bare = alloy_consensus::Signed::new_unchecked(TxEip4844::from(variant), signature, hash);
        reorg.reinject = vec![(quintet_types::Transaction::Eip4844(bare), A)];
        let events = pool.set_head(reorg, seconds(2));
        match reason {
            None => assert_eq!(pool.get(&added.hash).unwrap().transaction, tx),
            Some(reason) => assert_eq!(dropped(&events), [(added.hash, reason)]),
        }
    }
}

#[test]
fn what_follows_a_lost_one_is_lost() {
    let mut pool = pool();
    let all: Vec<_> = (0..3).map(|nonce| add(&mut pool, priced(A, nonce, 100), A).unwrap().hash).collect();
    // Covers two of three: what carries blobs must be covered all together.
    let cost = U256::from(100 * (21_000 + 131_072));
    let mut next = HeadUpdate::new(head(2));
    next.changed = vec![(A, AccountView { balance: cost * U256::from(2), ..rich() })];
    assert_eq!(dropped(&pool.set_head(next, seconds(1))), [(all[2], DropReason::Unpayable)]);
    let events = pool.set_min_tip(1000);
    let expected = [(all[0], DropReason::BelowMinTip), (all[1], DropReason::NonceGap)];
    assert_eq!(dropped(&events), expected);
    assert_eq!(nonces(&pool, 1), (vec![], vec![]));
}

#[test]
fn osaka_drops_old_proofs_and_blocks_without_the_blob_fee_skip() {
    let mut old = on_prague();
    let added = add(&mut old, blob_tx(A, 0, blob_sidecar()), A).unwrap();
    assert_eq!(old.best_transactions(0, 0, GWEI).count(), 1);
    assert_eq!(old.best_transactions(0, 0, GWEI + 1).count(), 0);
    let events = old.set_head(HeadUpdate::new(head(2)), seconds(1));
    assert_eq!(dropped(&events), [(added.hash, DropReason::SidecarVersion)]);
}

#[test]
fn local_blobs_are_added_too() {
    let mut pool = pool();
    let tx = crate::helpers::submission(priced(A, 0, GWEI), A, Origin::Local);
    assert!(pool.add(tx, rich(), seconds(0)).unwrap().pending);
    assert_eq!((pool.status().pending, pool.slots()), (1, 0));
}
