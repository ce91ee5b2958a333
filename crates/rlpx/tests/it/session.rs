//! A session from the handshake on, as two nodes would have it.

use alloy_primitives::hex;
use bytes::BytesMut;
use quintet_rlpx::{Capability, Codec, DisconnectReason, Error, Hello, MAX_MESSAGE, PublicKey, base};

use crate::support::{established, frame, fresh, key, public};

fn hello(id: PublicKey) -> Hello {
    let capabilities = vec![Capability::new("eth", 68), Capability::new("snap", 1)];
    Hello { version: base::VERSION, client: "test/v1".into(), capabilities, port: 0, id }
}

fn decoded(codec: &mut Codec, src: &mut BytesMut) -> (u64, Vec<u8>) {
    let message = codec.decode(src).unwrap().expect("the frame is whole");
    (message.code, message.payload.to_vec())
}

#[test]
fn hellos_cross_and_messages_after_them_are_compressed() {
    let (mut ours, mut theirs) = fresh();
    let mut wire = frame(&mut ours, base::HELLO, &hello(public(&key(1))).encode());
    let mut back = frame(&mut theirs, base::HELLO, &hello(public(&key(2))).encode());
    for (codec, src, id) in
        [(&mut theirs, &mut wire, public(&key(1))), (&mut ours, &mut back, public(&key(2)))]
    {
        let (code, payload) = decoded(codec, src);
        let hello = Hello::decode(&payload).unwrap();
        assert_eq!((code, hello.check_identity(&id)), (base::HELLO, Ok(())));
        codec.hello_received(hello.version);
    }

    let zeros = vec![0; 100_000];
    let mut wire = BytesMut::new();
    let sent = ours.encode(16, &zeros, &mut wire).unwrap();
    assert!(wire.len() < 10_000, "{} bytes", wire.len());
    let message = theirs.decode(&mut wire).unwrap().unwrap();
    assert_eq!((message.code, message.wire_len), (16, sent));
    assert_eq!(message.payload, zeros);
    let mut wire = frame(&mut theirs, base::PING, base::EMPTY);
    assert_eq!(decoded(&mut ours, &mut wire), (base::PING, vec![0xc0]));
}

#[test]
fn a_peer_of_version_4_is_spoken_to_without_compression() {
    let (mut ours, mut theirs) = established(4);
    let zeros = vec![0; 10_000];
    let mut wire = frame(&mut ours, 16, &zeros);
    assert!(wire.len() > 10_000);
    assert_eq!(decoded(&mut theirs, &mut wire), (16, zeros));
}

#[test]
fn codes_of_every_length_come_back() {
    let (mut ours, mut theirs) = established(5);
    for code in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, u64::from(u32::MAX), u64::MAX] {
        let mut wire = frame(&mut ours, code, b"x");
        assert_eq!(decoded(&mut theirs, &mut wire), (code, b"x".to_vec()));
    }
}

#[test]
fn the_largest_message_passes_and_one_more_byte_does_not() {
    let (mut ours, mut theirs) = established(5);
    let zeros = vec![0; MAX_MESSAGE + 1];
    let mut wire = BytesMut::from(&b"before"[..]);
    let error = ours.encode(16, &zeros, &mut wire).unwrap_err();
    assert_eq!(error, Error::TooLarge { size: MAX_MESSAGE + 1, limit: MAX_MESSAGE });
    // What does not compress does not fit a frame together with its code.
    let (mut plain, _) = established(4);
    let error = plain.encode(16, &zeros[..MAX_MESSAGE], &mut wire).unwrap_err();
    assert_eq!(error, Error::TooLarge { size: MAX_MESSAGE + 1, limit: MAX_MESSAGE });
    assert_eq!(wire, b"before"[..]);
    // Neither harmed the session.
    let mut wire = frame(&mut ours, 16, &zeros[..MAX_MESSAGE]);
    assert_eq!(decoded(&mut theirs, &mut wire).1.len(), MAX_MESSAGE);
}

#[test]
fn the_two_directions_work_apart() {
    let (ours, theirs) = established(5);
    let (mut our_encoder, mut our_decoder) = ours.into_parts();
    let (mut their_encoder, mut their_decoder) = theirs.into_parts();
    let (mut there, mut back) = (BytesMut::new(), BytesMut::new());
    for round in 0..3_u64 {
        our_encoder.encode(round, b"there", &mut there).unwrap();
        their_encoder.encode(round, b"back", &mut back).unwrap();
    }
    for round in 0..3_u64 {
        let message = their_decoder.decode(&mut there).unwrap().unwrap();
        assert_eq!((message.code, &message.payload[..]), (round, &b"there"[..]));
        let message = our_decoder.decode(&mut back).unwrap().unwrap();
        assert_eq!((message.code, &message.payload[..]), (round, &b"back"[..]));
    }
}

#[test]
fn a_reason_that_was_not_compressed_is_understood() {
    for payload in [&[0xc1, 0x04][..], &[0x04], &[0xc1, 0x80], &[0x80]] {
        let (mut ours, mut theirs) = established(5);
        theirs.set_snappy(false);
        let (code, payload) = decoded(&mut ours, &mut frame(&mut theirs, base::DISCONNECT, payload));
        assert_eq!(code, base::DISCONNECT);
        assert_ne!(DisconnectReason::decode(&payload), DisconnectReason::Invalid, "{payload:x?}");
    }
    let (mut ours, mut theirs) = established(5);
    let reason = DisconnectReason::TooManyPeers;
    let (_, payload) = decoded(&mut ours, &mut frame(&mut theirs, base::DISCONNECT, &reason.encode()));
    assert_eq!(DisconnectReason::decode(&payload), reason);
}

#[test]
fn the_hello_of_eip8_is_understood() {
    let Some(folder) = quintet_testkit::vectors::archive("08") else { return };
    let text = std::fs::read_to_string(folder.join("eip8-vectors.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    let packet = hex::decode(vectors["devp2p_hello_v22"].as_str().unwrap()).unwrap();
    let hello = Hello::decode(&packet).unwrap();
    // The text of the EIP says 22, the bytes say 55.
    assert_eq!((hello.version, hello.client.as_str()), (55, "kneth/v0.91/plan9"));
    assert_eq!(hello.port, 9999);
    assert_eq!(hello.capabilities.len(), 2);
    assert_eq!(hello.capabilities[0].name, "eth");
    assert_eq!(hello.capabilities[1].name, "mork");
    assert_eq!(hello.id[..4], [0xfd, 0xa1, 0xcf, 0xf6]);
}
