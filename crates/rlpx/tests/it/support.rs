//! Two sides of a session.

use bytes::BytesMut;
use quintet_rlpx::{Codec, Initiator, PublicKey, Recipient};
use secp256k1::SecretKey;

/// The key of 32 such bytes.
pub(crate) fn key(byte: u8) -> SecretKey {
    SecretKey::from_byte_array([byte; 32]).unwrap()
}

/// The identity that belongs to a key.
pub(crate) fn public(key: &SecretKey) -> PublicKey {
    let point = secp256k1::PublicKey::from_secret_key_global(key);
    PublicKey::from_slice(&point.serialize_uncompressed()[1..])
}

/// A session after the handshake: the initiator's side, then the recipient's. No hello was sent.
pub(crate) fn fresh() -> (Codec, Codec) {
    let mut initiator = Initiator::new(&key(1), &public(&key(2))).unwrap();
    let mut auth = BytesMut::from(initiator.auth());
    let accepted = Recipient::new(&key(2)).read_auth(&mut auth).unwrap().unwrap();
    let mut ack = BytesMut::from(accepted.ack.as_slice());
    let secrets = initiator.read_ack(&mut ack).unwrap().unwrap();
    assert_eq!(*secrets.remote(), public(&key(2)));
    assert_eq!(*accepted.secrets.remote(), public(&key(1)));
    (Codec::new(secrets), Codec::new(accepted.secrets))
}

/// A session after both hellos, of this version of the base protocol.
pub(crate) fn established(version: u64) -> (Codec, Codec) {
    let (mut ours, mut theirs) = fresh();
    ours.hello_received(version);
    theirs.hello_received(version);
    (ours, theirs)
}

/// The frame of a message.
pub(crate) fn frame(codec: &mut Codec, code: u64, payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    codec.encode(code, payload, &mut out).unwrap();
    out
}
