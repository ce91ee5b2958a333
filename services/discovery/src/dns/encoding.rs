//! Base32 and URL-safe base64 without padding (RFC 4648), as DNS node lists have them.

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Encodes to base32.
pub(super) fn base32(bytes: &[u8]) -> String {
    encode(bytes, BASE32, 5)
}

/// Decodes base32; `None` for other characters, and where bits behind the last byte are set.
pub(super) fn from_base32(text: &str) -> Option<Vec<u8>> {
    decode(text, BASE32, 5)
}

/// Encodes to URL-safe base64.
#[cfg(test)]
pub(super) fn base64(bytes: &[u8]) -> String {
    encode(bytes, BASE64, 6)
}

/// Decodes URL-safe base64; `None` as for base32.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    decode(text, BASE64, 6)
}

/// Each character stands for `width` bits, the first for the highest.
fn encode(bytes: &[u8], alphabet: &[u8], width: u32) -> String {
    let mask = (1_u32 << width) - 1;
    let digit = |value: u32| char::from(alphabet.get((value & mask) as usize).copied().unwrap_or(b'='));
    let mut text = String::new();
    // At most `width` - 1 bits wait for the next byte.
    let (mut waiting, mut count) = (0_u32, 0);
    for byte in bytes {
        waiting = (waiting << 8) | u32::from(*byte);
        count += 8;
        while count >= width {
            count -= width;
            text.push(digit(waiting >> count));
        }
        waiting &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(digit(waiting << (width - count)));
    }
    text
}

fn decode(text: &str, alphabet: &[u8], width: u32) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut waiting, mut count) = (0_u32, 0);
    for character in text.bytes() {
        let digit = alphabet.iter().position(|known| *known == character)?;
        waiting = (waiting << width) | u32::try_from(digit).ok()?;
        count += width;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(waiting >> count).ok()?);
            waiting &= (1 << count) - 1;
        }
    }
    // A whole character that says nothing is as wrong as bits that are set.
    (count < width && waiting == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{base32, base64, from_base32, from_base64};

    /// The vectors of RFC 4648, section 10, without padding.
    #[test]
    fn the_vectors_of_the_rfc() {
        let cases = [
            ("", "", ""),
            ("f", "MY", "Zg"),
            ("fo", "MZXQ", "Zm8"),
            ("foo", "MZXW6", "Zm9v"),
            ("foob", "MZXW6YQ", "Zm9vYg"),
            ("fooba", "MZXW6YTB", "Zm9vYmE"),
            ("foobar", "MZXW6YTBOI", "Zm9vYmFy"),
        ];
        for (text, in_32, in_64) in cases {
            assert_eq!((base32(text.as_bytes()).as_str(), base64(text.as_bytes()).as_str()), (in_32, in_64));
            assert_eq!(from_base32(in_32).as_deref(), Some(text.as_bytes()));
            assert_eq!(from_base64(in_64).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(from_base64("_-8"), Some(vec![0xff, 0xef]));
    }

    #[test]
    fn what_is_no_encoding_is_refused() {
        for text in ["M", "MZ======", "my", "M1", "MZX", "MZ "] {
            assert_eq!(from_base32(text), None, "{text:?}");
        }
        for text in ["Z", "Zh", "Zg==", "Z+8", "Zm8\n"] {
            assert_eq!(from_base64(text), None, "{text:?}");
        }
    }
}
