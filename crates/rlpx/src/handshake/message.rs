//! The two messages of the handshake in both of their forms.
//!
//! EIP-8: an RLP list whose further elements, and whatever follows it, are ignored, and so is its version. Before:
//! fields of fixed size one after the other.

use alloy_primitives::{B256, B512, FixedBytes};
use alloy_rlp::{Decodable, Encodable, Header};

use crate::{Error, PublicKey};

/// The version of the handshake that we speak.
const VERSION: u64 = 4;

/// The initiator's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Auth {
    /// By the ephemeral key, of the static shared secret xor the nonce: `r ‖ s ‖ recovery id`.
    pub(crate) signature: FixedBytes<65>,
    /// The initiator's identity.
    pub(crate) public_key: PublicKey,
    pub(crate) nonce: B256,
    /// Only in the old form: the hash of the ephemeral public key.
    pub(crate) ephemeral_hash: Option<B256>,
}

impl Auth {
    /// Signature, hash of the ephemeral key, public key, nonce, and a flag that nobody uses.
    pub(crate) const OLD_SIZE: usize = 65 + 32 + 64 + 32 + 1;

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut fields = list(body, "auth is not a list")?;
        Ok(Self {
            signature: field(&mut fields, "signature of auth")?,
            public_key: field(&mut fields, "public key of auth")?,
            nonce: field(&mut fields, "nonce of auth")?,
            ephemeral_hash: None,
        })
    }

    pub(crate) fn decode_old(body: &[u8]) -> Result<Self, Error> {
        let mut rest = body;
        Ok(Self {
            signature: take(&mut rest)?,
            ephemeral_hash: Some(take(&mut rest)?),
            public_key: take(&mut rest)?,
            nonce: take(&mut rest)?,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode_list(&[&self.signature, &self.public_key, &self.nonce, &VERSION])
    }
}

/// The recipient's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) ephemeral: B512,
    pub(crate) nonce: B256,
}

impl Ack {
    /// Ephemeral key, nonce, and a flag that nobody uses.
    pub(crate) const OLD_SIZE: usize = 64 + 32 + 1;

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut fields = list(body, "ack is not a list")?;
        Ok(Self {
            ephemeral: field(&mut fields, "ephemeral key of ack")?,
            nonce: field(&mut fields, "nonce of ack")?,
        })
    }

    pub(crate) fn decode_old(body: &[u8]) -> Result<Self, Error> {
        let mut rest = body;
        Ok(Self { ephemeral: take(&mut rest)?, nonce: take(&mut rest)? })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode_list(&[&self.ephemeral, &self.nonce, &VERSION])
    }

    pub(crate) fn encode_old(&self) -> Vec<u8> {
        [self.ephemeral.as_slice(), self.nonce.as_slice(), &[0]].concat()
    }
}

fn encode_list(fields: &[&dyn Encodable]) -> Vec<u8> {
    let mut out = Vec::new();
    alloy_rlp::encode_list::<_, dyn Encodable>(fields, &mut out);
    out
}

/// The content of the list that `body` begins with.
fn list<'a>(mut body: &'a [u8], what: &'static str) -> Result<&'a [u8], Error> {
    Header::decode_bytes(&mut body, true).map_err(|_| Error::BadHandshake(what))
}

fn field<const N: usize>(fields: &mut &[u8], what: &'static str) -> Result<FixedBytes<N>, Error> {
    FixedBytes::decode(fields).map_err(|_| Error::BadHandshake(what))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<FixedBytes<N>, Error> {
    let (field, after) = rest.split_first_chunk().ok_or(Error::BadHandshake("too short"))?;
    *rest = after;
    Ok(FixedBytes(*field))
}
