//! The side that dials.

use std::fmt;

use alloy_primitives::{B256, FixedBytes};
use bytes::BytesMut;
use secp256k1::{Message, PublicKey as Point, SECP256K1, SecretKey};

use super::packet::{PacketReader, seal};
use super::secrets::Exchange;
use super::{Ack, Auth, Entropy, Secrets};
use crate::{Error, PublicKey, ecies};

/// A handshake that we began: send [`auth`](Self::auth), then give what comes back to
/// [`read_ack`](Self::read_ack) until it answers.
pub struct Initiator {
    key: SecretKey,
    remote: PublicKey,
    entropy: Entropy,
    auth: Vec<u8>,
    reader: PacketReader,
}

impl Initiator {
    /// Begins a handshake of the node with this key with the node with that identity.
    ///
    /// # Errors
    /// [`Error::BadPublicKey`] when `remote` is no point of the curve.
    pub fn new(key: &SecretKey, remote: &PublicKey) -> Result<Self, Error> {
        Self::with_entropy(key, remote, Entropy::random())
    }

    /// As [`new`](Self::new), with nothing left to chance.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_entropy(key: &SecretKey, remote: &PublicKey, entropy: Entropy) -> Result<Self, Error> {
        let point = ecies::public_key(remote, "node dialled")?;
        let token = B256::from(ecies::agree(key, &point)) ^ entropy.nonce;
        let auth = Auth {
            signature: sign(token, &entropy.ephemeral),
            public_key: ecies::public_bytes(&Point::from_secret_key_global(key)),
            nonce: entropy.nonce,
            ephemeral_hash: None,
        };
        let auth = seal(&point, auth.encode(), &entropy);
        Ok(Self { key: *key, remote: *remote, entropy, auth, reader: PacketReader::new(Ack::OLD_SIZE) })
    }

    /// The packet to send, whole.
    pub fn auth(&self) -> &[u8] {
        &self.auth
    }

    /// Takes the answer from the front of `src`, and leaves there what follows it. `None` means that more
    /// bytes are needed; that many are never more than [`MAX_HANDSHAKE`](super::MAX_HANDSHAKE) + 2.
    ///
    /// # Errors
    /// When it is no `ack` for us; the connection is of no use then.
    pub fn read_ack(&mut self, src: &mut BytesMut) -> Result<Option<Secrets>, Error> {
        let Some(packet) = self.reader.read(&self.key, src)? else { return Ok(None) };
        let ack = if packet.old { Ack::decode_old(&packet.body) } else { Ack::decode(&packet.body) }?;
        let ephemeral = ecies::public_key(&ack.ephemeral, "ack")?;
        let exchange = Exchange {
            ephemeral_shared: ecies::agree(&self.entropy.ephemeral, &ephemeral),
            initiator_nonce: self.entropy.nonce,
            recipient_nonce: ack.nonce,
            auth: &self.auth,
            ack: &packet.bytes,
        };
        Ok(Some(Secrets::of_initiator(self.remote, &exchange)))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator").field("remote", &self.remote).finish_non_exhaustive()
    }
}

fn sign(token: B256, ephemeral: &SecretKey) -> FixedBytes<65> {
    let signature = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(token.0), ephemeral);
    let (id, compact) = signature.serialize_compact();
    let mut bytes = FixedBytes::<65>::ZERO;
    let (rs, v) = bytes.0.split_at_mut(compact.len());
    rs.copy_from_slice(&compact);
    v.fill(u8::try_from(i32::from(id)).unwrap_or_default());
    bytes
}
