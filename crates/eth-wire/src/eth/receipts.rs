//! Receipts, with bloom before `eth/69` and without it from then on.

use crate::codec::{Budget, Fields, UNLIMITED, list, plain};
use crate::eth::transactions::typed;
use crate::{EthVersion, ListBuilder, Malformed};
use alloy_consensus::{Eip658Value, Receipt as ReceiptFields, ReceiptEnvelope, ReceiptWithBloom, TxType};
use alloy_primitives::Log;
use alloy_rlp::{BufMut, Encodable, Header};
use quintet_types::{Receipt, Receipts};

impl ListBuilder {
    /// Appends one block's receipts, in the form of `version`.
    pub fn push_receipts(&mut self, version: EthVersion, receipts: &[Receipt]) {
        if version.has_block_range() {
            self.push_with(|out| encode_plain(receipts, out));
        } else {
            self.push_with(|out| alloy_rlp::encode_list::<Receipt, Receipt>(receipts, out));
        }
    }
}

/// One block's receipts in the form of `eth/69`: `[type, status or root, cumulative gas, logs]` each (EIP-7642).
fn encode_plain(receipts: &[Receipt], out: &mut dyn BufMut) {
    let fields = || receipts.iter().filter_map(|receipt| Some((receipt.tx_type(), receipt.as_receipt()?)));
    let lengths = fields().map(|(kind, receipt)| plain_header(kind, receipt).length_with_payload());
    Header { list: true, payload_length: lengths.fold(0, usize::saturating_add) }.encode(out);
    for (kind, receipt) in fields() {
        plain_header(kind, receipt).encode(out);
        (kind as u8).encode(out);
        receipt.status.encode(out);
        receipt.cumulative_gas_used.encode(out);
        receipt.logs.encode(out);
    }
}

fn plain_header(kind: TxType, receipt: &ReceiptFields) -> Header {
    let lengths = [
        (kind as u8).length(),
        receipt.status.length(),
        receipt.cumulative_gas_used.length(),
        receipt.logs.length(),
    ];
    Header { list: true, payload_length: lengths.into_iter().fold(0, usize::saturating_add) }
}

/// One block's receipts.
pub(crate) fn read_block(
    version: EthVersion,
    input: &mut &[u8],
    budget: &mut Budget,
) -> Result<Receipts, Malformed> {
    let receipt = if version.has_block_range() { read_plain } else { read_bloomed };
    list(input, budget, UNLIMITED, receipt)
}

/// A receipt in the form of the receipts' trie.
fn read_bloomed(input: &mut &[u8], budget: &mut Budget) -> Result<Receipt, Malformed> {
    typed(input, budget)
}

/// A receipt without its bloom, which is computed.
fn read_plain(input: &mut &[u8], budget: &mut Budget) -> Result<Receipt, Malformed> {
    let mut fields = Fields::open(input)?;
    let kind = fields.next::<u8>()?;
    let kind = TxType::try_from(kind).map_err(|_| Malformed::TransactionType(kind))?;
    let (status, cumulative_gas_used) = (fields.next::<Eip658Value>()?, fields.next()?);
    let logs = list(fields.rest(), budget, UNLIMITED, plain::<Log>)?;
    fields.end()?;
    let receipt = ReceiptWithBloom::from(ReceiptFields { status, cumulative_gas_used, logs });
    Ok(ReceiptEnvelope::from_typed(kind, receipt))
}
