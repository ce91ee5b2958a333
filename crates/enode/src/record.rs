//! Node records (EIP-778): what a node says of itself, signed, with a number that grows with each change.
//!
//! A codec of our own rather than the `enr` crate's: its key trait returns an error type that it does not export, so
//! that no key of libsecp256k1 can sign with it, and its k256 keys sign the same content differently each time.

use crate::base64url;
use crate::{Enode, ForkId, NodeKey, PublicKey, RecordError, from_secp, node_id};
use alloy_eip2124::EnrForkIdEntry;
use alloy_primitives::{B256, keccak256};
use alloy_rlp::{Decodable, Encodable as _, Header};
use secp256k1::{Message, SECP256K1, ecdsa::Signature};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The most bytes that a record may have.
pub const MAX_RECORD_SIZE: usize = 300;
/// The entry that holds the compressed public key.
const KEY_ENTRY: &str = "secp256k1";
/// The entry that names the identity scheme.
const SCHEME_ENTRY: &str = "id";
/// The only identity scheme.
const SCHEME: &[u8] = b"v4";
/// The entry that holds the fork id (EIP-2124).
const FORK_ENTRY: &str = "eth";
const PREFIX: &str = "enr:";

/// Values in RLP by name, in the order of the names.
type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A record whose signature was checked, or made.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Record {
    rlp: Vec<u8>,
    seq: u64,
    public_key: PublicKey,
    entries: Entries,
}

impl Record {
    /// Decodes RLP and checks the signature.
    ///
    /// # Errors
    /// For all that EIP-778 forbids, and for bytes behind the record.
    pub fn decode(rlp: &[u8]) -> Result<Self, RecordError> {
        if rlp.len() > MAX_RECORD_SIZE {
            return Err(RecordError::TooBig);
        }
        let mut rest = rlp;
        let mut list = Header::decode_bytes(&mut rest, true)?;
        if !rest.is_empty() {
            return Err(RecordError::Trailing(rest.len()));
        }
        let signature = Header::decode_bytes(&mut list, false)?;
        let content = list;
        let seq = u64::decode(&mut list)?;
        let entries = decode_entries(list)?;
        let public_key = verify(&entries, content, signature)?;
        Ok(Self { rlp: rlp.to_vec(), seq, public_key, entries })
    }

    /// The RLP, at most [`MAX_RECORD_SIZE`] bytes.
    pub fn encode(&self) -> &[u8] {
        &self.rlp
    }

    /// The number of this version; a higher one replaces a lower one.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The key that signed it.
    pub const fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// The node id of the key that signed it.
    pub fn node_id(&self) -> B256 {
        node_id(&self.public_key)
    }

    /// An entry's value as RLP.
    pub fn entry(&self, name: &str) -> Option<&[u8]> {
        self.entries.get(name.as_bytes()).map(Vec::as_slice)
    }

    /// All entries in their order, as name and RLP.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// The fork id of the `eth` entry; what later versions may append to it is ignored.
    pub fn fork_id(&self) -> Option<ForkId> {
        let entry: EnrForkIdEntry = self.value(FORK_ENTRY)?;
        Some(entry.fork_id)
    }

    /// `ip`.
    pub fn ip4(&self) -> Option<Ipv4Addr> {
        self.value("ip")
    }

    /// `ip6`.
    pub fn ip6(&self) -> Option<Ipv6Addr> {
        self.value("ip6")
    }

    /// `tcp`.
    pub fn tcp(&self) -> Option<u16> {
        self.value("tcp")
    }

    /// `udp`.
    pub fn udp(&self) -> Option<u16> {
        self.value("udp")
    }

    /// The node's address, with zero for a port that it does not give; `None` when it gives no address. Of two
    /// addresses it is the more global one, and of two as good ones the older kind, as geth chooses.
    pub fn to_enode(&self) -> Option<Enode> {
        let ip = match self.addresses() {
            (Some(four), Some(six)) if reach(six) > reach(four) => six,
            (four, six) => four.or(six)?,
        };
        Some(self.enode_at(ip))
    }

