//! Receipts as they are stored: RLP without the blooms, which follow from the logs and are most of a
//! transfer's receipt.

use alloy_consensus::{Eip658Value, Receipt as Fields, ReceiptEnvelope, ReceiptWithBloom, TxType};
use alloy_primitives::Log;
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use quintet_types::{Receipt, Receipts};

/// One receipt: its EIP-2718 type, its status or (before EIP-658) state root, and the rest.
#[derive(RlpDecodable)]
struct Stored {
    kind: u8,
    status: Eip658Value,
    cumulative_gas_used: u64,
    logs: Vec<Log>,
}

/// The same, to be written.
#[derive(RlpEncodable)]
struct Borrowed<'a> {
    kind: u8,
    status: Eip658Value,
    cumulative_gas_used: u64,
    logs: &'a Vec<Log>,
}

/// Appends receipts.
pub(crate) fn put(receipts: &[Receipt], out: &mut Vec<u8>) {
    let stored = receipts.iter().filter_map(|receipt| {
        let fields = receipt.as_receipt()?;
        Some(Borrowed {
            kind: receipt.tx_type() as u8,
            status: fields.status,
            cumulative_gas_used: fields.cumulative_gas_used,
            logs: &fields.logs,
        })
    });
    stored.collect::<Vec<_>>().encode(out);
}

/// What [`put`] wrote, blooms computed again.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Receipts, alloy_rlp::Error> {
    let stored = Vec::<Stored>::decode(&mut bytes)?;
    if !bytes.is_empty() {
        return Err(alloy_rlp::Error::UnexpectedLength);
    }
    stored.into_iter().map(receipt).collect()
}

fn receipt(stored: Stored) -> Result<Receipt, alloy_rlp::Error> {
    let kind = TxType::try_from(stored.kind)
        .map_err(|_| alloy_rlp::Error::Custom("a receipt of an unknown transaction type"))?;
    let Stored { status, cumulative_gas_used, logs, .. } = stored;
    let receipt = ReceiptWithBloom::from(Fields { status, cumulative_gas_used, logs });
    Ok(ReceiptEnvelope::from_typed(kind, receipt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256, Bytes};

    fn receipts() -> Receipts {
        let kinds = [TxType::Legacy, TxType::Eip2930, TxType::Eip1559, TxType::Eip4844, TxType::Eip7702];
        let statuses = [
            Eip658Value::Eip658(true),
            Eip658Value::Eip658(false),
            Eip658Value::PostState(B256::repeat_byte(3)),
        ];
        let logs = [
            vec![],
            vec![Log::new_unchecked(
                Address::repeat_byte(1),
                vec![B256::repeat_byte(2); 4],
                Bytes::from("data"),
            )],
        ];
        let mut receipts = Vec::new();
        for kind in kinds {
            for status in statuses {
                for logs in logs.clone() {
                    let fields = Fields { status, cumulative_gas_used: 21_000, logs };
                    receipts.push(ReceiptEnvelope::from_typed(kind, ReceiptWithBloom::from(fields)));
                }
            }
        }
        receipts
    }

    #[test]
    fn receipts_come_back_with_their_blooms() {
        let before = receipts();
        let mut out = Vec::new();
        put(&before, &mut out);
        assert_eq!(decode(&out).unwrap(), before);
        let mut transfer = Vec::new();
        put(&before[..1], &mut transfer);
        assert!(transfer.len() < 10);
    }

    #[test]
    fn cut_records_are_refused() {
        let mut out = Vec::new();
        put(&receipts(), &mut out);
        for end in 0..out.len() {
            assert!(decode(&out[..end]).is_err(), "cut at {end}");
        }
        out.push(0);
        assert!(decode(&out).is_err());
    }
}
