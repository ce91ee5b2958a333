//! What can be wrong with a key, a URL or a record.

use std::io;
use std::path::PathBuf;

/// A key that is none, or a key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hexadecimal digits.
    #[error("invalid private key: want 64 hex digits")]
    NotHex,
    /// Zero, or not below the curve's order.
    #[error("invalid private key: not a secp256k1 secret")]
    NotASecret,
    /// A key file that ends before its 64th digit.
    #[error("{}: key file too short, want 64 hex characters", path.display())]
    FileTooShort {
        /// The file.
        path: PathBuf,
    },
    /// A key file with more than a line's end behind its digits.
    #[error("{}: key file too long, want 64 hex characters", path.display())]
    FileTooLong {
        /// The file.
        path: PathBuf,
    },
    /// A key file whose 64 characters are not a key.
    #[error("{}: {error}", path.display())]
    FileContent {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        error: Box<KeyError>,
    },
    /// A key file that cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
}

/// An `enode://` URL that is refused, in geth's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnodeError {
    /// Text that is no URL at all.
    #[error("parse {url:?}: {reason}")]
    NotAUrl {
        /// The text.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another scheme than `enode`, or none.
    #[error("invalid URL scheme, want \"enode\"")]
    Scheme,
    /// No `KEY@` before the host.
    #[error("does not contain node ID")]
    NoNodeId,
    /// A public key that is none.
    #[error("invalid public key ({0})")]
    PublicKey(String),
    /// A host that is not an IP address, and that nobody resolved.
    #[error("invalid IP address")]
    IpAddress,
    /// A TCP port that is no number below 65,536.
    #[error("invalid port")]
    Port,
    /// A UDP port that is no number below 65,536.
    #[error("invalid discport in query")]
    Discport,
}

/// A node record that is refused (EIP-778), in geth's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More than [`crate::MAX_RECORD_SIZE`] bytes.
    #[error("record bigger than 300 bytes")]
    TooBig,
    /// A text without `enr:`.
    #[error("missing 'enr:' prefix for base64-encoded record")]
    MissingPrefix,
    /// A text with other characters than those of base64 in its URL alphabet, or too few of them.
    #[error("illegal base64 data in record")]
    NotBase64,
    /// Bytes behind the record's end.
    #[error("{0} bytes after the record")]
    Trailing(usize),
    /// A broken encoding.
    #[error("record is no RLP: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// A name without a value.
    #[error("record contains incomplete k/v pair")]
    IncompletePair,
    /// Names that do not ascend.
    #[error("record key/value pairs are not sorted by key")]
    NotSorted,
    /// A name that is there twice.
    #[error("record contains duplicate key")]
    DuplicateKey,
    /// Another identity scheme than `v4`, or none.
    #[error("record has no known identity scheme")]
    UnknownScheme,
    /// No public key, or one that is none.
    #[error("record has no valid secp256k1 key")]
    InvalidKey,
    /// A signature that the record's key did not make.
    #[error("invalid signature on node record")]
    InvalidSignature,
    /// An entry that signing sets, and that a builder was given.
    #[error("entry {0:?} is set by signing")]
    Reserved(&'static str),
}
