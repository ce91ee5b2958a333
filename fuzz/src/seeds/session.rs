//! Handshakes, frames, the base protocol.

use super::Vectors;
use alloy_primitives::hex;
use alloy_rlp::Encodable;
use quintet_rlpx::{Capability, Hello, PublicKey};

/// A point of the curve.
const KEY: [u8; 64] = hex!(
    "ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd31387574077f301b421bc84df7266c44e9e6d569fc56be00812904767bf5ccd1fc7f"
);
const NONCE: [u8; 32] = [7; 32];
/// An ephemeral key's signature, which need not be of the right digest to name some key.
const SIGNATURE: [u8; 65] = [1; 65];

fn list(fields: &[&dyn Encodable]) -> Vec<u8> {
    let mut out = Vec::new();
    alloy_rlp::encode_list::<&dyn Encodable, dyn Encodable>(fields, &mut out);
    out
}

fn packets(vectors: &Vectors) -> Vec<Vec<u8>> {
    vectors.bytes("eip8-vectors.json")
}

/// Packets as they come, and the message within in both forms.
pub(super) fn auth(vectors: &Vectors) -> Vec<Vec<u8>> {
    let mut seeds = packets(vectors);
    let (signature, key, nonce) = (&SIGNATURE[..], &KEY[..], &NONCE[..]);
    seeds.push(list(&[&signature, &key, &nonce, &4_u8]));
    seeds.push([list(&[&signature, &key, &nonce, &57_u8, &"further"]), vec![0; 120]].concat());
    seeds.push([signature, &[3; 32], key, nonce, &[0]].concat());
    seeds
}

/// Packets as they come, and the message within in both forms.
pub(super) fn ack(vectors: &Vectors) -> Vec<Vec<u8>> {
    let mut seeds = packets(vectors);
    let (key, nonce) = (&KEY[..], &NONCE[..]);
    seeds.push(list(&[&key, &nonce, &4_u8]));
    seeds.push([list(&[&key, &nonce, &57_u8, &"further"]), vec![0; 120]].concat());
    seeds.push([key, nonce, &[0]].concat());
    seeds
}

/// Recorded frames, and payloads with their codes: plain ones, compressed ones, ones that claim to be large.
pub(super) fn frames(vectors: &Vectors) -> Vec<Vec<u8>> {
    let mut seeds = vectors.bytes("besu-rlpx-framing/peer1.json");
    seeds.extend([
        vec![0],
        [&[0x10][..], &[0xaa; 300]].concat(),
        // Snappy: ten bytes as they are; a copy; four gibibytes out of nothing.
        b"\x10\x0a\x24abcdefghij".to_vec(),
        b"\x10\x14\x0cabcd\x3e\x04\x00".to_vec(),
        hex!("10ffffffff0f00").to_vec(),
        hex!("10808080080061").to_vec(),
    ]);
    seeds
}

/// EIP-8's hello, and one of today.
pub(super) fn hellos(vectors: &Vectors) -> Vec<Vec<u8>> {
    let capabilities =
        vec![Capability::new("eth", 68), Capability::new("eth", 69), Capability::new("snap", 1)];
    let id = PublicKey::from(KEY);
    let ours = Hello { version: 5, client: "client/v1".into(), capabilities, port: 30303, id };
    let recorded = packets(vectors).into_iter().filter(|packet| packet.first() == Some(&0xf8));
    recorded.chain([ours.encode()]).collect()
}

/// Every reason, as a list and alone.
pub(super) fn disconnects() -> Vec<Vec<u8>> {
    let reasons =
        (0..=0x11).flat_map(|reason: u8| [alloy_rlp::encode([reason].as_slice()), list(&[&reason])]);
    reasons.chain([vec![], vec![0xc0], vec![0x04], vec![0xc1, 0x80]]).collect()
}
