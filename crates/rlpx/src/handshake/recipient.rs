//! The side that was dialled.

use std::fmt;

use alloy_primitives::{B256, FixedBytes, keccak256};
use bytes::BytesMut;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey as Point, SecretKey};

use super::packet::{Packet, PacketReader, seal, seal_old};
use super::secrets::Exchange;
use super::{Ack, Auth, Entropy, Secrets};
use crate::{Error, ecies};

/// A handshake that a peer begins: give what comes to [`read_auth`](Self::read_auth) until it answers, then send
/// the answer.
pub struct Recipient {
    key: SecretKey,
    entropy: Option<Entropy>,
    reader: PacketReader,
}

/// A handshake that is done on our side once `ack` is sent.
#[derive(Debug)]
pub struct Accepted {
    /// The packet to send, whole.
    pub ack: Vec<u8>,
    /// The session's keys.
    pub secrets: Secrets,
}

impl Recipient {
    /// Waits for a handshake with the node of this key. Nothing is drawn or computed before a packet is there.
    pub fn new(key: &SecretKey) -> Self {
        Self { key: *key, entropy: None, reader: PacketReader::new(Auth::OLD_SIZE) }
    }

    /// As [`new`](Self::new), with nothing left to chance.
    pub fn with_entropy(key: &SecretKey, entropy: Entropy) -> Self {
        Self { entropy: Some(entropy), ..Self::new(key) }
    }

    /// Takes the peer's packet from the front of `src`, and leaves there what follows it. `None` means that
    /// more bytes are needed; that many are never more than [`MAX_HANDSHAKE`](super::MAX_HANDSHAKE) + 2.
    ///
    /// # Errors
    /// When it is no `auth` for us; the connection is of no use then.
    pub fn read_auth(&mut self, src: &mut BytesMut) -> Result<Option<Accepted>, Error> {
        let Some(packet) = self.reader.read(&self.key, src)? else { return Ok(None) };
        self.accept(&packet).map(Some)
    }

    fn accept(&mut self, packet: &Packet) -> Result<Accepted, Error> {
        let auth = if packet.old { Auth::decode_old(&packet.body) } else { Auth::decode(&packet.body) }?;
        let remote = ecies::public_key(&auth.public_key, "auth")?;
        let token = B256::from(ecies::agree(&self.key, &remote)) ^ auth.nonce;
        let remote_ephemeral = recover(token, &auth.signature)?;
        if let Some(hash) = auth.ephemeral_hash
            && keccak256(ecies::public_bytes(&remote_ephemeral)) != hash
        {
            return Err(Error::BadSignature);
        }

        let entropy = self.entropy.take().unwrap_or_else(Entropy::random);
        let ephemeral = ecies::public_bytes(&Point::from_secret_key_global(&entropy.ephemeral));
        let message = Ack { ephemeral, nonce: entropy.nonce };
        let ack = if packet.old {
            seal_old(&remote, &message.encode_old(), &entropy)
        } else {
            seal(&remote, message.encode(), &entropy)
        };
        let exchange = Exchange {
            ephemeral_shared: ecies::agree(&entropy.ephemeral, &remote_ephemeral),
            initiator_nonce: auth.nonce,
            recipient_nonce: entropy.nonce,
            auth: &packet.bytes,
            ack: &ack,
        };
        let secrets = Secrets::of_recipient(auth.public_key, &exchange);
        Ok(Accepted { ack, secrets })
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient").finish_non_exhaustive()
    }
}

/// The ephemeral key that signed the token.
fn recover(token: B256, signature: &FixedBytes<65>) -> Result<Point, Error> {
    let (compact, v) = signature.split_at(64);
    let id = v.first().and_then(|v| RecoveryId::try_from(i32::from(*v)).ok()).ok_or(Error::BadSignature)?;
    RecoverableSignature::from_compact(compact, id)
        .and_then(|signature| signature.recover(Message::from_digest(token.0)))
        .map_err(|_| Error::BadSignature)
}
