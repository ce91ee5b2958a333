//! RLP tests: what encodes to what, and what must not decode.

use super::json;
use crate::runner::{Refusals, Sink};
use alloy_primitives::{U256, hex};
use alloy_rlp::{Encodable, Header};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "in")]
    input: Value,
    out: String,
}

/// A byte string or a list.
#[derive(Debug, PartialEq)]
enum Item {
    Bytes(Vec<u8>),
    List(Vec<Item>),
}

pub(super) fn run(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: BTreeMap<String, Case> = json::read(&sink.bytes()?)?;
    for (name, case) in &cases {
        sink.case("", name, |refusals| run_case(case, refusals).into());
    }
    Ok(())
}

fn run_case(case: &Case, refusals: &mut Refusals) -> Result<(), String> {
    let bytes = hex::decode(&case.out).map_err(|error| error.to_string())?;
    let decoded = decode_all(&bytes);
    match (case.input.as_str(), decoded) {
        (Some("INVALID"), Ok(item)) => Err(format!("decoded to {item:?}")),
        (Some("INVALID"), Err(error)) => {
            refusals.add("INVALID", &error.to_string());
            Ok(())
        }
        (_, Err(error)) => Err(error.to_string()),
        (Some("VALID"), Ok(item)) => {
            json::same("encoding", &hex::encode(encode(&item)), &hex::encode(&bytes))
        }
        (_, Ok(item)) => {
            let want = item_of(&case.input)?;
            json::same("encoding", &hex::encode(encode(&want)), &hex::encode(&bytes))?;
            if item == want { Ok(()) } else { Err(format!("decoded to {item:?} instead of {want:?}")) }
        }
    }
}

/// Numbers are big-endian, without leading zeros; a text that begins with `#` is one, too large for JSON.
fn item_of(value: &Value) -> Result<Item, String> {
    let number = |number: U256| Item::Bytes(number.to_be_bytes_trimmed_vec());
    match value {
        Value::Array(items) => Ok(Item::List(items.iter().map(item_of).collect::<Result<_, _>>()?)),
        Value::Number(small) => {
            small.as_u64().map(|small| number(U256::from(small))).ok_or_else(|| format!("bad number {small}"))
        }
        Value::String(text) => match text.strip_prefix('#') {
            Some(digits) => Ok(number(json::number(digits)?)),
            None => Ok(Item::Bytes(text.as_bytes().to_vec())),
        },
        other => Err(format!("unknown input {other}")),
    }
}

fn encode(item: &Item) -> Vec<u8> {
    let mut out = Vec::new();
    match item {
        Item::Bytes(bytes) => bytes.as_slice().encode(&mut out),
        Item::List(items) => {
            let payload: Vec<u8> = items.iter().flat_map(encode).collect();
            Header { list: true, payload_length: payload.len() }.encode(&mut out);
            out.extend(payload);
        }
    }
    out
}

fn decode_all(mut bytes: &[u8]) -> Result<Item, alloy_rlp::Error> {
    let item = decode(&mut bytes)?;
    if bytes.is_empty() { Ok(item) } else { Err(alloy_rlp::Error::UnexpectedLength) }
}

fn decode(bytes: &mut &[u8]) -> Result<Item, alloy_rlp::Error> {
    let header = Header::decode(bytes)?;
    let (mut payload, rest) =
        bytes.split_at_checked(header.payload_length).ok_or(alloy_rlp::Error::InputTooShort)?;
    *bytes = rest;
    if !header.list {
        return Ok(Item::Bytes(payload.to_vec()));
    }
    let mut items = Vec::new();
    while !payload.is_empty() {
        items.push(decode(&mut payload)?);
    }
    Ok(Item::List(items))
}
