//! What a hostile peer may send: each is refused with the error that names it, and costs no memory.

use bytes::{BufMut as _, BytesMut};
use quintet_rlpx::{Codec, Error, Initiator, MAX_BASE_MESSAGE, MAX_HANDSHAKE, MAX_MESSAGE, Recipient, base};

use crate::support::{established, frame, fresh, key, public};

#[test]
fn any_changed_bit_of_a_handshake_is_an_error_or_a_wait_for_more() {
    let initiator = Initiator::new(&key(1), &public(&key(2))).unwrap();
    let auth = initiator.auth();
    let accepted = Recipient::new(&key(2)).read_auth(&mut BytesMut::from(auth)).unwrap().unwrap();
    for bit in (0..16).chain((16..auth.len() * 8).step_by(37)) {
        let mut damaged = BytesMut::from(auth);
        damaged[bit / 8] ^= 1 << (bit % 8);
        let read = Recipient::new(&key(2)).read_auth(&mut damaged);
        assert!(!matches!(read, Ok(Some(_))), "bit {bit}");
    }
    for bit in (0..16).chain((16..accepted.ack.len() * 8).step_by(37)) {
        let mut damaged = BytesMut::from(accepted.ack.as_slice());
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut initiator = Initiator::new(&key(1), &public(&key(2))).unwrap();
        assert!(!matches!(initiator.read_ack(&mut damaged), Ok(Some(_))), "bit {bit}");
    }
}

#[test]
fn sizes_of_handshakes_are_refused_at_their_second_byte() {
    let mut sizes = vec![0, 1, 112, MAX_HANDSHAKE + 1, 40_000, 0xffff];
    while let Some(size) = sizes.pop() {
        let mut src = BytesMut::new();
        src.put_u16(u16::try_from(size).unwrap());
        let expected = Error::HandshakeSize { size, min: 113, max: MAX_HANDSHAKE };
        assert_eq!(Recipient::new(&key(2)).read_auth(&mut src.clone()).unwrap_err(), expected);
        let mut initiator = Initiator::new(&key(1), &public(&key(2))).unwrap();
        assert_eq!(initiator.read_ack(&mut src).unwrap_err(), expected);
    }
}

#[test]
fn an_auth_for_another_node_is_refused() {
    let initiator = Initiator::new(&key(1), &public(&key(3))).unwrap();
    let error = Recipient::new(&key(2)).read_auth(&mut BytesMut::from(initiator.auth())).unwrap_err();
    assert_eq!(error, Error::BadEcies);
}

#[test]
fn who_replays_an_auth_gets_no_session() {
    let mut initiator = Initiator::new(&key(1), &public(&key(2))).unwrap();
    let auth = BytesMut::from(initiator.auth());
    let first = Recipient::new(&key(2)).read_auth(&mut auth.clone()).unwrap().unwrap();
    let secrets = initiator.read_ack(&mut BytesMut::from(first.ack.as_slice())).unwrap().unwrap();
    let recorded = frame(&mut Codec::new(secrets), base::HELLO, b"hello");
    assert!(Codec::new(first.secrets).decode(&mut recorded.clone()).unwrap().is_some());

    let second = Recipient::new(&key(2)).read_auth(&mut auth.clone()).unwrap().unwrap();
    assert_ne!(first.ack, second.ack);
    let error = Codec::new(second.secrets).decode(&mut recorded.clone()).unwrap_err();
    assert_eq!(error, Error::BadHeaderMac);
}

#[test]
fn a_replayed_frame_is_refused() {
    let (mut ours, mut theirs) = established(5);
    let recorded = frame(&mut ours, 16, b"transfer");
    assert!(theirs.decode(&mut recorded.clone()).unwrap().is_some());
    assert_eq!(theirs.decode(&mut recorded.clone()), Err(Error::BadHeaderMac));
    assert_eq!(theirs.decode(&mut recorded.clone()), Err(Error::Failed));
}

