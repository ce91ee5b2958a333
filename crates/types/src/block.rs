//! Blocks, receipts, and what a block becomes on its way in: decoded, with senders, executed.

use crate::StateDiff;
use alloy_consensus::{EthereumTxEnvelope, ReceiptEnvelope, TxEip4844};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, U256};
use std::sync::Arc;

/// A signed transaction as blocks carry it: every type of EIP-2718 up to 7702, a blob transaction without
/// its sidecar.
pub type Transaction = EthereumTxEnvelope<TxEip4844>;
/// A block header.
pub type Header = alloy_consensus::Header;
/// A block: header and body, as in `eth`'s wire format.
pub type Block = alloy_consensus::Block<Transaction>;
/// A block's body: transactions, uncles, withdrawals.
pub type Body = alloy_consensus::BlockBody<Transaction>;
/// A receipt with its bloom and type; before Byzantium its status is a state root (EIP-658).
pub type Receipt = ReceiptEnvelope;
/// One block's receipts, in the order of its transactions.
pub type Receipts = Vec<Receipt>;

/// A block's place and identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BlockRef {
    /// Height above genesis.
    pub number: u64,
    /// Keccak of the header's RLP.
    pub hash: B256,
}

/// A block whose hash and transaction senders are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredBlock {
    /// The header's hash.
    pub hash: B256,
    /// The block.
    pub block: Block,
    /// One sender per transaction, in order.
    pub senders: Vec<Address>,
}

impl RecoveredBlock {
    /// The block's number and hash.
    pub const fn block_ref(&self) -> BlockRef {
        BlockRef { number: self.block.header.number, hash: self.hash }
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.block.header
    }

    /// Transactions with their senders, in order.
    pub fn transactions(&self) -> impl ExactSizeIterator<Item = (&Transaction, Address)> {
        self.block.body.transactions.iter().zip(self.senders.iter().copied())
    }
}

/// A canonical block with everything that its execution produced: what a commit writes and what an event
/// carries.
#[derive(Clone, Debug)]
pub struct ExecutedBlock {
    /// The block and its senders.
    pub block: Arc<RecoveredBlock>,
    /// Its receipts.
    pub receipts: Arc<Receipts>,
    /// The state that it changed.
    pub diff: Arc<StateDiff>,
    /// Sum of the difficulties from genesis up to and with this block.
    pub total_difficulty: U256,
}

/// Encodes receipts as the RLP list of their EIP-2718 encodings (each a byte string when typed, a list when
/// legacy), blooms included: the format of `eth`'s Receipts message before `eth/69`.
pub fn encode_receipts(receipts: &[Receipt]) -> Bytes {
    let mut out = Vec::new();
    alloy_rlp::encode_list::<Receipt, Receipt>(receipts, &mut out);
    out.into()
}

/// Decodes what [`encode_receipts`] wrote.
///
/// # Errors
/// When the bytes are not such a list.
pub fn decode_receipts(mut bytes: &[u8]) -> Result<Receipts, alloy_rlp::Error> {
    <Receipts as alloy_rlp::Decodable>::decode(&mut bytes)
}

/// Encodes a transaction as EIP-2718 bytes: the form of `eth_sendRawTransaction` and of the transaction trie.
pub fn encode_transaction(transaction: &Transaction) -> Bytes {
    transaction.encoded_2718().into()
}

/// Decodes one EIP-2718 transaction as blocks carry it.
///
/// # Errors
/// When the bytes are not exactly one transaction.
pub fn decode_transaction(bytes: &[u8]) -> Result<Transaction, alloy_eips::eip2718::Eip2718Error> {
    Transaction::decode_2718_exact(bytes)
}
