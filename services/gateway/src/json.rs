//! Writes JSON straight into a buffer: the answers' hot path builds no tree of values.
//!
//! What must hold: every function appends one complete JSON value. Quantities are the shortest hexadecimal with a
//! `0x` prefix, data has two digits a byte, as Ethereum's JSON-RPC asks.

use alloy_primitives::{U256, hex};
use serde::Serialize;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A quantity of up to 128 bits: `"0x1b4"`.
pub(crate) fn quantity(out: &mut Vec<u8>, value: impl Into<u128>) {
    let value: u128 = value.into();
    let mut text = [0u8; 32];
    let mut start = text.len();
    let mut rest = value;
    while let Some(position) = start.checked_sub(1) {
        if let (Some(slot), Some(digit)) = (text.get_mut(position), DIGITS.get((rest & 15) as usize)) {
            *slot = *digit;
        }
        start = position;
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(b"\"0x");
    out.extend_from_slice(text.get(start..).unwrap_or_default());
    out.push(b'"');
}

/// A quantity of up to 256 bits.
pub(crate) fn quantity256(out: &mut Vec<u8>, value: &U256) {
    if let Ok(small) = u128::try_from(*value) {
        return quantity(out, small);
    }
    out.extend_from_slice(b"\"0x");
    let bytes = value.to_be_bytes::<32>();
    let mut text = [0u8; 64];
    // Cannot fail: the lengths fit.
    let _ = hex::encode_to_slice(bytes, &mut text);
    let start = text.iter().position(|digit| *digit != b'0').unwrap_or(63);
    out.extend_from_slice(text.get(start..).unwrap_or_default());
    out.push(b'"');
}

/// Bytes as data: `"0x00ff"`.
pub(crate) fn data(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"\"0x");
    hex_digits(out, bytes);
    out.push(b'"');
}

/// Two digits a byte, without prefix or quotes.
fn hex_digits(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len() * 2, 0);
    if let Some(text) = out.get_mut(start..) {
        // Cannot fail: the lengths fit.
        let _ = hex::encode_to_slice(bytes, text);
    }
}

/// A string, escaped.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    value(out, text);
}

/// A value that serde writes; for what is not hot.
pub(crate) fn value<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    // Writing to memory fails only for values that are not JSON (a map with structured keys); none is.
    if let Err(error) = serde_json::to_writer(&mut *out, value) {
        tracing::error!(target: "quintet_gateway", %error, "an answer is not JSON");
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// `true` or `false`.
pub(crate) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// `null`.
pub(crate) fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

/// An array; `write` appends one element.
pub(crate) fn array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    let empty = out.len();
    for item in items {
        if out.len() > empty {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// An object under construction. Keys are the code's own: they are not escaped.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes a key, and gives the buffer for its value.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.extend_from_slice(if self.empty { b"\"" } else { b",\"" });
        self.empty = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A quantity.
    pub(crate) fn quantity(&mut self, key: &str, value: impl Into<u128>) {
        quantity(self.key(key), value);
    }

    /// A quantity of up to 256 bits.
    pub(crate) fn quantity256(&mut self, key: &str, value: &U256) {
        quantity256(self.key(key), value);
    }

    /// A quantity, left out when there is none.
    pub(crate) fn optional_quantity(&mut self, key: &str, value: Option<impl Into<u128>>) {
        if let Some(value) = value {
            self.quantity(key, value);
        }
    }

    /// Bytes.
    pub(crate) fn data(&mut self, key: &str, bytes: &[u8]) {
        data(self.key(key), bytes);
    }

    /// Bytes, `null` when there are none.
    pub(crate) fn nullable_data(&mut self, key: &str, bytes: Option<impl AsRef<[u8]>>) {
        match bytes {
            Some(bytes) => self.data(key, bytes.as_ref()),
            None => null(self.key(key)),
        }
    }

    /// Bytes, left out when there are none.
    pub(crate) fn optional_data(&mut self, key: &str, bytes: Option<impl AsRef<[u8]>>) {
        if let Some(bytes) = bytes {
            self.data(key, bytes.as_ref());
        }
    }

    /// A string.
    pub(crate) fn string(&mut self, key: &str, text: &str) {
        string(self.key(key), text);
    }

    /// Closes it.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn quantities_are_shortest() {
        assert_eq!(written(|out| quantity(out, 0u64)), "\"0x0\"");
        assert_eq!(written(|out| quantity(out, 0x400u64)), "\"0x400\"");
        assert_eq!(written(|out| quantity(out, u128::MAX)), format!("\"0x{}\"", "f".repeat(32)));
        assert_eq!(written(|out| quantity256(out, &U256::from(65))), "\"0x41\"");
        let large = U256::from(1) << 128;
        assert_eq!(written(|out| quantity256(out, &large)), format!("\"0x1{}\"", "0".repeat(32)));
        assert_eq!(written(|out| quantity256(out, &U256::MAX)), format!("\"0x{}\"", "f".repeat(64)));
    }

    #[test]
    fn objects_and_arrays_have_commas_between_only() {
        let text = written(|out| {
            let mut object = Object::new(out);
            object.quantity("a", 1u64);
            object.optional_quantity("b", None::<u64>);
            object.nullable_data("c", None::<[u8; 1]>);
            object.data("d", &[0, 255]);
            array(object.key("e"), [1u64, 2], quantity);
            array(object.key("f"), [0u64; 0], quantity);
            object.string("g", "a\"b");
            object.end();
        });
        assert_eq!(text, r#"{"a":"0x1","c":null,"d":"0x00ff","e":["0x1","0x2"],"f":[],"g":"a\"b"}"#);
    }
}
