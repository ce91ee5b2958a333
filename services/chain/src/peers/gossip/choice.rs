//! Which peers are sent a transaction whole: the square root of their number, the same ones for all transactions of a
//! sender, so that those come in the order of their nonces.

use crate::peers::PeerId;
use alloy_primitives::Address;
use std::hash::{BuildHasher, RandomState};

/// How many of so many peers: the square root, rounded up, as geth has it.
pub(crate) const fn whole_transaction_share(peers: usize) -> usize {
    let root = peers.isqrt();
    if root * root == peers { root } else { root + 1 }
}

/// The peers that are sent the transactions of `sender` whole. `secret` keeps others from finding a sender whose
/// transactions all come to them.
pub(crate) fn chosen(secret: &RandomState, peers: &[PeerId], sender: &Address) -> Vec<PeerId> {
    let share = whole_transaction_share(peers.len());
    let mut ranked: Vec<(u64, PeerId)> =
        peers.iter().map(|peer| (secret.hash_one((sender, peer)), *peer)).collect();
    if share < ranked.len() {
        ranked.select_nth_unstable(share);
        ranked.truncate(share);
    }
    ranked.into_iter().map(|(_, peer)| peer).collect()
}

#[cfg(test)]
mod tests {
    use super::{chosen, whole_transaction_share};
    use alloy_primitives::{Address, B256};
    use std::collections::BTreeSet;
    use std::hash::RandomState;

    #[test]
    fn a_senders_transactions_go_the_same_way() {
        let secret = RandomState::new();
        let peers: Vec<B256> = (0..50).map(B256::repeat_byte).collect();
        let of = |sender: u8, peers: &[B256]| -> BTreeSet<B256> {
            chosen(&secret, peers, &Address::repeat_byte(sender)).into_iter().collect()
        };
        let mut backwards = peers.clone();
        backwards.reverse();
        assert_eq!(of(1, &peers).len(), 8);
        assert_eq!(of(1, &peers), of(1, &backwards));
        let reached: BTreeSet<B256> = (0..200).flat_map(|sender| of(sender, &peers)).collect();
        assert_eq!(reached.len(), 50, "every peer gets somebody's");
    }

    #[test]
    fn the_share_is_the_square_root() {
        assert_eq!([0, 1, 2, 3, 4, 5, 9, 10, 50].map(whole_transaction_share), [0, 1, 2, 2, 2, 3, 3, 4, 8]);
    }
}
