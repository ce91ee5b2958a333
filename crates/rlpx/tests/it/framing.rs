//! Besu's recording of a session: frames of one side, with the secrets that they were made with.

use std::fs;

use alloy_primitives::{B256, Keccak256, hex};
use alloy_rlp::Header;
use bytes::BytesMut;
use quintet_rlpx::{Capability, Codec, Error, Hello, Message, PublicKey, Secrets, base};
use quintet_testkit::vectors::archive;
use serde_json::Value;

struct Recording {
    secrets: Secrets,
    /// Each with the size that its header names.
    frames: Vec<(Vec<u8>, usize)>,
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn recording() -> Option<Recording> {
    let file = archive("08")?.join("besu-rlpx-framing/peer1.json");
    let json: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let state = |name: &str| {
        let mut state = Keccak256::new();
        json[name].as_array().unwrap().iter().for_each(|part| state.update(bytes(part)));
        state
    };
    let secret = |name: &str| B256::from_slice(&bytes(&json[name]));
    let secrets = Secrets::new(
        PublicKey::ZERO,
        secret("aes_secret"),
        secret("mac_secret"),
        state("egress_gen"),
        state("ingress_gen"),
    );
    let frame = |frame: &Value| {
        let size = usize::try_from(frame["frame_size"].as_u64().unwrap()).unwrap();
        (bytes(&frame["data"]), size)
    };
    Some(Recording { secrets, frames: json["messages"].as_array().unwrap().iter().map(frame).collect() })
}

fn decoded(codec: &mut Codec, frame: &[u8]) -> Result<Message, Error> {
    let mut src = BytesMut::from(frame);
    let message = codec.decode(&mut src)?.expect("the frame is whole");
    assert!(src.is_empty());
    Ok(message)
}

#[test]
fn all_frames_of_the_recording_are_read() {
    let Some(recording) = recording() else { return };
    let mut codec = Codec::new(recording.secrets);
    let mut codes = Vec::new();
    for (index, (frame, size)) in recording.frames.iter().enumerate() {
        let message = decoded(&mut codec, frame).unwrap();
        assert_eq!(message.wire_len + 1, *size, "frame {index}");
        if index == 0 {
            let hello = Hello::decode(&message.payload).unwrap();
            assert!(hello.client.starts_with("Geth/v1.7.3-stable"), "{hello:?}");
            assert!(hello.capabilities.contains(&Capability::new("eth", 63)), "{hello:?}");
            codec.hello_received(hello.version);
        }
        // All that follow are lists as well, once decompressed, and nothing comes after the list.
        let mut rest = &message.payload[..];
        Header::decode_bytes(&mut rest, true).unwrap();
        assert!(rest.is_empty(), "frame {index}");
        codes.push(message.code);
    }
    // A hello, a status, then headers and transactions.
    assert_eq!(codes, [base::HELLO, 16, 19, 18, 20, 18, 18, 18]);
}

#[test]
fn a_changed_byte_of_the_recording_is_noticed() {
    let Some(recording) = recording() else { return };
    let (frame, _) = &recording.frames[0];
    for index in 0..frame.len() {
        let mut frame = frame.clone();
        frame[index] ^= 1;
        let expected = if index < 32 { Error::BadHeaderMac } else { Error::BadFrameMac };
        let mut codec = Codec::new(recording.secrets.clone());
        assert_eq!(decoded(&mut codec, &frame), Err(expected), "byte {index}");
        assert_eq!(codec.decode(&mut BytesMut::new()), Err(Error::Failed));
    }
}
