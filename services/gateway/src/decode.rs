//! Reads single JSON values as geth's argument types, failing with the words of Go's decoder: clients and their
//! test suites know these texts.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use serde::Deserialize;
use std::borrow::Cow;

/// What a text that is no hexadecimal fails with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HexError {
    /// Go wraps these with the type's name.
    Typed(&'static str),
    /// These come as they are.
    Plain(String),
}

impl HexError {
    fn of(self, go_type: &str) -> String {
        match self {
            Self::Typed(text) => cannot_unmarshal(text, go_type),
            Self::Plain(text) => text,
        }
    }

    fn plain(self) -> String {
        match self {
            Self::Typed(text) => text.to_owned(),
            Self::Plain(text) => text,
        }
    }
}

const MISSING_PREFIX: &str = "hex string without 0x prefix";
const ODD_LENGTH: &str = "hex string of odd length";
const SYNTAX: &str = "invalid hex string";
const EMPTY_NUMBER: &str = "hex string \"0x\"";
const LEADING_ZERO: &str = "hex number with leading zero digits";
const OVER_64: &str = "hex number > 64 bits";
const OVER_256: &str = "hex number > 256 bits";

/// Go's message for a value that does not fit a type.
pub(crate) fn cannot_unmarshal(what: &str, go_type: &str) -> String {
    format!("json: cannot unmarshal {what} into Go value of type {go_type}")
}

/// The kind of a JSON value, as Go calls it.
fn kind(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'"') => "string",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "bool",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// The text of a JSON string; `None` for any other value.
pub(crate) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// A Go `string`.
pub(crate) fn string(raw: &str) -> Result<String, String> {
    text(raw).map(Cow::into_owned).ok_or_else(|| cannot_unmarshal(kind(raw), "string"))
}

/// A Go `bool`.
pub(crate) fn boolean(raw: &str) -> Result<bool, String> {
    match raw {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(cannot_unmarshal(kind(raw), "bool")),
    }
}

/// `common.Address`.
pub(crate) fn address(raw: &str) -> Result<Address, String> {
    let mut address = Address::ZERO;
    fixed(raw, address.as_mut_slice(), "common.Address")?;
    Ok(address)
}

/// `common.Hash`.
pub(crate) fn hash(raw: &str) -> Result<B256, String> {
    let mut hash = B256::ZERO;
    fixed(raw, hash.as_mut_slice(), "common.Hash")?;
    Ok(hash)
}

fn fixed(raw: &str, into: &mut [u8], go_type: &str) -> Result<(), String> {
    let text = text(raw).ok_or_else(|| cannot_unmarshal("non-string", go_type))?;
    fixed_text(&text, into, go_type).map_err(|error| error.of(go_type))
}

fn fixed_text(text: &str, into: &mut [u8], go_type: &str) -> Result<(), HexError> {
    let digits = even_digits(text)?;
    if digits.len() != into.len() * 2 {
        let want = into.len() * 2;
        let text = format!("hex string has length {}, want {want} for {go_type}", digits.len());
        return Err(HexError::Plain(text));
    }
    hex::decode_to_slice(digits, into).map_err(|_| HexError::Typed(SYNTAX))
}

/// The digits of data: prefixed and of even number. An empty text is allowed.
fn even_digits(text: &str) -> Result<&str, HexError> {
    if text.is_empty() {
        return Ok(text);
    }
    let digits = without_prefix(text).ok_or(HexError::Typed(MISSING_PREFIX))?;
    if digits.len() % 2 != 0 {
        return Err(HexError::Typed(ODD_LENGTH));
    }
    Ok(digits)
}

