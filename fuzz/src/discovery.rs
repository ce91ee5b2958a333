//! Discovery: datagrams, records, URLs.

use alloy_primitives::keccak256;
use quintet_discv4::{Packet, Scheme, Signer};
use quintet_enode::{Enode, NodeKey, Record, RecordBuilder};

fn key() -> NodeKey {
    NodeKey::from_hex(&"01".repeat(32)).expect("a valid key")
}

/// A datagram as it comes, and one whose hash is right and whose packet (number and body) are these bytes.
pub fn datagram(data: &[u8]) {
    if let Ok(packet) = quintet_discv4::decode(data) {
        let _ = packet.recover();
    }
    let mut signed = vec![1; 65];
    signed.extend_from_slice(data);
    let hashed = [keccak256(&signed).as_slice(), &signed].concat();
    let Ok(unverified) = quintet_discv4::decode(&hashed) else { return };
    let packet = unverified.packet().clone();
    let _ = unverified.recover();
    let again = Packet::decode_body(packet.kind(), &packet.encode_body());
    assert_eq!(again.as_ref(), Ok(&packet), "a packet that was decoded can be sent");

    let signer = Signer::new(key(), Scheme::SECP256K1);
    let sealed = signer.seal(&packet);
    if sealed.len() <= quintet_discv4::MAX_PACKET_SIZE {
        let verified = quintet_discv4::verify(&sealed).expect("our own datagram");
        assert_eq!((verified.packet(), verified.sender()), (&packet, key().public()));
    }
}

/// A record's bytes, its text, and one with entries made of these bytes and a good signature.
pub fn record(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        assert_eq!(record.encode(), data, "a record is what was signed");
        check_record(&record);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(record) = text.parse::<Record>()
    {
        check_record(&record);
    }
    if let Ok(record) = builder(data).sign(&key()) {
        assert_eq!(record.public_key(), key().public());
        check_record(&record);
    }
}

fn check_record(record: &Record) {
    assert_eq!(Record::decode(record.encode()).as_ref(), Ok(record));
    assert_eq!(record.to_string().parse::<Record>().as_ref(), Ok(record));
    let _ = (record.fork_id(), record.to_enode(), record.node_id(), record.next());
}

/// Entries out of any bytes: lengths of a name and of a value, the name, the value.
fn builder(mut data: &[u8]) -> RecordBuilder {
    let mut builder = RecordBuilder::new(data.len() as u64);
    while let [name, value, rest @ ..] = data {
        let (name, rest) = rest.split_at(rest.len().min(usize::from(*name % 16)));
        let (value, rest) = rest.split_at(rest.len().min(usize::from(*value)));
        builder = builder.entry(&String::from_utf8_lossy(name), value.to_vec());
        data = rest;
    }
    builder
}

/// A node's URL.
pub fn enode(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Names would be looked up; here they have no address.
    let Ok(enode) = Enode::parse_with(text, |_| None) else { return };
    let url = text.split('#').next().unwrap_or_default();
    assert!(!url.bytes().any(|byte| byte.is_ascii_control()), "a URL has no control characters");
    let again = enode.to_string().parse::<Enode>();
    // What has no address is written without one, of whichever kind it was.
    let expected = if enode.is_incomplete() { Enode::incomplete(enode.public_key) } else { enode };
    assert_eq!(again.as_ref(), Ok(&expected));
}
