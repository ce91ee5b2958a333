//! Datagrams: `hash ‖ signature ‖ packet's number ‖ body`.
//!
//! Reading one has two steps, so that the second, which costs as much as all the rest together, can be left out for
//! packets that nobody wants, and can run on any thread: [`decode`] checks the hash and reads the body, and
//! [`Unverified::recover`] finds out who signed it. Both are pure. No step allocates more than the datagram's size.

use crate::{Packet, PacketError};
use alloy_primitives::{B256, keccak256};
use quintet_enode::{NodeKey, PublicKey, from_secp, node_id};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SECP256K1};

/// The most bytes that a datagram may have.
pub const MAX_PACKET_SIZE: usize = 1280;
/// The most nodes in one [`crate::Neighbours`], so that it fits whatever their addresses; as geth has it.
pub const MAX_NEIGHBOURS: usize = 12;
const HASH_SIZE: usize = 32;
const SIGNATURE_SIZE: usize = 65;

/// Signs a digest: `r ‖ s ‖ recovery id`.
pub type SignFn = fn(&NodeKey, &B256) -> [u8; SIGNATURE_SIZE];
/// Finds the key that signed a digest.
pub type RecoverFn = fn(&B256, &[u8; SIGNATURE_SIZE]) -> Option<PublicKey>;

/// The two operations on the curve. Everyone uses [`Scheme::SECP256K1`]; simulations of whole networks may leave the
/// curve out.
#[derive(Clone, Copy, Debug)]
pub struct Scheme {
    /// Signs.
    pub sign: SignFn,
    /// Recovers the signer.
    pub recover: RecoverFn,
}

impl Scheme {
    /// What the protocol prescribes.
    pub const SECP256K1: Self = Self { sign, recover };
}

fn sign(key: &NodeKey, digest: &B256) -> [u8; SIGNATURE_SIZE] {
    let signature = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(digest.0), key.secret());
    let (id, compact) = signature.serialize_compact();
    let mut bytes = [0; SIGNATURE_SIZE];
    if let Some((last, head)) = bytes.split_last_mut() {
        head.copy_from_slice(&compact);
        *last = u8::try_from(i32::from(id)).unwrap_or_default();
    }
    bytes
}

fn recover(digest: &B256, signature: &[u8; SIGNATURE_SIZE]) -> Option<PublicKey> {
    let (id, compact) = signature.split_last()?;
    let id = RecoveryId::try_from(i32::from(*id)).ok()?;
    let signature = RecoverableSignature::from_compact(compact, id).ok()?;
    let key = SECP256K1.recover_ecdsa(Message::from_digest(digest.0), &signature).ok()?;
    Some(from_secp(&key))
}

/// A packet whose hash is right and whose signer is not known yet.
#[derive(Clone, Debug)]
pub struct Unverified {
    packet: Packet,
    hash: B256,
    digest: B256,
    signature: [u8; SIGNATURE_SIZE],
    screened: bool,
}

impl Unverified {
    /// What it says.
    pub const fn packet(&self) -> &Packet {
        &self.packet
    }

    /// The datagram's hash.
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// Marks it as admitted by [`crate::Discv4::screen`].
    pub(crate) const fn screened(mut self) -> Self {
        self.screened = true;
        self
    }

    /// Finds the signer, which takes some 30 µs.
    ///
    /// # Errors
    /// [`PacketError::BadSignature`].
    pub fn recover(self) -> Result<Verified, PacketError> {
        self.recover_with(Scheme::SECP256K1)
    }

    /// As [`Self::recover`], with another scheme.
    ///
    /// # Errors
    /// [`PacketError::BadSignature`].
    pub fn recover_with(self, scheme: Scheme) -> Result<Verified, PacketError> {
        let Self { packet, hash, digest, signature, screened } = self;
        let sender = (scheme.recover)(&digest, &signature).ok_or(PacketError::BadSignature)?;
        Ok(Verified { packet, hash, node_id: node_id(&sender), sender, screened })
    }
}

/// A packet with its signer.
#[derive(Clone, Debug)]
pub struct Verified {
    packet: Packet,
    hash: B256,
    sender: PublicKey,
    node_id: B256,
    screened: bool,
}

