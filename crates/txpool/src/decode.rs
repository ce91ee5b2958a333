//! A pooled transaction from its bytes, refused in geth's words.

use alloy_consensus::transaction::RlpEcdsaDecodableTx;
use alloy_consensus::{TxEnvelope, TxLegacy};
use alloy_eips::eip2718::{Decodable2718, Eip2718Error};

/// Bytes that are no transaction. The text is what geth answers to `eth_sendRawTransaction`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(String);

/// Decodes exactly one transaction in its pooled EIP-2718 form, a blob transaction with its sidecar.
///
/// # Errors
/// When the bytes are anything else.
pub fn decode_transaction(raw: &[u8]) -> Result<TxEnvelope, Undecodable> {
    TxEnvelope::decode_2718_exact(raw).map_err(|error| Undecodable(describe(raw, &error)))
}

/// geth's words for bytes that are no transaction.
fn describe(raw: &[u8], error: &Eip2718Error) -> String {
    let Some((&first, payload)) =
        raw.split_first().filter(|(first, rest)| **first >= 0x80 || !rest.is_empty())
    else {
        return "typed transaction too short".to_owned();
    };
    // From 0x80 on, the first byte is that of an RLP list: a legacy transaction.
    let (name, mut payload) = match first {
        0x80.. => ("LegacyTx", raw),
        1 => ("AccessListTx", payload),
        2 => ("DynamicFeeTx", payload),
        3 => ("BlobTx", payload),
        4 => ("SetCodeTx", payload),
        _ => return "transaction type not supported".to_owned(),
    };
    let outer = alloy_rlp::Header::decode(&mut payload);
    // Of a legacy transaction the envelope's decoder says only that it is none.
    let legacy = TxLegacy::rlp_decode_signed(&mut &*raw).err().map(Eip2718Error::RlpError);
    let error = legacy.as_ref().filter(|_| first >= 0x80).unwrap_or(error);
    match (outer, error) {
        (Err(_), _) => "rlp: value size exceeds available input length".to_owned(),
        (Ok(header), _) if !header.list => format!("rlp: expected input list for types.{name}"),
        (Ok(header), _) if header.payload_length < payload.len() => {
            "rlp: input contains more than one value".to_owned()
        }
        (_, Eip2718Error::RlpError(alloy_rlp::Error::InputTooShort)) => {
            format!("rlp: too few elements for types.{name}")
        }
        (_, Eip2718Error::RlpError(alloy_rlp::Error::ListLengthMismatch { .. })) => {
            format!("rlp: input list has too many elements for types.{name}")
        }
        (_, Eip2718Error::RlpError(alloy_rlp::Error::UnexpectedList)) => {
            format!("rlp: expected input string or byte for types.{name}")
        }
        (_, Eip2718Error::RlpError(alloy_rlp::Error::LeadingZero)) => {
            "rlp: non-canonical integer (leading zero bytes)".to_owned()
        }
        (
            _,
            Eip2718Error::RlpError(
                alloy_rlp::Error::NonCanonicalSize | alloy_rlp::Error::NonCanonicalSingleByte,
            ),
        ) => "rlp: non-canonical size information".to_owned(),
        (_, Eip2718Error::RlpError(error)) => format!("rlp: {error}"),
        (_, error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::decode_transaction;

    #[test]
    fn refusals_are_worded_as_by_geth() {
        let cases: [(&[u8], &str); 6] = [
            (&[], "typed transaction too short"),
            (&[0x02], "typed transaction too short"),
            (&[0x02, 0xc0], "rlp: too few elements for types.DynamicFeeTx"),
            (&[0xc0], "rlp: too few elements for types.LegacyTx"),
            (&[0x02, 0xc8, 0x01], "rlp: value size exceeds available input length"),
            (&[0x7f, 0xc0], "transaction type not supported"),
        ];
        for (raw, text) in cases {
            assert_eq!(decode_transaction(raw).unwrap_err().to_string(), text, "{raw:?}");
        }
    }
}
