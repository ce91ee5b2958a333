//! That a body is the one that its header promises.

use crate::error::BlockError;
use crate::header::fork_of;
use alloy_consensus::Transaction;
use alloy_consensus::proofs::{
    calculate_ommers_root, calculate_transaction_root, calculate_withdrawals_root,
};
use quintet_chainspec::{ChainSpec, Fork};
use quintet_types::Block;

/// Largest RLP of a block from Osaka on (EIP-7934): 10 MiB less the beacon block's share.
const MAX_BLOCK_SIZE: usize = 10 * 1024 * 1024 - 2 * 1024 * 1024;

/// Checks a body against its header. Uncles are judged by [`Consensus::check_uncles`](crate::Consensus).
///
/// # Errors
/// The first rule that it breaks.
pub fn check_body(spec: &ChainSpec, block: &Block) -> Result<(), BlockError> {
    let (header, body) = (&block.header, &block.body);
    let size = alloy_rlp::Encodable::length(block);
    if fork_of(spec, header) >= Fork::Osaka && size > MAX_BLOCK_SIZE {
        return Err(BlockError::Size { have: size, limit: MAX_BLOCK_SIZE });
    }
    let uncles = calculate_ommers_root(&body.ommers);
    if uncles != header.ommers_hash {
        return Err(BlockError::UncleRoot { header: header.ommers_hash, body: uncles });
    }
    let transactions = calculate_transaction_root(&body.transactions);
    if transactions != header.transactions_root {
        return Err(BlockError::TransactionRoot { header: header.transactions_root, body: transactions });
    }
    match (&body.withdrawals, header.withdrawals_root) {
        (Some(withdrawals), Some(header)) => {
            let body = calculate_withdrawals_root(withdrawals);
            if header != body {
                return Err(BlockError::WithdrawalsRoot { header, body });
            }
        }
        (None, Some(_)) => return Err(BlockError::WithdrawalsMissing),
        (Some(_), None) => return Err(BlockError::WithdrawalsPresent),
        (None, None) => {}
    }
    let used: u64 = body.transactions.iter().filter_map(Transaction::blob_gas_used).sum();
    let header = header.blob_gas_used.unwrap_or(0);
    if header != used {
        return Err(BlockError::BlobGasUsed { header, body: used });
    }
    Ok(())
}
