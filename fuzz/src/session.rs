//! RLPx: handshake, frames, base protocol.

use alloy_primitives::{B256, Keccak256};
use bytes::BytesMut;
use quintet_rlpx::{Codec, DisconnectReason, Hello, MAX_MESSAGE, PublicKey, Secrets};

/// The handshake's first packet, as it comes and as what was encrypted for us.
pub fn auth(data: &[u8]) {
    quintet_rlpx::fuzz::auth(data);
}

/// The handshake's second packet, as it comes and as what was encrypted for us.
pub fn ack(data: &[u8]) {
    quintet_rlpx::fuzz::ack(data);
}

/// Frames as they come, frames with right MACs and any content, and messages there and back.
pub fn frame(data: &[u8]) {
    quintet_rlpx::fuzz::frame(data);
    let Some((code, payload)) = data.split_first() else { return };
    for snappy in [false, true] {
        let [mut theirs, mut ours] = [codec(snappy), codec(snappy)];
        let mut wire = BytesMut::new();
        theirs.encode(u64::from(*code), payload, &mut wire).expect("a message that fits");
        let message = ours.decode(&mut wire).expect("their frame").expect("a whole frame");
        assert_eq!((message.code, &message.payload[..]), (u64::from(*code), payload));
        assert!(wire.is_empty());
    }
}

/// A session that reads what it writes.
fn codec(snappy: bool) -> Codec {
    let (aes, mac) = (B256::repeat_byte(2), B256::repeat_byte(3));
    let remote = PublicKey::repeat_byte(1);
    let mut codec = Codec::new(Secrets::new(remote, aes, mac, Keccak256::new(), Keccak256::new()));
    codec.set_snappy(snappy);
    codec.set_limit(MAX_MESSAGE);
    codec
}

/// The base protocol's first message.
pub fn hello(data: &[u8]) {
    quintet_rlpx::fuzz::hello(data);
    if let Ok(hello) = Hello::decode(data) {
        assert_eq!(Hello::decode(&hello.encode()).as_ref(), Ok(&hello));
    }
}

/// The base protocol's last message.
pub fn disconnect(data: &[u8]) {
    let reason = DisconnectReason::decode(data);
    assert_eq!(DisconnectReason::decode(&reason.encode()), reason);
    let _ = reason.to_string();
}