fn without_prefix(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

/// `hexutil.Bytes`.
pub(crate) fn bytes(raw: &str) -> Result<Bytes, String> {
    let text = text(raw).ok_or_else(|| cannot_unmarshal("non-string", "hexutil.Bytes"))?;
    let digits = even_digits(&text).map_err(|error| error.of("hexutil.Bytes"))?;
    let bytes = hex::decode(digits).map_err(|_| cannot_unmarshal(SYNTAX, "hexutil.Bytes"))?;
    Ok(bytes.into())
}

/// `hexutil.Uint64`.
pub(crate) fn uint64(raw: &str) -> Result<u64, String> {
    let text = text(raw).ok_or_else(|| cannot_unmarshal("non-string", "hexutil.Uint64"))?;
    uint64_text(&text).map_err(|error| error.of("hexutil.Uint64"))
}

/// A Go `uint64`: a number.
pub(crate) fn number(raw: &str) -> Result<u64, String> {
    let what = || match kind(raw) {
        "number" => format!("number {raw}"),
        other => other.to_owned(),
    };
    raw.parse().map_err(|_| cannot_unmarshal(&what(), "uint64"))
}

/// `hexutil.Uint`, such as a transaction's index.
pub(crate) fn uint(raw: &str) -> Result<u64, String> {
    let text = text(raw).ok_or_else(|| cannot_unmarshal("non-string", "hexutil.Uint"))?;
    uint64_text(&text).map_err(|error| error.of("hexutil.Uint"))
}

/// `*hexutil.Big`.
pub(crate) fn big(raw: &str) -> Result<U256, String> {
    let text = text(raw).ok_or_else(|| cannot_unmarshal("non-string", "*hexutil.Big"))?;
    big_text(&text).map_err(|error| error.of("*hexutil.Big"))
}

fn number_digits(text: &str) -> Result<&str, HexError> {
    if text.is_empty() {
        return Ok("0");
    }
    let digits = without_prefix(text).ok_or(HexError::Typed(MISSING_PREFIX))?;
    match digits.as_bytes() {
        [] => Err(HexError::Typed(EMPTY_NUMBER)),
        [b'0', _, ..] => Err(HexError::Typed(LEADING_ZERO)),
        digits if !digits.iter().all(u8::is_ascii_hexdigit) => Err(HexError::Typed(SYNTAX)),
        _ => Ok(digits),
    }
}

fn uint64_text(text: &str) -> Result<u64, HexError> {
    u64::from_str_radix(number_digits(text)?, 16).map_err(|_| HexError::Typed(OVER_64))
}

fn big_text(text: &str) -> Result<U256, HexError> {
    U256::from_str_radix(number_digits(text)?, 16).map_err(|_| HexError::Typed(OVER_256))
}

/// `math.HexOrDecimal64`: a hexadecimal or decimal text, or a number.
pub(crate) fn hex_or_decimal(raw: &str) -> Result<u64, String> {
    let text = text(raw).unwrap_or(Cow::Borrowed(raw));
    let parsed = match without_prefix(&text) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None if text.is_empty() => Ok(0),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("invalid hex or decimal integer {text:?}"))
}

/// A storage slot's key: up to 32 bytes in hexadecimal, with or without prefix and leading zeros.
pub(crate) fn storage_key(text: &str) -> Result<B256, String> {
    let digits = without_prefix(text).unwrap_or(text);
    if digits.len() > 64 {
        return Err(format!("hex string too long, want at most 32 bytes: {text:?}"));
    }
    let padded = format!("{digits:0>64}");
    let mut key = B256::ZERO;
    hex::decode_to_slice(padded, key.as_mut_slice()).map_err(|_| format!("hex string invalid: {text:?}"))?;
    Ok(key)
}

/// A block by its place: `rpc.BlockNumber`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockTag {
    /// The head.
    Latest,
    /// The block that would be sealed now.
    Pending,
    /// Genesis.
    Earliest,
    /// The newest block that will not leave the chain, as far as anybody honest can tell.
    Safe,
    /// The newest block that can never leave the chain.
    Finalized,
    /// A height.
    Number(u64),
}

/// A block by its place or its hash (EIP-1898): `rpc.BlockNumberOrHash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockId {
    /// By place.
    Tag(BlockTag),
    /// By hash.
    Hash {
        /// The hash.
        hash: B256,
        /// Fail when the block is not canonical.
        require_canonical: bool,
    },
}

impl BlockTag {
    fn named(text: &str) -> Option<Self> {
        Some(match text {
            "latest" => Self::Latest,
            "pending" => Self::Pending,
            "earliest" => Self::Earliest,
            "safe" => Self::Safe,
            "finalized" => Self::Finalized,
            _ => return None,
        })
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if let Some(tag) = Self::named(text) {
            return Ok(tag);
        }
        if text.is_empty() {
            return Err("empty hex string".to_owned());
        }
        let number = uint64_text(text).map_err(HexError::plain)?;
        if i64::try_from(number).is_err() {
            return Err("block number larger than int64".to_owned());
        }
        Ok(Self::Number(number))
    }
}

