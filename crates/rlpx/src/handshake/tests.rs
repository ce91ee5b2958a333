//! The vectors of EIP-8, and what only this module can see of the secrets.

use std::fs;

use alloy_primitives::{B512, hex};
use bytes::BytesMut;
use quintet_testkit::vectors::archive;
use secp256k1::PublicKey as Point;
use serde_json::Value;

use super::message::{Ack, Auth};
use super::*;
use crate::{Error, PublicKey, ecies};

struct Vectors(Value);

impl Vectors {
    fn load() -> Option<Self> {
        let text = fs::read_to_string(archive("08")?.join("eip8-vectors.json")).unwrap();
        Some(Self(serde_json::from_str(&text).unwrap()))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.0[name].as_str().unwrap_or_else(|| panic!("no {name}"))).unwrap()
    }

    fn b256(&self, name: &str) -> B256 {
        B256::from_slice(&self.bytes(name))
    }

    fn key(&self, name: &str) -> SecretKey {
        SecretKey::from_byte_array(self.b256(name).0).unwrap()
    }

    fn entropy(&self, side: &str) -> Entropy {
        Entropy {
            ephemeral: self.key(&format!("ephemeral_key_{side}")),
            nonce: self.b256(&format!("nonce_{side}")),
            ..Entropy::random()
        }
    }

    fn recipient(&self) -> Recipient {
        Recipient::with_entropy(&self.key("static_key_b"), self.entropy("b"))
    }

    fn initiator(&self) -> Initiator {
        let remote = public(&self.key("static_key_b"));
        Initiator::with_entropy(&self.key("static_key_a"), &remote, self.entropy("a")).unwrap()
    }
}

fn public(key: &SecretKey) -> PublicKey {
    ecies::public_bytes(&Point::from_secret_key_global(key))
}

const AUTHS: [&str; 3] = ["rlpx_auth1_v4_format", "rlpx_auth2_eip8_v4", "rlpx_auth3_eip8_v56_3extra"];
const ACKS: [&str; 3] = ["rlpx_ack1_v4_format", "rlpx_ack2_eip8_v4", "rlpx_ack3_eip8_v57_3extra"];

#[test]
fn every_auth_of_eip8_is_accepted_and_gives_the_secrets() {
    let Some(vectors) = Vectors::load() else { return };
    for name in AUTHS {
        let mut src = BytesMut::from(vectors.bytes(name).as_slice());
        src.extend_from_slice(b"next");
        let accepted = vectors.recipient().read_auth(&mut src).unwrap().unwrap();
        assert_eq!(src, b"next"[..], "{name}");
        let secrets = accepted.secrets;
        assert_eq!(secrets.remote, public(&vectors.key("static_key_a")), "{name}");
        assert_eq!(secrets.aes, vectors.b256("aes_secret_for_auth2_ack2"), "{name}");
        assert_eq!(secrets.mac, vectors.b256("mac_secret_for_auth2_ack2"), "{name}");
        if name == "rlpx_auth2_eip8_v4" {
            let mut state = secrets.ingress.clone();
            state.update("foo");
            assert_eq!(state.finalize(), vectors.b256("ingress_mac_of_foo_node_b"));
        }
        // The answer, in the form of the question, leads the other side to the same secrets.
        let mut ack = BytesMut::from(accepted.ack.as_slice());
        let old = Ack::OLD_SIZE + ecies::OVERHEAD;
        assert_eq!(ack.len() == old, name.contains("auth1"), "{name}");
        let theirs = vectors.initiator().read_ack(&mut ack).unwrap().unwrap();
        assert_eq!((theirs.aes, theirs.mac), (secrets.aes, secrets.mac), "{name}");
        assert_eq!(theirs.ingress.finalize(), secrets.egress.finalize(), "{name}");
    }
}

#[test]
fn every_ack_of_eip8_is_accepted_and_gives_the_secrets() {
    let Some(vectors) = Vectors::load() else { return };
    for name in ACKS {
        let mut src = BytesMut::from(vectors.bytes(name).as_slice());
        src.extend_from_slice(b"next");
        let secrets = vectors.initiator().read_ack(&mut src).unwrap().unwrap();
        assert_eq!(src, b"next"[..], "{name}");
        assert_eq!(secrets.remote, public(&vectors.key("static_key_b")), "{name}");
        assert_eq!(secrets.aes, vectors.b256("aes_secret_for_auth2_ack2"), "{name}");
        assert_eq!(secrets.mac, vectors.b256("mac_secret_for_auth2_ack2"), "{name}");
    }
}

#[test]
fn vectors_byte_by_byte_are_read_at_their_last_byte_only() {
    let Some(vectors) = Vectors::load() else { return };
    for name in AUTHS {
        let packet = vectors.bytes(name);
        let (mut recipient, mut src) = (vectors.recipient(), BytesMut::new());
        for (index, byte) in packet.iter().enumerate() {
            src.extend_from_slice(&[*byte]);
            let accepted = recipient.read_auth(&mut src).unwrap();
            assert_eq!(accepted.is_some(), index + 1 == packet.len(), "{name} byte {index}");
        }
    }
}

