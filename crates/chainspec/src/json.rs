//! Reads geth's JSON as leniently as geth does: object keys without regard to case, numbers as JSON numbers
//! of any size, decimal strings or hex strings, byte strings with or without `0x`. Every error names the place.

use crate::ChainSpecError;
use alloy_primitives::{Address, B256, Bytes, U256, hex};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A JSON object, and where in the file it stands.
pub(crate) struct Object<'a> {
    path: String,
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> Object<'a> {
    /// Parses a whole text as an object; `path` is what errors call it.
    pub(crate) fn parse(text: &'a str, path: &str) -> Result<Self, ChainSpecError> {
        let fields: BTreeMap<String, &'a RawValue> = serde_json::from_str(text)
            .map_err(|source| ChainSpecError::Json { path: path.to_owned(), source })?;
        let fields = fields.into_iter().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect();
        Ok(Self { path: path.to_owned(), fields })
    }

    /// The field's raw text, unless it is absent or `null`. Names are matched without regard to case.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let text = self.fields.get(&name.to_ascii_lowercase())?.get();
        (text != "null").then_some(text)
    }

    /// Every field, its name in lower case, without those that are `null`.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &'a str)> {
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.get()));
        fields.filter(|(_, text)| *text != "null")
    }

    /// An object inside this one.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Object<'a>>, ChainSpecError> {
        self.get(name).map(|text| Object::parse(text, &self.path_of(name))).transpose()
    }

    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path == "genesis" { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn invalid(&self, name: &str, reason: String) -> ChainSpecError {
        ChainSpecError::InvalidField { path: self.path_of(name), reason }
    }

    fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ChainSpecError> {
        self.get(name).map(|text| read(text).map_err(|reason| self.invalid(name, reason))).transpose()
    }

    pub(crate) fn u256(&self, name: &str) -> Result<Option<U256>, ChainSpecError> {
        self.read(name, number)
    }

    pub(crate) fn u64(&self, name: &str) -> Result<Option<u64>, ChainSpecError> {
        self.read(name, |text| {
            u64::try_from(number(text)?).map_err(|_| format!("{text} does not fit into 64 bits"))
        })
    }

    pub(crate) fn bool(&self, name: &str) -> Result<Option<bool>, ChainSpecError> {
        self.read(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("{text} is neither true nor false")),
        })
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<Option<Bytes>, ChainSpecError> {
        self.read(name, |text| hex_bytes(&string(text)?).map(Bytes::from))
    }

    pub(crate) fn b256(&self, name: &str) -> Result<Option<B256>, ChainSpecError> {
        self.read(name, |text| fixed::<32>(&string(text)?).map(B256::from))
    }

    pub(crate) fn address(&self, name: &str) -> Result<Option<Address>, ChainSpecError> {
        self.read(name, |text| address(&string(text)?))
    }
}

/// The contents of a JSON string.
pub(crate) fn string(text: &str) -> Result<String, String> {
    serde_json::from_str(text).map_err(|_| format!("{text} is not a string"))
}

/// A number: JSON integer, decimal string, or hex string with `0x`. No digits are zero: geth takes an empty
/// string so, and old genesis files have a bare `0x`.
pub(crate) fn number(text: &str) -> Result<U256, String> {
    let invalid = || format!("invalid hex or decimal integer {text}");
    let digits = if text.starts_with('"') { string(text)? } else { text.to_owned() };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (digits.as_str(), 10),
    };
    if digits.is_empty() {
        return Ok(U256::ZERO);
    }
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(invalid());
    }
    U256::from_str_radix(digits, u64::from(radix)).map_err(|_| format!("{text} does not fit into 256 bits"))
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, String> {
    hex::decode(text).map_err(|error| format!("invalid hex string {text:?}: {error}"))
}

fn fixed<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let bytes = hex_bytes(text)?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| format!("hex string has length {}, want {}", length * 2, N * 2))
}

/// An address, with or without `0x`.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    fixed::<20>(text).map(Address::from)
}

/// A storage key or value: up to 32 bytes of hex, padded on the left.
pub(crate) fn storage_word(text: &str) -> Result<B256, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    if digits.len() > 64 {
        return Err(format!("too many hex characters in storage key/value {text:?}"));
    }
    fixed::<32>(&format!("{digits:0>64}"))
        .map(B256::from)
        .map_err(|_| format!("invalid hex storage key/value {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_geth_reads_them() {
        for text in ["16", "\"16\"", "\"0x10\"", "\"0X10\"", "\"0x00010\""] {
            assert_eq!(number(text), Ok(U256::from(16)), "{text}");
        }
        for text in ["\"\"", "\"0x\""] {
            assert_eq!(number(text), Ok(U256::ZERO), "{text}");
        }
        assert_eq!(number("58750000000000000000000").unwrap().to_string(), "58750000000000000000000");
        for text in ["1e3", "1.5", "-1", "\"0xg\"", "\"1_0\"", "true", "[]", "\"٣\""] {
            assert!(number(text).is_err(), "{text}");
        }
        let too_large = format!("\"0x1{}\"", "0".repeat(64));
        assert!(number(&too_large).unwrap_err().contains("256 bits"));
    }

    #[test]
    fn storage_words_are_padded_on_the_left() {
        assert_eq!(storage_word("0x03").unwrap(), B256::with_last_byte(3));
        assert_eq!(storage_word("3").unwrap(), B256::with_last_byte(3));
        assert!(storage_word(&"0".repeat(65)).is_err());
        assert!(storage_word("0xzz").is_err());
    }

    #[test]
    fn keys_match_without_case_and_null_is_absent() {
        let object = Object::parse(r#"{"mixhash": null, "GasLimit": "0x5"}"#, "genesis").unwrap();
        assert_eq!(object.b256("mixHash").unwrap(), None);
        assert_eq!(object.u64("gasLimit").unwrap(), Some(5));
    }
}