/// `rpc.BlockNumber`.
pub(crate) fn block_tag(raw: &str) -> Result<BlockTag, String> {
    let text = text(raw).unwrap_or(Cow::Borrowed(raw));
    BlockTag::from_text(&text)
}

/// `rpc.BlockNumberOrHash`.
pub(crate) fn block_id(raw: &str) -> Result<BlockId, String> {
    if raw.starts_with('{') {
        return block_id_object(raw);
    }
    let text = text(raw).ok_or_else(|| cannot_unmarshal(kind(raw), "string"))?;
    if text.len() == 66 {
        let mut hash = B256::ZERO;
        fixed_text(&text, hash.as_mut_slice(), "common.Hash").map_err(HexError::plain)?;
        return Ok(BlockId::Hash { hash, require_canonical: false });
    }
    BlockTag::from_text(&text).map(BlockId::Tag)
}

/// A block by its place or its hash, or its RLP: clique's `blockNumberOrHashOrRLP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlockOrRlp {
    /// A block that the node holds.
    Id(BlockId),
    /// A block or a header.
    Rlp(Bytes),
}

/// What is no block's place or hash is RLP.
pub(crate) fn block_or_rlp(raw: &str) -> Result<BlockOrRlp, String> {
    if let Ok(id) = block_id(raw) {
        return Ok(BlockOrRlp::Id(id));
    }
    let text = string(raw)?;
    if text.is_empty() {
        return Err("empty hex string".to_owned());
    }
    let digits = even_digits(&text).map_err(HexError::plain)?;
    hex::decode(digits).map(|rlp| BlockOrRlp::Rlp(rlp.into())).map_err(|_| SYNTAX.to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockIdObject<'a> {
    #[serde(borrow)]
    block_number: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow)]
    block_hash: Option<&'a serde_json::value::RawValue>,
    #[serde(default)]
    require_canonical: bool,
}

fn block_id_object(raw: &str) -> Result<BlockId, String> {
    let object: BlockIdObject<'_> =
        serde_json::from_str(raw).map_err(|_| cannot_unmarshal("object", "string"))?;
    match (object.block_number, object.block_hash) {
        (Some(_), Some(_)) => {
            Err("cannot specify both BlockHash and BlockNumber, choose one or the other".to_owned())
        }
        (Some(number), None) => block_tag(number.get()).map(BlockId::Tag),
        (None, Some(text)) => {
            let require_canonical = object.require_canonical;
            Ok(BlockId::Hash { hash: hash(text.get())?, require_canonical })
        }
        (None, None) => Err("invalid arguments; neither block nor hash specified".to_owned()),
    }
}

