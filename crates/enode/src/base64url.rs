//! Base64 in the alphabet for URLs, without padding (RFC 4648, section 5), as records are written in text.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The bits of a digit.
const DIGIT_BITS: u32 = 6;
/// The bits of a byte.
const BYTE_BITS: u32 = 8;

pub(crate) fn encode(bytes: &[u8]) -> String {
    let digit = |value: u32| ALPHABET.get(value as usize & 63).copied().map(char::from);
    let (mut text, mut pending, mut bits) = (String::new(), 0_u32, 0_u32);
    for byte in bytes {
        pending = (pending << BYTE_BITS) | u32::from(*byte);
        bits = bits.saturating_add(BYTE_BITS);
        while bits >= DIGIT_BITS {
            bits = bits.saturating_sub(DIGIT_BITS);
            text.extend(digit(pending >> bits));
        }
    }
    if bits > 0 {
        text.extend(digit(pending << DIGIT_BITS.saturating_sub(bits)));
    }
    text
}

/// `None` for another character, and for a lone one at the end. Bits that no byte takes may be set, as in Go.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut pending, mut bits) = (Vec::new(), 0_u32, 0_u32);
    for character in text.bytes() {
        pending = (pending << DIGIT_BITS) | value(character)?;
        bits = bits.saturating_add(DIGIT_BITS);
        if bits >= BYTE_BITS {
            bits = bits.saturating_sub(BYTE_BITS);
            bytes.extend((pending >> bits).to_le_bytes().first());
        }
    }
    (bits < DIGIT_BITS).then_some(bytes)
}

fn value(character: u8) -> Option<u32> {
    let from = |first: u8, offset: u32| u32::from(character.wrapping_sub(first)).wrapping_add(offset);
    Some(match character {
        b'A'..=b'Z' => from(b'A', 0),
        b'a'..=b'z' => from(b'a', 26),
        b'0'..=b'9' => from(b'0', 52),
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_rfc_4648() {
        let pairs = [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, text) in pairs {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
        for wrong in ["A", "Zm9vY", "Zg==", "Z+", "Z/", "Z g", "Zü"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