#[test]
fn any_changed_bit_of_a_frame_is_refused() {
    for bit in 0..96 * 8 {
        let (mut ours, mut theirs) = established(5);
        let mut wire = frame(&mut ours, 16, b"a frame of 48 bytes or so: header, content, two MACs");
        assert!(bit / 8 < wire.len());
        wire[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit / 8 < 32 { Error::BadHeaderMac } else { Error::BadFrameMac };
        assert_eq!(theirs.decode(&mut wire), Err(expected), "bit {bit}");
    }
}

#[test]
fn a_truncated_frame_waits_and_gives_nothing() {
    let (mut ours, mut theirs) = established(5);
    let wire = frame(&mut ours, 16, &[7; 1000]);
    let mut src = BytesMut::from(&wire[..wire.len() - 1]);
    assert_eq!(theirs.needed(), 32);
    assert_eq!(theirs.decode(&mut src), Ok(None));
    assert_eq!(src.len() + 1, theirs.needed());
    src.extend_from_slice(&wire[wire.len() - 1..]);
    assert_eq!(theirs.decode(&mut src).unwrap().unwrap().payload, [7; 1000][..]);
}

#[test]
fn an_announced_frame_gets_no_memory_before_it_comes() {
    let (mut ours, mut theirs) = established(4);
    let wire = frame(&mut ours, 16, &vec![7; MAX_MESSAGE - 1]);
    let mut src = BytesMut::from(&wire[..32]);
    assert_eq!(theirs.decode(&mut src), Ok(None));
    assert!(theirs.needed() > MAX_MESSAGE);
    assert!(src.capacity() < 1024, "{} bytes", src.capacity());
}

#[test]
fn before_the_hello_only_small_messages_pass() {
    let (mut ours, mut theirs) = fresh();
    let mut wire = frame(&mut ours, base::HELLO, &[0; MAX_BASE_MESSAGE]);
    assert!(theirs.decode(&mut wire).unwrap().is_some());
    let mut wire = frame(&mut ours, base::HELLO, &[0; MAX_BASE_MESSAGE + 1]);
    assert_eq!(
        theirs.decode(&mut wire),
        Err(Error::TooLarge { size: MAX_BASE_MESSAGE + 1, limit: MAX_BASE_MESSAGE })
    );
    // Much more is refused at its header.
    let (mut ours, mut theirs) = fresh();
    let mut src = BytesMut::from(&frame(&mut ours, base::HELLO, &[0; 10_000])[..32]);
    assert!(matches!(theirs.decode(&mut src), Err(Error::TooLarge { size: 10_001, .. })));
}

#[test]
fn a_limit_of_ones_own_holds_for_what_comes_out() {
    let (mut ours, mut theirs) = established(5);
    theirs.set_limit(100_000);
    let mut wire = frame(&mut ours, 16, &vec![0; 100_000]);
    assert!(theirs.decode(&mut wire).unwrap().is_some());
    let mut wire = frame(&mut ours, 16, &vec![0; 100_001]);
    assert_eq!(theirs.decode(&mut wire), Err(Error::TooLarge { size: 100_001, limit: 100_000 }));
}

/// What `theirs` makes of a frame with right MACs and this content where compressed data should be.
fn uncompressed(content: &[u8]) -> Result<usize, Error> {
    let (mut ours, mut theirs) = established(5);
    ours.set_snappy(false);
    let mut wire = frame(&mut ours, 16, content);
    theirs.decode(&mut wire).map(|message| message.unwrap().payload.len())
}

#[test]
fn snappy_bombs_are_refused_before_they_go_off() {
    // Lengths of 16 MiB, 4 GiB - 1, and more than a length may be; then one that the data cannot reach.
    let bomb = uncompressed(&[0x80, 0x80, 0x80, 0x08, 0, 0]);
    assert_eq!(bomb, Err(Error::TooLarge { size: MAX_MESSAGE + 1, limit: MAX_MESSAGE }));
    let bomb = uncompressed(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    assert_eq!(bomb, Err(Error::TooLarge { size: 0xffff_ffff, limit: MAX_MESSAGE }));
    assert_eq!(uncompressed(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(Error::BadSnappy));
    assert_eq!(uncompressed(&[0xff, 0xff, 0xff, 0x07, 0, 0]), Err(Error::BadSnappy));
}

#[test]
fn what_is_no_snappy_is_refused() {
    for content in [&b""[..], b"\x05", b"\x05\x00", b"\x01\x00ab", b"\x04\x01\x01", b"\x80", b"\xc1\x04"] {
        assert_eq!(uncompressed(content), Err(Error::BadSnappy), "{content:x?}");
    }
    // The empty message is one zero byte.
    assert_eq!(uncompressed(&[0]), Ok(0));
}

#[test]
fn the_densest_snappy_is_read() {
    // One zero, then copies of 64 bytes from one byte back.
    let mut dense = vec![0x81, 0x80, 0x04, 0x00, 0x00];
    for _ in 0..1024 {
        dense.extend_from_slice(&[(63 << 2) | 2, 1, 0]);
    }
    assert_eq!(uncompressed(&dense), Ok(65_537));
}
