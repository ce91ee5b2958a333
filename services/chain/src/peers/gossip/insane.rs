//! What no block of any chain has, and what a block must be in itself before anybody is asked about it.

use alloy_consensus::EMPTY_OMMER_ROOT_HASH;
use quintet_trie::{EMPTY_ROOT_HASH, ommers_root, transactions_root, withdrawals_root};
use quintet_types::Block;

/// Most bits of a difficulty (geth: anything above is a memory attack).
const MAX_DIFFICULTY_BITS: usize = 80;
/// Most bytes of extra data.
const MAX_EXTRA_DATA: usize = 100 * 1024;

/// Checks a block that a peer sent of its own accord: its fields' sizes, and that its body is its header's.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_block(block: &Block) -> Result<(), &'static str> {
    let (header, body) = (&block.header, &block.body);
    if header.difficulty.bit_len() > MAX_DIFFICULTY_BITS {
        return Err("too large block difficulty");
    }
    if header.extra_data.len() > MAX_EXTRA_DATA {
        return Err("too large block extradata size");
    }
    let ommers = if body.ommers.is_empty() { EMPTY_OMMER_ROOT_HASH } else { ommers_root(&body.ommers) };
    if ommers != header.ommers_hash {
        return Err("propagated block has invalid uncles");
    }
    let transactions =
        if body.transactions.is_empty() { EMPTY_ROOT_HASH } else { transactions_root(&body.transactions) };
    if transactions != header.transactions_root {
        return Err("propagated block has invalid body");
    }
    let withdrawals = body.withdrawals.as_ref().map(|withdrawals| withdrawals_root(withdrawals));
    if withdrawals != header.withdrawals_root {
        return Err("propagated block has invalid withdrawals");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_block;
    use alloy_primitives::U256;
    use quintet_types::{Block, Header};

    fn empty() -> Block {
        Block { header: Header::default(), body: quintet_types::Body::default() }
    }

    #[test]
    fn a_body_must_be_its_headers() {
        assert_eq!(check_block(&empty()), Ok(()));
        let mut block = empty();
        block.body.ommers.push(Header::default());
        assert_eq!(check_block(&block), Err("propagated block has invalid uncles"));
        let mut block = empty();
        block.body.withdrawals = Some(Vec::new().into());
        assert_eq!(check_block(&block), Err("propagated block has invalid withdrawals"));
        let mut block = empty();
        block.header.transactions_root = alloy_primitives::B256::ZERO;
        assert_eq!(check_block(&block), Err("propagated block has invalid body"));
    }

    #[test]
    fn sizes_have_limits() {
        let mut block = empty();
        block.header.difficulty = U256::ONE << 80;
        assert_eq!(check_block(&block), Err("too large block difficulty"));
        block.header.difficulty = (U256::ONE << 80) - U256::ONE;
        assert_eq!(check_block(&block), Ok(()));
        block.header.extra_data = vec![0; 100 * 1024 + 1].into();
        assert_eq!(check_block(&block), Err("too large block extradata size"));
    }
}
