//! The records of a DNS node list (EIP-1459), read and checked. geth's words for what is wrong.

use super::encoding::{base32, from_base32, from_base64};
use alloy_primitives::keccak256;
use quintet_enode::Record;
use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey, SECP256K1};
use std::fmt;
use std::str::FromStr;

const ROOT: &str = "enrtree-root:v1";
const LINK: &str = "enrtree://";
const BRANCH: &str = "enrtree-branch:";
const RECORD: &str = "enr:";
/// Bytes of the keccak hash that name a record.
const NAME: usize = 16;
/// Shortest and longest abbreviation of a hash that is a name.
const NAME_LIMITS: std::ops::RangeInclusive<usize> = 12..=32;
/// Bytes of a signature, with the recovery id that nobody needs.
const SIGNATURE: usize = 65;

/// What is wrong with a list, a record of it, or what DNS said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A URL of another kind.
    #[error("wrong/missing scheme 'enrtree' in URL")]
    Scheme,
    /// A URL without a key.
    #[error("missing public key")]
    NoKey,
    /// A key that is none.
    #[error("invalid public key")]
    BadKey,
    /// A record of a kind that the EIP does not have.
    #[error("unknown entry type")]
    UnknownEntry,
    /// A root that is not written as the EIP says.
    #[error("syntax error")]
    Syntax,
    /// A root's signature in a broken encoding.
    #[error("invalid base64 signature")]
    BadSignature,
    /// A root that the list's key did not sign.
    #[error("invalid signature")]
    WrongSignature,
    /// A name in a branch that is no hash.
    #[error("invalid child hash")]
    BadChild,
    /// A node record that is none.
    #[error("invalid node record")]
    BadRecord,
    /// No TXT record of the name is a root.
    #[error("no valid root found")]
    NoRoot,
    /// No TXT record of the name is an entry.
    #[error("no valid tree entry found")]
    NoEntry,
    /// An entry under the name of another.
    #[error("hash mismatch")]
    Mismatch,
    /// A node record among the links.
    #[error("enr entry in link tree")]
    RecordAmongLinks,
    /// A link among the node records.
    #[error("link entry in ENR tree")]
    LinkAmongRecords,
    /// A root that is older than one seen before.
    #[error("root with sequence number {found} after {held}")]
    Older {
        /// Its number.
        found: u64,
        /// The number seen before.
        held: u64,
    },
    /// DNS did not answer.
    #[error("{0}")]
    Dns(String),
}

/// A list: where it is, and who signs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// Its DNS name.
    pub domain: String,
    key: PublicKey,
}

impl FromStr for Link {
    type Err = TreeError;

    /// Reads `enrtree://KEY@DOMAIN`.
    fn from_str(text: &str) -> Result<Self, TreeError> {
        let rest = text.strip_prefix(LINK).ok_or(TreeError::Scheme)?;
        let (key, domain) = rest.split_once('@').ok_or(TreeError::NoKey)?;
        let key = from_base32(key).ok_or(TreeError::BadKey)?;
        let key = PublicKey::from_slice(&key).map_err(|_| TreeError::BadKey)?;
        Ok(Self { domain: domain.to_owned(), key })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LINK}{}@{}", base32(&self.key.serialize()), self.domain)
    }
}

/// The name of an entry below its list's: its abbreviated hash.
pub type Name = String;

/// The root of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The root of the node records.
    pub records: Name,
    /// The root of the links.
    pub links: Name,
    /// The number of this version.
    pub sequence: u64,
}

impl Root {
    /// The root in the TXT records of a list's name.
    ///
    /// # Errors
    /// When there is none, it is not as the EIP says, or another key signed it.
    pub fn find(texts: &[String], link: &Link) -> Result<Self, TreeError> {
        let text = texts.iter().find(|text| text.starts_with(ROOT)).ok_or(TreeError::NoRoot)?;
        Self::parse(text, link)
    }

    fn parse(text: &str, link: &Link) -> Result<Self, TreeError> {
        let (signed, signature) = text.rsplit_once(" sig=").ok_or(TreeError::Syntax)?;
        let mut fields = signed.split(' ');
        let mut field = |prefix: &str| {
            fields.next().and_then(|field| field.strip_prefix(prefix)).ok_or(TreeError::Syntax)
        };
        if !field(ROOT)?.is_empty() {
            return Err(TreeError::Syntax);
        }
        let root = Self {
            records: field("e=")?.to_owned(),
            links: field("l=")?.to_owned(),
            sequence: field("seq=")?.parse().map_err(|_| TreeError::Syntax)?,
        };
        if fields.next().is_some() {
            return Err(TreeError::Syntax);
        }
        if !is_name(&root.records) || !is_name(&root.links) {
            return Err(TreeError::BadChild);
        }
        let signature = from_base64(signature).filter(|bytes| bytes.len() == SIGNATURE);
        let signature = signature.ok_or(TreeError::BadSignature)?;
        let signature = signature.get(..64).and_then(|bytes| Signature::from_compact(bytes).ok());
        let signature = signature.ok_or(TreeError::WrongSignature)?;
        let digest = Message::from_digest(keccak256(signed).0);
        let verified = SECP256K1.verify_ecdsa(digest, &signature, &link.key);
        verified.map(|()| root).map_err(|_| TreeError::WrongSignature)
    }
}

/// An entry below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Names of further entries.
    Branch(Vec<Name>),
    /// Another list.
    Link(Link),
    /// A node.
    Record(Box<Record>),
}

impl Entry {
    /// The entry of this name in its TXT records.
    ///
    /// # Errors
    /// When there is none, it has another hash, or it is not as the EIP says.
    pub fn find(texts: &[String], name: &str) -> Result<Self, TreeError> {
        let mut last = TreeError::NoEntry;
        for text in texts {
            match Self::parse(text) {
                Err(TreeError::UnknownEntry) => {}
                parsed if is_hash_of(name, text) => return parsed,
                _ => last = TreeError::Mismatch,
            }
        }
        Err(last)
    }

    fn parse(text: &str) -> Result<Self, TreeError> {
        if text.starts_with(LINK) {
            return Ok(Self::Link(text.parse()?));
        }
        if let Some(names) = text.strip_prefix(BRANCH) {
            let names: Vec<_> = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            let valid = names.iter().all(|name| is_name(name));
            return if valid { Ok(Self::Branch(names)) } else { Err(TreeError::BadChild) };
        }
        if text.starts_with(RECORD) {
            let record = text.parse().map_err(|_| TreeError::BadRecord)?;
            return Ok(Self::Record(Box::new(record)));
        }
        Err(TreeError::UnknownEntry)
    }
}

/// The name of an entry's text.
pub fn name_of(text: &str) -> Name {
    base32(keccak256(text).get(..NAME).unwrap_or_default())
}

/// Whether a name is the abbreviated hash of a text.
fn is_hash_of(name: &str, text: &str) -> bool {
    from_base32(name)
        .is_some_and(|hash| keccak256(text).starts_with(&hash) && NAME_LIMITS.contains(&hash.len()))
}

fn is_name(text: &str) -> bool {
    from_base32(text).is_some_and(|hash| NAME_LIMITS.contains(&hash.len()))
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