/// A JSON array's elements, each decoded; `go_type` names the slice.
pub(crate) fn list<T>(
    raw: &str,
    go_type: &str,
    decode: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let elements: Vec<&serde_json::value::RawValue> =
        serde_json::from_str(raw).map_err(|_| cannot_unmarshal(kind(raw), go_type))?;
    elements.into_iter().map(|element| decode(element.get())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fail_in_geths_words() {
        let zeros = format!("\"0x{}\"", "0".repeat(40));
        assert_eq!(address(&zeros), Ok(Address::ZERO));
        let of = "into Go value of type common.Address";
        let cases = [
            ("1", format!("json: cannot unmarshal non-string {of}")),
            ("\"00\"", format!("json: cannot unmarshal hex string without 0x prefix {of}")),
            ("\"0x0\"", format!("json: cannot unmarshal hex string of odd length {of}")),
            ("\"0x00\"", "hex string has length 2, want 40 for common.Address".to_owned()),
            ("\"\"", "hex string has length 0, want 40 for common.Address".to_owned()),
            (&format!("\"0x{}\"", "z".repeat(40)), format!("json: cannot unmarshal invalid hex string {of}")),
        ];
        for (raw, expected) in cases {
            assert_eq!(address(raw), Err(expected), "{raw}");
        }
    }

    #[test]
    fn numbers_fail_in_geths_words() {
        assert_eq!(uint64("\"0xff\""), Ok(255));
        assert_eq!(big("\"0x100000000000000000\""), Ok(U256::from(1u128 << 68)));
        let of = "into Go value of type hexutil.Uint64";
        for (raw, text) in [
            ("\"0x\"", "hex string \"0x\""),
            ("\"0x01\"", "hex number with leading zero digits"),
            ("\"0x10000000000000000\"", "hex number > 64 bits"),
            ("\"0xg\"", "invalid hex string"),
            ("\"1\"", "hex string without 0x prefix"),
        ] {
            assert_eq!(uint64(raw), Err(format!("json: cannot unmarshal {text} {of}")), "{raw}");
        }
        assert_eq!(hex_or_decimal("10"), Ok(10));
        assert_eq!(hex_or_decimal("\"10\""), Ok(10));
        assert_eq!(hex_or_decimal("\"0x10\""), Ok(16));
        assert_eq!(hex_or_decimal("\"x\""), Err("invalid hex or decimal integer \"x\"".to_owned()));
    }

    #[test]
    fn blocks_are_tags_numbers_or_hashes() {
        assert_eq!(block_id("\"latest\""), Ok(BlockId::Tag(BlockTag::Latest)));
        assert_eq!(block_id("\"0x10\""), Ok(BlockId::Tag(BlockTag::Number(16))));
        let hash = B256::repeat_byte(1);
        let by_hash = |require_canonical| Ok(BlockId::Hash { hash, require_canonical });
        assert_eq!(block_id(&format!("\"{hash}\"")), by_hash(false));
        assert_eq!(block_id(&format!(r#"{{"blockHash":"{hash}","requireCanonical":true}}"#)), by_hash(true));
        assert_eq!(block_id(r#"{"blockNumber":"0x1"}"#), Ok(BlockId::Tag(BlockTag::Number(1))));
        assert!(block_id(&format!(r#"{{"blockHash":"{hash}","blockNumber":"0x1"}}"#)).is_err());
        assert_eq!(block_tag("\"0xffffffffffffffff\""), Err("block number larger than int64".to_owned()));
        assert_eq!(block_tag("\"\""), Err("empty hex string".to_owned()));
        assert_eq!(block_tag("5"), Err("hex string without 0x prefix".to_owned()));
    }

    #[test]
    fn what_names_no_block_is_rlp() {
        let hash = B256::repeat_byte(1);
        let by_hash = BlockId::Hash { hash, require_canonical: false };
        assert_eq!(block_or_rlp(&format!("\"{hash}\"")), Ok(BlockOrRlp::Id(by_hash)));
        assert_eq!(block_or_rlp("\"0x10\""), Ok(BlockOrRlp::Id(BlockId::Tag(BlockTag::Number(16)))));
        assert_eq!(block_or_rlp("\"0x00c0\""), Ok(BlockOrRlp::Rlp(Bytes::from_static(&[0, 0xc0]))));
        assert_eq!(block_or_rlp("\"\""), Err("empty hex string".to_owned()));
        assert_eq!(block_or_rlp("\"c0\""), Err("hex string without 0x prefix".to_owned()));
        assert_eq!(block_or_rlp("\"0x0c0\""), Err("hex string of odd length".to_owned()));
        assert_eq!(block_or_rlp("\"0xzz\""), Err("invalid hex string".to_owned()));
        assert_eq!(
            block_or_rlp("1"),
            Err("json: cannot unmarshal number into Go value of type string".to_owned())
        );
    }

    #[test]
    fn plain_numbers_fail_in_gos_words() {
        assert_eq!(number("65535"), Ok(65535));
        let of = "into Go value of type uint64";
        assert_eq!(number("-1"), Err(format!("json: cannot unmarshal number -1 {of}")));
        assert_eq!(number("\"0x1\""), Err(format!("json: cannot unmarshal string {of}")));
    }

    #[test]
    fn storage_keys_may_be_short() {
        assert_eq!(storage_key("0x0"), Ok(B256::ZERO));
        assert_eq!(storage_key("1"), Ok(B256::with_last_byte(1)));
        assert!(storage_key(&"0".repeat(65)).is_err());
        assert!(storage_key("0xzz").is_err());
    }
}
