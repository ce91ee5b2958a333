//! Positional parameters, read in place, with the words of geth's decoder for what is wrong with them.

use crate::error::RpcError;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The most parameters that any method takes.
const MOST: usize = 8;

/// A request's parameters, taken one after the other.
pub(crate) struct Params<'a> {
    values: [Option<&'a RawValue>; MOST],
    given: usize,
    taken: usize,
}

impl<'a> Params<'a> {
    /// The elements of `raw`, which must be an array, `null` or absent.
    pub(crate) fn new(raw: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let empty = Self { values: [None; MOST], given: 0, taken: 0 };
        let Some(raw) = raw.map(RawValue::get).filter(|raw| *raw != "null") else { return Ok(empty) };
        if !raw.starts_with('[') {
            return Err(RpcError::params("non-array args"));
        }
        let mut deserializer = serde_json::Deserializer::from_str(raw);
        deserializer.deserialize_seq(Elements(empty)).map_err(|_| RpcError::params("non-array args"))
    }

    /// The next one, which the method cannot do without.
    pub(crate) fn required<T>(
        &mut self,
        decode: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, RpcError> {
        let index = self.taken;
        let raw = self
            .next()
            .ok_or_else(|| RpcError::params(format!("missing value for required argument {index}")))?;
        decode(raw.get()).map_err(|error| RpcError::params(format!("invalid argument {index}: {error}")))
    }

    /// The next one, `None` if it is absent or `null`.
    pub(crate) fn optional<T>(
        &mut self,
        decode: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, RpcError> {
        let index = self.taken;
        let Some(raw) = self.next().map(RawValue::get).filter(|raw| *raw != "null") else { return Ok(None) };
        decode(raw).map(Some).map_err(|error| RpcError::params(format!("invalid argument {index}: {error}")))
    }

    /// Nothing may be left. To be called when the last one was taken.
    pub(crate) fn end(&self) -> Result<(), RpcError> {
        if self.given > self.taken {
            return Err(RpcError::params(format!("too many arguments, want at most {}", self.taken)));
        }
        Ok(())
    }

    fn next(&mut self) -> Option<&'a RawValue> {
        let value = self.values.get(self.taken).copied().flatten();
        self.taken += 1;
        value
    }
}

struct Elements<'a>(Params<'a>);

impl<'de> Visitor<'de> for Elements<'de> {
    type Value = Params<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<Params<'de>, A::Error> {
        while let Some(slot) = self.0.values.get_mut(self.0.given) {
            let Some(value) = elements.next_element()? else { return Ok(self.0) };
            *slot = Some(value);
            self.0.given += 1;
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {
            self.0.given += 1;
        }
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    fn params(text: &str) -> Result<Params<'_>, RpcError> {
        Params::new(Some(serde_json::from_str(text).expect("JSON")))
    }

    fn message<T>(result: Result<T, RpcError>) -> String {
        result.err().expect("an error").to_string()
    }

    #[test]
    fn wording_is_geths() {
        assert_eq!(message(params("{}")), "non-array args");
        assert!(params("null").is_ok() && Params::new(None).is_ok());
        let mut none = params("[]").expect("array");
        assert_eq!(message(none.required(decode::address)), "missing value for required argument 0");
        let mut bad = params(r#"["0x12"]"#).expect("array");
        assert_eq!(
            message(bad.required(decode::address)),
            "invalid argument 0: hex string has length 2, want 40 for common.Address"
        );
        let mut many = params(r"[true, false, 1]").expect("array");
        assert_eq!(many.required(decode::boolean), Ok(true));
        assert_eq!(message(many.end()), "too many arguments, want at most 1");
        let mut null = params("[null]").expect("array");
        assert_eq!(null.optional(decode::boolean), Ok(None));
        assert_eq!(null.end(), Ok(()));
    }

    #[test]
    fn more_than_any_method_takes_are_counted() {
        let many = params("[1,2,3,4,5,6,7,8,9,10]").expect("array");
        assert_eq!(many.given, 10);
        assert!(many.end().is_err());
    }
}