    /// As [`Self::to_enode`], but its address of the same kind as `met`, where it gives one: whoever met the node there
    /// may have no way to the other.
    pub fn to_enode_near(&self, met: IpAddr) -> Option<Enode> {
        let (four, six) = self.addresses();
        let same = if met.to_canonical().is_ipv4() { four } else { six };
        same.map_or_else(|| self.to_enode(), |ip| Some(self.enode_at(ip)))
    }

    fn addresses(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        let unicast = |ip: &IpAddr| !ip.is_multicast();
        (self.ip4().map(IpAddr::V4).filter(unicast), self.ip6().map(IpAddr::V6).filter(unicast))
    }

    fn enode_at(&self, ip: IpAddr) -> Enode {
        let ip = ip.to_canonical();
        let own = |name| self.value(name).filter(|_| ip.is_ipv6());
        let tcp = own("tcp6").or_else(|| self.tcp()).unwrap_or_default();
        let udp = own("udp6").or_else(|| self.udp()).unwrap_or_default();
        Enode { public_key: self.public_key, ip, tcp, udp }
    }

    /// The next version of this record, to be changed and signed by its owner.
    pub fn next(&self) -> RecordBuilder {
        let mut builder = RecordBuilder::new(self.seq().saturating_add(1));
        let own = [KEY_ENTRY.as_bytes(), SCHEME_ENTRY.as_bytes()];
        for (name, value) in self.entries().filter(|(name, _)| !own.contains(name)) {
            builder.entries.insert(name.to_vec(), value.to_vec());
        }
        builder
    }

    fn value<T: Decodable>(&self, name: &str) -> Option<T> {
        T::decode(&mut self.entry(name)?).ok()
    }
}

/// How far an address is known: everywhere, in a private network, on a link, or on the machine itself.
fn reach(ip: IpAddr) -> u8 {
    let (link, private) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.is_private()),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.is_unique_local()),
    };
    match () {
        () if ip.is_unspecified() => 0,
        () if ip.is_loopback() => 1,
        () if link => 2,
        () if private => 3,
        () => 4,
    }
}

fn decode_entries(mut rlp: &[u8]) -> Result<Entries, RecordError> {
    let mut entries = Entries::new();
    while !rlp.is_empty() {
        let name = Header::decode_bytes(&mut rlp, false)?;
        match entries.last_key_value() {
            Some((last, _)) if last == name => return Err(RecordError::DuplicateKey),
            Some((last, _)) if last.as_slice() > name => return Err(RecordError::NotSorted),
            _ => {}
        }
        let value = take_item(&mut rlp)?;
        entries.insert(name.to_vec(), value.to_vec());
    }
    Ok(entries)
}

/// One item of any kind with its header.
fn take_item<'a>(rlp: &mut &'a [u8]) -> Result<&'a [u8], RecordError> {
    if rlp.is_empty() {
        return Err(RecordError::IncompletePair);
    }
    let mut payload = *rlp;
    let header = Header::decode(&mut payload)?;
    let size = rlp.len().saturating_sub(payload.len()).saturating_add(header.payload_length);
    let (item, rest) = rlp.split_at_checked(size).ok_or(alloy_rlp::Error::InputTooShort)?;
    *rlp = rest;
    Ok(item)
}

/// Checks the `v4` signature over the content, which is the record's list without the signature.
fn verify(entries: &Entries, content: &[u8], signature: &[u8]) -> Result<PublicKey, RecordError> {
    let bytes = |name: &str| Header::decode_bytes(&mut entries.get(name.as_bytes())?.as_slice(), false).ok();
    if bytes(SCHEME_ENTRY) != Some(SCHEME) {
        return Err(RecordError::UnknownScheme);
    }
    let key = bytes(KEY_ENTRY).and_then(|key| key.try_into().ok());
    let key = key.and_then(|key| secp256k1::PublicKey::from_byte_array_compressed(key).ok());
    let key = key.ok_or(RecordError::InvalidKey)?;
    let signature = Signature::from_compact(signature).map_err(|_| RecordError::InvalidSignature)?;
    let verified = SECP256K1.verify_ecdsa(digest(content), &signature, &key);
    verified.map(|()| from_secp(&key)).map_err(|_| RecordError::InvalidSignature)
}

