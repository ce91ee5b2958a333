//! geth's `TransactionArgs`: a call or a transaction as callers describe it.

use crate::decode;
use alloy_eips::eip2930::AccessList;
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_evm::CallRequest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A call or a transaction; what is `None` was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TransactionArgs {
    pub(super) from: Option<Address>,
    pub(super) to: Option<Address>,
    pub(super) gas: Option<u64>,
    pub(super) gas_price: Option<U256>,
    pub(super) max_fee_per_gas: Option<U256>,
    pub(super) max_priority_fee_per_gas: Option<U256>,
    pub(super) max_fee_per_blob_gas: Option<U256>,
    pub(super) value: Option<U256>,
    pub(super) nonce: Option<u64>,
    pub(super) data: Option<Bytes>,
    pub(super) input: Option<Bytes>,
    pub(super) access_list: Option<AccessList>,
    pub(super) chain_id: Option<U256>,
    pub(super) blob_versioned_hashes: Option<Vec<B256>>,
    pub(super) authorization_list: Option<Vec<SignedAuthorization>>,
    pub(super) has_blobs: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "'de: 'a")]
struct Fields<'a> {
    from: Option<&'a RawValue>,
    to: Option<&'a RawValue>,
    gas: Option<&'a RawValue>,
    gas_price: Option<&'a RawValue>,
    max_fee_per_gas: Option<&'a RawValue>,
    max_priority_fee_per_gas: Option<&'a RawValue>,
    max_fee_per_blob_gas: Option<&'a RawValue>,
    value: Option<&'a RawValue>,
    nonce: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    input: Option<&'a RawValue>,
    access_list: Option<&'a RawValue>,
    chain_id: Option<&'a RawValue>,
    blob_versioned_hashes: Option<&'a RawValue>,
    authorization_list: Option<&'a RawValue>,
    blobs: Option<&'a RawValue>,
}

/// Decodes `raw`, failing as Go's decoder does.
pub(super) fn transaction_args(raw: &str) -> Result<TransactionArgs, String> {
    let fields: Fields<'_> = serde_json::from_str(raw)
        .map_err(|_| decode::cannot_unmarshal(wrong_kind(raw), "ethapi.TransactionArgs"))?;
    Ok(TransactionArgs {
        from: field("from", fields.from, decode::address)?,
        to: field("to", fields.to, decode::address)?,
        gas: field("gas", fields.gas, decode::uint64)?,
        gas_price: field("gasPrice", fields.gas_price, decode::big)?,
        max_fee_per_gas: field("maxFeePerGas", fields.max_fee_per_gas, decode::big)?,
        max_priority_fee_per_gas: field(
            "maxPriorityFeePerGas",
            fields.max_priority_fee_per_gas,
            decode::big,
        )?,
        max_fee_per_blob_gas: field("maxFeePerBlobGas", fields.max_fee_per_blob_gas, decode::big)?,
        value: field("value", fields.value, decode::big)?,
        nonce: field("nonce", fields.nonce, decode::uint64)?,
        data: field("data", fields.data, decode::bytes)?,
        input: field("input", fields.input, decode::bytes)?,
        access_list: field("accessList", fields.access_list, |raw| serde_value(raw, "types.AccessList"))?,
        chain_id: field("chainId", fields.chain_id, decode::big)?,
        blob_versioned_hashes: field("blobVersionedHashes", fields.blob_versioned_hashes, |raw| {
            decode::list(raw, "[]common.Hash", decode::hash)
        })?,
        authorization_list: field("authorizationList", fields.authorization_list, |raw| {
            serde_value(raw, "[]types.SetCodeAuthorization")
        })?,
        has_blobs: fields.blobs.is_some(),
    })
}

fn wrong_kind(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'"') => "string",
        Some(b'[') => "array",
        Some(b't' | b'f') => "bool",
        Some(b'{') => "object",
        _ => "number",
    }
}

fn field<T>(
    name: &str,
    raw: Option<&RawValue>,
    decode: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let Some(raw) = raw else { return Ok(None) };
    decode(raw.get()).map(Some).map_err(|error| {
        error.replace("Go value of type", &format!("Go struct field TransactionArgs.{name} of type"))
    })
}

fn serde_value<T: DeserializeOwned>(raw: &str, go_type: &str) -> Result<T, String> {
    serde_json::from_str(raw).map_err(|_| decode::cannot_unmarshal(wrong_kind(raw), go_type))
}

impl TransactionArgs {
    /// The input; the newer name comes first.
    pub(super) fn payload(&self) -> Bytes {
        self.input.clone().or_else(|| self.data.clone()).unwrap_or_default()
    }

    /// As a call for the EVM.
    pub(super) fn into_call(self) -> CallRequest {
        let price = |price: Option<U256>| price.map(|price| u128::try_from(price).unwrap_or(u128::MAX));
        CallRequest {
            from: self.from,
            to: self.to,
            gas: self.gas,
            gas_price: price(self.gas_price),
            max_fee_per_gas: price(self.max_fee_per_gas),
            max_priority_fee_per_gas: price(self.max_priority_fee_per_gas),
            max_fee_per_blob_gas: price(self.max_fee_per_blob_gas),
            value: self.value,
            data: self.payload(),
            nonce: self.nonce,
            access_list: self.access_list,
            authorization_list: self.authorization_list,
            blob_versioned_hashes: self.blob_versioned_hashes,
            chain_id: self.chain_id.map(|id| u64::try_from(id).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_fields_are_named_as_go_names_them() {
        assert_eq!(
            transaction_args(r#"{"from":"00"}"#).err().as_deref(),
            Some(
                "json: cannot unmarshal hex string without 0x prefix into Go struct field TransactionArgs.from of type common.Address"
            )
        );
        assert_eq!(
            transaction_args(r#"{"value":5}"#).err().as_deref(),
            Some(
                "json: cannot unmarshal non-string into Go struct field TransactionArgs.value of type *hexutil.Big"
            )
        );
        assert_eq!(
            transaction_args("\"x\"").err().as_deref(),
            Some("json: cannot unmarshal string into Go value of type ethapi.TransactionArgs")
        );
    }

    #[test]
    fn input_comes_before_data() {
        let args = transaction_args(r#"{"data":"0x01","input":"0x02","to":null,"unknown":1}"#).expect("args");
        assert_eq!(args.payload(), Bytes::from_static(&[2]));
        assert_eq!(args.to, None);
    }
}
