//! Proofs of what is there and of what is not, checked by alloy's verifier.

use crate::model::{self, Block, Flat, State, address, block};
use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_trie::proof::verify_proof;
use proptest::prelude::*;
use quintet_trie::{AccountProof, EMPTY_ROOT_HASH, Layer, Nibbles, prove, update};

fn verify(root: B256, proof: &AccountProof) {
    let key = Nibbles::unpack(keccak256(proof.address));
    let leaf = proof.account.as_ref().map(alloy_rlp::encode);
    verify_proof(root, key, leaf, &proof.nodes).unwrap();
    for slot in &proof.storage {
        let key = Nibbles::unpack(keccak256(slot.slot.to_be_bytes::<32>()));
        let leaf = (!slot.value.is_zero()).then(|| alloy_rlp::encode(slot.value));
        verify_proof(proof.storage_root(), key, leaf, &slot.nodes).unwrap();
    }
}

fn check_all(state: &State, store: &Flat, root: B256) {
    let slots: Vec<_> = (0..64).map(U256::from).collect();
    for n in 0..44 {
        let proof = prove(store, address(n), &slots).unwrap();
        verify(root, &proof);
        let held = state.get(&address(n));
        assert_eq!(proof.account.is_some(), held.is_some());
        if let (Some(proven), Some((account, _))) = (&proof.account, held) {
            let fields = (proven.nonce, proven.balance, proven.code_hash);
            assert_eq!(fields, (account.nonce, account.balance, account.code_hash));
        }
        for proven in &proof.storage {
            let value = held.and_then(|(_, storage)| storage.get(&proven.slot));
            assert_eq!(proven.value, value.copied().unwrap_or_default());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn proofs_hold(blocks in prop::collection::vec(block(), 1..4)) {
        let (mut state, mut store) = (State::new(), Flat::default());
        let mut root = EMPTY_ROOT_HASH;
        for (number, block) in (1..).zip(&blocks) {
            let (after, diff) = model::execute(&state, block, number);
            let (next, changes) = update(&store, &diff).unwrap();
            store.apply(&changes);
            (state, root) = (after, next);
        }
        check_all(&state, &store, root);
    }

    #[test]
    fn damage_never_panics(n in any::<usize>(), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let (state, diff) = model::execute(&State::new(), &Block::large(1), 1);
        let mut store = Flat::default();
        store.apply(&update(&store, &diff).unwrap().1);
        store.damage(n, Bytes::from(bytes));
        let failed = state.iter().any(|(address, (_, storage))| {
            prove(&store, *address, &storage.keys().copied().collect::<Vec<_>>()).is_err()
        });
        let (_, diff) = model::execute(&state, &Block::large(2), 2);
        let _ = update(&store, &diff);
        // Every node lies on some key's way; only a damaged state root is named by nothing here.
        prop_assert!(failed || n % store.len() == 0);
    }
}

#[test]
fn an_empty_state_proves_absence() {
    let proof = prove(&Layer::new(), address(1), &[U256::ZERO]).unwrap();
    assert_eq!((proof.account.as_ref(), proof.storage_root()), (None, EMPTY_ROOT_HASH));
    assert!(proof.nodes.is_empty());
    assert!(proof.storage.iter().all(|slot| slot.nodes.is_empty() && slot.value.is_zero()));
    verify(EMPTY_ROOT_HASH, &proof);
}