/// What is signed: the hash of the content as a list of its own.
fn digest(content: &[u8]) -> Message {
    Message::from_digest(keccak256(list(content)).0)
}

fn list(payload: &[u8]) -> Vec<u8> {
    let mut rlp = Vec::new();
    Header { list: true, payload_length: payload.len() }.encode(&mut rlp);
    rlp.extend_from_slice(payload);
    rlp
}

impl FromStr for Record {
    type Err = RecordError;

    /// Reads `enr:` and base64 in the URL alphabet, without padding.
    fn from_str(text: &str) -> Result<Self, RecordError> {
        let rest = text.strip_prefix(PREFIX).ok_or(RecordError::MissingPrefix)?;
        let rlp = base64url::decode(rest).ok_or(RecordError::NotBase64)?;
        Self::decode(&rlp)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", base64url::encode(&self.rlp))
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({self})")
    }
}

/// A record in the making: entries by name, and the number that it will have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBuilder {
    seq: u64,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl RecordBuilder {
    /// Without entries.
    pub const fn new(seq: u64) -> Self {
        Self { seq, entries: BTreeMap::new() }
    }

    /// Sets the number.
    #[must_use]
    pub const fn seq(mut self, seq: u64) -> Self {
        self.seq = seq;
        self
    }

    /// Sets `ip` or `ip6`.
    #[must_use]
    pub fn ip(self, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => self.entry("ip", alloy_rlp::encode(ip)),
            IpAddr::V6(ip) => self.entry("ip6", alloy_rlp::encode(ip)),
        }
    }

    /// Sets `tcp`, the RLPx port at both kinds of address.
    #[must_use]
    pub fn tcp(self, port: u16) -> Self {
        self.entry("tcp", alloy_rlp::encode(port))
    }

    /// Sets `udp`, the discovery port at both kinds of address.
    #[must_use]
    pub fn udp(self, port: u16) -> Self {
        self.entry("udp", alloy_rlp::encode(port))
    }

    /// Sets `eth`: the chain that the node is on, and its next fork (EIP-2124).
    #[must_use]
    pub fn fork_id(self, fork_id: ForkId) -> Self {
        let mut value = Vec::new();
        EnrForkIdEntry::from(fork_id).encode(&mut value);
        self.entry(FORK_ENTRY, value)
    }

    /// Sets any entry to a value in RLP.
    #[must_use]
    pub fn entry(mut self, name: &str, rlp: Vec<u8>) -> Self {
        self.entries.insert(name.as_bytes().to_vec(), rlp);
        self
    }

    /// Takes an entry out.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        self.entries.remove(name.as_bytes());
        self
    }

    /// Signs what is there, with the key's own entries.
    ///
    /// # Errors
    /// When the result would be too big, a value is no RLP, or an entry is set that signing sets.
    pub fn sign(&self, key: &NodeKey) -> Result<Record, RecordError> {
        let mut content = alloy_rlp::encode(self.seq);
        for (name, value) in self.entries_with(key)? {
            name.as_slice().encode(&mut content);
            content.extend_from_slice(&value);
        }
        let signature = SECP256K1.sign_ecdsa(digest(&content), key.secret());
        let mut signed = alloy_rlp::encode(signature.serialize_compact());
        signed.extend_from_slice(&content);
        // Values that are no RLP, or more than one, make a record that nobody could read: it is read here first.
        Record::decode(&list(&signed))
    }

    fn entries_with(&self, key: &NodeKey) -> Result<Entries, RecordError> {
        let mut entries = self.entries.clone();
        let compressed = key.secret().public_key(SECP256K1).serialize();
        let own = [(SCHEME_ENTRY, alloy_rlp::encode(SCHEME)), (KEY_ENTRY, alloy_rlp::encode(compressed))];
        for (name, value) in own {
            if entries.insert(name.as_bytes().to_vec(), value).is_some() {
                return Err(RecordError::Reserved(name));
            }
        }
        Ok(entries)
    }
}
