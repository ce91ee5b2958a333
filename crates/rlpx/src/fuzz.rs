//! Entry points for fuzzing: each takes any bytes, as a peer might send them, and must return.
//!
//! What is encrypted is refused at its MAC unless it was made with the right keys. So each takes the bytes twice:
//! as they come from the wire, and as what a peer that holds the keys has encrypted.

use alloy_primitives::{B256, Keccak256};
use bytes::BytesMut;
use secp256k1::SecretKey;

use crate::codec::split_code;
use crate::handshake::{Ack, Auth};
use crate::{Codec, DisconnectReason, Entropy, Hello, Initiator, MAX_MESSAGE, Recipient, Secrets, ecies};

/// A recipient's reading of `auth`, in both forms.
pub fn auth(data: &[u8]) {
    let _ = Auth::decode(data);
    let _ = Auth::decode_old(data);
    let Ok(key) = SecretKey::from_byte_array([1; 32]) else { return };
    let _ = Recipient::new(&key).read_auth(&mut BytesMut::from(data));
    for packet in sealed(&key, data) {
        let _ = Recipient::new(&key).read_auth(&mut BytesMut::from(packet.as_slice()));
    }
}

/// An initiator's reading of `ack`, in both forms.
pub fn ack(data: &[u8]) {
    let _ = Ack::decode(data);
    let _ = Ack::decode_old(data);
    let Ok(key) = SecretKey::from_byte_array([1; 32]) else { return };
    let remote = ecies::public_bytes(&secp256k1::PublicKey::from_secret_key_global(&key));
    let entropy =
        Entropy { ephemeral: key, nonce: B256::ZERO, packet_key: key, packet_iv: [0; 16], padding: 0 };
    for packet in sealed(&key, data).into_iter().chain([data.to_vec()]) {
        let Ok(mut initiator) = Initiator::with_entropy(&key, &remote, entropy.clone()) else { return };
        let _ = initiator.read_ack(&mut BytesMut::from(packet.as_slice()));
    }
}

/// Frames, with and without compression.
pub fn frame(data: &[u8]) {
    let _ = split_code(data);
    for snappy in [false, true] {
        let mut ours = codec();
        ours.set_snappy(snappy);
        ours.set_limit(MAX_MESSAGE);
        let mut src = BytesMut::from(data);
        while let Ok(Some(_)) = ours.decode(&mut src) {}

        // A frame whose MACs are right, with this content: its code and compression are the peer's.
        let Some((code, payload)) = data.split_first() else { return };
        let mut theirs = codec();
        let mut wire = BytesMut::new();
        let mut ours = codec();
        ours.set_snappy(snappy);
        ours.set_limit(MAX_MESSAGE);
        if theirs.encode((*code).into(), payload, &mut wire).is_ok() {
            while let Ok(Some(_)) = ours.decode(&mut wire) {}
        }
    }
}

/// The messages of the base protocol.
pub fn hello(data: &[u8]) {
    let _ = DisconnectReason::decode(data);
    if let Ok(hello) = Hello::decode(data) {
        let _ = crate::shared_capabilities(&hello.capabilities, &hello.capabilities);
        let _ = Hello::decode(&hello.encode());
    }
}

/// The bytes as a message for this key, in both forms of a packet.
fn sealed(key: &SecretKey, message: &[u8]) -> [Vec<u8>; 2] {
    let public = secp256k1::PublicKey::from_secret_key_global(key);
    let size = u16::try_from(message.len().saturating_add(ecies::OVERHEAD)).unwrap_or(u16::MAX).to_be_bytes();
    let mut new = size.to_vec();
    ecies::encrypt(&public, message, &size, (key, [0; 16]), &mut new);
    let mut old = Vec::new();
    ecies::encrypt(&public, message, &[], (key, [0; 16]), &mut old);
    [new, old]
}

/// A session whose two directions are alike, so that it reads what it writes.
fn codec() -> Codec {
    let remote = crate::PublicKey::repeat_byte(1);
    let (aes, mac) = (B256::repeat_byte(2), B256::repeat_byte(3));
    Codec::new(Secrets::new(remote, aes, mac, Keccak256::new(), Keccak256::new()))
}