#[test]
fn a_packet_of_eip8_whose_size_looks_like_an_old_one_is_read() {
    let (ours, theirs) = (SecretKey::from_byte_array([1; 32]).unwrap(), Entropy::random());
    let initiator = Initiator::new(&theirs.packet_key, &public(&ours)).unwrap();
    // As much padding as makes the size begin with the mark of an old packet.
    let body = ecies::decrypt(&ours, &initiator.auth()[2..], &initiator.auth()[..2]).unwrap();
    let prefix = [4, 7];
    let padded = [body.as_slice(), &vec![0; 0x407 - ecies::OVERHEAD - body.len()]].concat();
    let mut packet = prefix.to_vec();
    let to = Point::from_secret_key_global(&ours);
    ecies::encrypt(&to, &padded, &prefix, (&theirs.packet_key, [0; 16]), &mut packet);

    let (mut recipient, mut src) = (Recipient::new(&ours), BytesMut::new());
    for (index, byte) in packet.iter().enumerate() {
        src.extend_from_slice(&[*byte]);
        let accepted = recipient.read_auth(&mut src).unwrap();
        assert_eq!(accepted.is_some(), index + 1 == packet.len());
    }
}

#[test]
fn an_old_auth_with_another_ephemeral_key_than_it_signed_with_is_refused() {
    let (ours, entropy) = (SecretKey::from_byte_array([1; 32]).unwrap(), Entropy::random());
    let initiator = Initiator::with_entropy(&entropy.packet_key, &public(&ours), entropy.clone()).unwrap();
    let body = ecies::decrypt(&ours, &initiator.auth()[2..], &initiator.auth()[..2]).unwrap();
    let auth = Auth::decode(&body).unwrap();
    let old = |hash: B256| {
        let fields = [&auth.signature[..], &hash[..], &auth.public_key[..], &auth.nonce[..], &[0]].concat();
        let packet = packet::seal_old(&Point::from_secret_key_global(&ours), &fields, &entropy);
        Recipient::new(&ours).read_auth(&mut BytesMut::from(packet.as_slice()))
    };
    let hash = alloy_primitives::keccak256(public(&entropy.ephemeral));
    assert!(old(hash).unwrap().is_some());
    assert_eq!(old(B256::ZERO).unwrap_err(), Error::BadSignature);
}

#[test]
fn keys_that_are_no_points_and_signatures_that_are_none_are_refused() {
    let (ours, entropy) = (SecretKey::from_byte_array([1; 32]).unwrap(), Entropy::random());
    let initiator = Initiator::new(&entropy.packet_key, &public(&ours)).unwrap();
    let body = ecies::decrypt(&ours, &initiator.auth()[2..], &initiator.auth()[..2]).unwrap();
    let good = Auth::decode(&body).unwrap();
    let read = |auth: Auth| {
        let packet = packet::seal(&Point::from_secret_key_global(&ours), auth.encode(), &entropy);
        Recipient::new(&ours).read_auth(&mut BytesMut::from(packet.as_slice())).map(|found| found.is_some())
    };
    assert_eq!(read(good.clone()), Ok(true));
    let off_curve = Auth { public_key: B512::repeat_byte(1), ..good.clone() };
    assert_eq!(read(off_curve), Err(Error::BadPublicKey("auth")));
    let mut no_id = good.clone();
    no_id.signature.0[64] = 4;
    assert_eq!(read(no_id), Err(Error::BadSignature));
    let mut no_signature = good;
    no_signature.signature.0[..64].fill(0xff);
    assert_eq!(read(no_signature), Err(Error::BadSignature));
    let unknown = Initiator::new(&ours, &B512::repeat_byte(1)).unwrap_err();
    assert_eq!(unknown, Error::BadPublicKey("node dialled"));
}

#[test]
fn bodies_that_are_malformed_name_the_field() {
    for body in
        [&b""[..], b"\x01", b"\xc0", b"\xf8", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\xc3\x80\x80\x80"]
    {
        assert!(matches!(Auth::decode(body), Err(Error::BadHandshake(_))), "{body:x?}");
        assert!(matches!(Ack::decode(body), Err(Error::BadHandshake(_))), "{body:x?}");
        assert!(matches!(Auth::decode_old(body), Err(Error::BadHandshake(_))), "{body:x?}");
        assert!(matches!(Ack::decode_old(body), Err(Error::BadHandshake(_))), "{body:x?}");
    }
}

#[test]
fn secrets_do_not_show_in_logs() {
    let vector = Entropy::random();
    let secrets = Secrets::new(
        PublicKey::repeat_byte(9),
        vector.nonce,
        vector.nonce,
        alloy_primitives::Keccak256::new(),
        alloy_primitives::Keccak256::new(),
    );
    let nonce = hex::encode(vector.nonce);
    for text in [format!("{secrets:?}"), format!("{vector:?}"), format!("{:?}", crate::Codec::new(secrets))] {
        assert!(!text.contains(&nonce), "{text}");
    }
}