impl Verified {
    /// A packet whose signer is known by other means than a signature: for simulations, where packets do not travel
    /// as datagrams. `hash` must be another one for each packet.
    pub fn trusted(packet: Packet, sender: PublicKey, hash: B256) -> Self {
        Self { packet, hash, node_id: node_id(&sender), sender, screened: false }
    }

    /// What it says.
    pub const fn packet(&self) -> &Packet {
        &self.packet
    }

    /// The datagram's hash.
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// Who signed it.
    pub const fn sender(&self) -> PublicKey {
        self.sender
    }

    /// The signer's node id.
    pub const fn node_id(&self) -> B256 {
        self.node_id
    }

    pub(crate) const fn is_screened(&self) -> bool {
        self.screened
    }

    pub(crate) fn into_packet(self) -> Packet {
        self.packet
    }
}

/// Reads a datagram up to its signature, which is not checked. Takes any bytes.
///
/// # Errors
/// All of [`PacketError`] but [`PacketError::BadSignature`].
pub fn decode(datagram: &[u8]) -> Result<Unverified, PacketError> {
    if datagram.len() > MAX_PACKET_SIZE {
        return Err(PacketError::TooBig(datagram.len()));
    }
    let (hash, signed) = datagram.split_first_chunk::<HASH_SIZE>().ok_or(PacketError::TooSmall)?;
    let (signature, content) = signed.split_first_chunk().ok_or(PacketError::TooSmall)?;
    let (kind, body) = content.split_first().ok_or(PacketError::TooSmall)?;
    let hash = B256::from(hash);
    if keccak256(signed) != hash {
        return Err(PacketError::BadHash);
    }
    let packet = Packet::decode_body(*kind, body)?;
    Ok(Unverified { packet, hash, digest: keccak256(content), signature: *signature, screened: false })
}

/// Reads a datagram and finds its signer: [`decode`] and [`Unverified::recover`]. Takes any bytes, and may run on any
/// thread.
///
/// # Errors
/// All of [`PacketError`].
pub fn verify(datagram: &[u8]) -> Result<Verified, PacketError> {
    decode(datagram)?.recover()
}

/// Who signs datagrams, and how. Cheap to clone, for threads that sign.
#[derive(Clone, Debug)]
pub struct Signer {
    key: NodeKey,
    scheme: Scheme,
}

impl Signer {
    /// With a node's key.
    pub const fn new(key: NodeKey, scheme: Scheme) -> Self {
        Self { key, scheme }
    }

    /// The node's key.
    pub const fn key(&self) -> &NodeKey {
        &self.key
    }

    /// How it signs.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// A packet as a datagram.
    pub fn seal(&self, packet: &Packet) -> Vec<u8> {
        let mut content = vec![packet.kind()];
        content.extend_from_slice(&packet.encode_body());
        self.seal_content(&content)
    }

    fn seal_content(&self, content: &[u8]) -> Vec<u8> {
        let signature = (self.scheme.sign)(&self.key, &keccak256(content));
        let mut datagram = vec![0; HASH_SIZE];
        datagram.extend_from_slice(&signature);
        datagram.extend_from_slice(content);
        if let Some((hash, signed)) = datagram.split_first_chunk_mut::<HASH_SIZE>() {
            *hash = keccak256(signed).0;
        }
        datagram
    }
}

/// The hash at a datagram's start.
pub(crate) fn hash_of(datagram: &[u8]) -> B256 {
    datagram.first_chunk::<HASH_SIZE>().map(B256::from).unwrap_or_default()
}

/// A datagram to be sent. Answers are signed when [`Outgoing::seal`] is called, by whichever thread sends them;
/// requests are signed already, because the engine waits for their hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Ready.
    Sealed {
        /// The name of the packet, see [`Packet::name`].
        name: &'static str,
        /// The datagram.
        datagram: Vec<u8>,
    },
    /// To be signed.
    Draft(Packet),
}

impl Outgoing {
    /// The datagram, signed if it was not; at most [`MAX_PACKET_SIZE`] bytes.
    pub fn seal(self, signer: &Signer) -> Vec<u8> {
        match self {
            Self::Sealed { datagram, .. } => datagram,
            Self::Draft(packet) => signer.seal(&packet),
        }
    }

    /// The name of the packet, as a metrics label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sealed { name, .. } => name,
            Self::Draft(packet) => packet.name(),
        }
    }
}
