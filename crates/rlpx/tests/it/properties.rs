//! What holds for any messages and for any way that a stream is cut into reads.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use quintet_rlpx::{Capability, Hello, Initiator, PublicKey, Recipient};

use crate::support::{established, key, public};

/// Cuts a stream at points chosen by the numbers, and feeds it piece by piece.
fn pieces<'a>(stream: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let ranges: Vec<_> = cuts.windows(2).map(|pair| pair[0]..pair[1]).collect();
    ranges.into_iter().map(|range| &stream[range])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_back_however_the_stream_is_cut(
        messages in vec((any::<u64>(), vec(any::<u8>(), 0..2000)), 1..8),
        cuts in vec(any::<usize>(), 0..20),
        version in 4_u64..6,
    ) {
        let (mut ours, mut theirs) = established(version);
        let mut stream = BytesMut::new();
        for (code, payload) in &messages {
            ours.encode(*code, payload, &mut stream).unwrap();
        }
        let (mut src, mut received) = (BytesMut::new(), Vec::new());
        for piece in pieces(&stream, &cuts) {
            src.extend_from_slice(piece);
            while let Some(message) = theirs.decode(&mut src).unwrap() {
                received.push((message.code, message.payload.to_vec()));
            }
            prop_assert!(src.len() < theirs.needed());
        }
        prop_assert_eq!(received, messages);
        prop_assert!(src.is_empty());
    }

    #[test]
    fn handshakes_come_through_however_the_stream_is_cut(cuts in vec(any::<usize>(), 0..20), after in vec(any::<u8>(), 0..50)) {
        let mut initiator = Initiator::new(&key(1), &public(&key(2))).unwrap();
        let mut recipient = Recipient::new(&key(2));
        let (mut src, mut accepted) = (BytesMut::new(), None);
        for piece in pieces(initiator.auth(), &cuts) {
            src.extend_from_slice(piece);
            if accepted.is_none() {
                accepted = recipient.read_auth(&mut src).unwrap();
            }
        }
        let accepted = accepted.expect("the packet is whole");
        prop_assert!(src.is_empty());

        let stream = [accepted.ack.as_slice(), &after].concat();
        let mut secrets = None;
        for piece in pieces(&stream, &cuts) {
            src.extend_from_slice(piece);
            if secrets.is_none() {
                secrets = initiator.read_ack(&mut src).unwrap();
            }
        }
        prop_assert!(secrets.is_some());
        prop_assert_eq!(&src[..], &after[..]);
    }

    #[test]
    fn hellos_come_back(
        version in any::<u64>(),
        client in ".{0,40}",
        capabilities in vec(("[a-z]{1,8}", any::<u64>()), 0..10),
        port in any::<u64>(),
        id in 1_u8..,
    ) {
        let capabilities = capabilities.iter().map(|(name, version)| Capability::new(name, *version)).collect();
        let hello = Hello { version, client, capabilities, port, id: PublicKey::repeat_byte(id) };
        prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
}
