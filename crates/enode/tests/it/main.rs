//! Node records against the vectors of others: EIP-778's sample, the specification of DNS lists, and a list that
//! Besu was tested with.

use alloy_primitives::hex;
use proptest::prelude::*;
use quintet_enode::{ForkHash, ForkId, NodeKey, Record, RecordBuilder, RecordError};
use quintet_testkit::vectors;
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn json(name: &str) -> Option<Value> {
    let folder = vectors::archive("08")?;
    Some(serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap())
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn the_sample_of_eip_778_is_read_and_written() {
    let Some(sample) = json("enr-vectors.json") else { return };
    let text = sample["enr"].as_str().unwrap();
    let key = NodeKey::from_hex(sample["private_key"].as_str().unwrap()).unwrap();
    let record: Record = text.parse().unwrap();
    assert_eq!(record.to_string(), text);
    assert_eq!(record.seq(), sample["seq"].as_u64().unwrap());
    assert_eq!(hex::encode(record.node_id()), sample["node_id"].as_str().unwrap());
    assert_eq!(record.public_key(), key.public());
    assert_eq!(record.ip4().unwrap().to_string(), sample["ip"].as_str().unwrap());
    assert_eq!(record.udp().map(u64::from), sample["udp"].as_u64());
    let enode = record.to_enode().unwrap();
    assert_eq!((enode.ip.to_string().as_str(), enode.tcp, enode.udp), ("127.0.0.1", 0, 30303));
    let builder = RecordBuilder::new(1).ip(IpAddr::V4(Ipv4Addr::LOCALHOST)).udp(30303);
    assert_eq!(builder.sign(&key).unwrap().to_string(), text);
}

#[test]
fn the_records_of_the_dns_specification_are_valid() {
    let Some(sample) = json("enr-vectors.json") else { return };
    let records = strings(&sample["dnsdisc_example_records"]);
    assert_eq!(records.len(), 3);
    for text in records {
        let record: Record = text.parse().unwrap();
        assert_eq!(record.to_string(), text);
        assert_eq!(record.to_enode(), None, "it gives no address");
    }
}

#[test]
fn every_record_of_a_real_dns_list_is_valid_and_names_its_chain() {
    let Some(list) = json("enr-from-dns-tree.json") else { return };
    let records = strings(&list);
    assert!(records.len() > 10);
    let mut networks = HashSet::new();
    for text in records {
        let record: Record = text.parse().unwrap();
        assert_eq!(record.to_string(), text);
        let enode = record.to_enode().unwrap();
        assert!(enode.tcp > 0 && enode.udp > 0 && !enode.ip.is_loopback(), "{enode}");
        networks.insert(record.fork_id().unwrap());
    }
    // Holesky after Shanghai and after Cancun.
    let expected = [[0x9b, 0x19, 0x2a, 0xd0], [0xfd, 0x4f, 0x01, 0x6b]];
    for hash in expected {
        assert!(networks.contains(&ForkId { hash: ForkHash(hash), next: 0 }), "{networks:?}");
    }
}

#[test]
fn a_change_of_any_byte_is_refused() {
    let record = sample();
    for index in 0..record.encode().len() {
        let mut changed = record.encode().to_vec();
        changed[index] ^= 1;
        assert!(Record::decode(&changed).is_err(), "byte {index}");
    }
}

#[test]
fn an_update_keeps_what_it_does_not_change() {
    let key = NodeKey::generate();
    let first = RecordBuilder::new(7)
        .ip("203.0.113.9".parse().unwrap())
        .tcp(30303)
        .udp(30301)
        .entry("snap", vec![0xc0])
        .sign(&key)
        .unwrap();
    let fork_id = ForkId { hash: ForkHash([1, 2, 3, 4]), next: 1 << 40 };
    let second = first.next().fork_id(fork_id).tcp(30304).remove("snap").sign(&key).unwrap();
    assert_eq!((second.seq(), second.fork_id()), (8, Some(fork_id)));
    assert_eq!(
        second.to_enode().unwrap().to_string().split('@').nth(1),
        Some("203.0.113.9:30304?discport=30301")
    );
    assert_eq!((second.entry("snap"), first.entry("snap")), (None, Some(&[0xc0][..])));
    assert_eq!(first.fork_id(), None);
    assert_eq!(second.to_string().parse(), Ok(second));
}

#[test]
fn the_more_global_address_is_chosen() {
    let key = NodeKey::generate();
    let record = |four: Ipv4Addr, six: Ipv6Addr| {
        let builder = RecordBuilder::new(1).ip(four.into()).ip(six.into()).tcp(1).udp(2);
        builder.entry("tcp6", vec![3]).sign(&key).unwrap()
    };
    let global6 = "2600::1".parse().unwrap();
    let enode = record(Ipv4Addr::new(10, 0, 0, 1), global6).to_enode().unwrap();
    assert_eq!((enode.ip, enode.tcp, enode.udp), (global6.into(), 3, 2));
    let both = record(Ipv4Addr::new(8, 8, 8, 8), global6);
    let enode = both.to_enode().unwrap();
    assert_eq!((enode.ip.to_string().as_str(), enode.tcp), ("8.8.8.8", 1));
    // Unless the node was met at the other one, or has no other.
    let near = |record: &Record, met: &str| {
        let enode = record.to_enode_near(met.parse().unwrap()).unwrap();
        (enode.ip.to_string(), enode.tcp)
    };
    assert_eq!(near(&both, "2001:db8::1"), ("2600::1".to_owned(), 3));
    assert_eq!(near(&both, "::ffff:1.2.3.4"), ("8.8.8.8".to_owned(), 1));
    let four = RecordBuilder::new(1).ip([8, 8, 8, 8].into()).tcp(1).sign(&key).unwrap();
    assert_eq!(near(&four, "2001:db8::1"), ("8.8.8.8".to_owned(), 1));
    let mapped = RecordBuilder::new(1).entry("ip6", rlp_ip6("::ffff:8.8.8.8")).tcp(1).entry("tcp6", vec![3]);
    let enode = mapped.sign(&key).unwrap().to_enode().unwrap();
    assert_eq!((enode.ip.to_string().as_str(), enode.tcp), ("8.8.8.8", 1));
    let multicast = RecordBuilder::new(1).ip("224.0.0.1".parse().unwrap()).sign(&key).unwrap();
    assert_eq!(multicast.to_enode(), None);
}

#[test]
fn what_the_specification_forbids_is_refused() {
    let key = NodeKey::generate();
    let sign = |name: &str, value: Vec<u8>| RecordBuilder::new(1).entry(name, value).sign(&key);
    assert_eq!(sign("id", vec![1]), Err(RecordError::Reserved("id")));
    assert_eq!(sign("secp256k1", vec![1]), Err(RecordError::Reserved("secp256k1")));
    assert_eq!(sign("big", alloy_rlp_bytes(&[0; 200])), Err(RecordError::TooBig));
    assert_eq!(sign("none", vec![]), Err(RecordError::NotSorted), "the value is the next name");
    assert!(matches!(sign("two", vec![0x82, 1]), Err(RecordError::Rlp(_) | RecordError::InvalidKey)));
    assert_eq!(sign("zz", vec![]), Err(RecordError::IncompletePair));

    let record = sample();
    let text = record.to_string();
    assert_eq!(text["enr:".len()..].parse::<Record>(), Err(RecordError::MissingPrefix));
    assert_eq!(format!("{text}=").parse::<Record>(), Err(RecordError::NotBase64));
    assert_eq!(Record::decode(&[record.encode(), &[0]].concat()), Err(RecordError::Trailing(1)));
    assert_eq!(Record::decode(&[0; 301]), Err(RecordError::TooBig));
    assert!(matches!(Record::decode(&[]), Err(RecordError::Rlp(_))));
    assert!(matches!(Record::decode(&[0xc0]), Err(RecordError::Rlp(_))));
    assert_eq!(Record::decode(&[0xc2, 0x80, 1]), Err(RecordError::UnknownScheme));
}

fn sample() -> Record {
    let builder = RecordBuilder::new(1).ip(IpAddr::V4(Ipv4Addr::LOCALHOST)).udp(30303).tcp(30303);
    builder.fork_id(ForkId { hash: ForkHash([1, 2, 3, 4]), next: 0 }).sign(&NodeKey::generate()).unwrap()
}

fn alloy_rlp_bytes(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    [&[0xb8, length], bytes].concat()
}

fn rlp_ip6(text: &str) -> Vec<u8> {
    let ip: Ipv6Addr = text.parse().unwrap();
    [&[0x90], &ip.octets()[..]].concat()
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text: String) {
        drop(Record::decode(&bytes));
        drop(format!("enr:{text}").parse::<Record>());
    }

    #[test]
    fn no_list_panics(entries in prop::collection::vec(any::<u8>(), 0..54)) {
        // A list header that fits, and a signature of one byte, so that what follows is looked at.
        let length = u8::try_from(entries.len() + 1).unwrap();
        drop(Record::decode(&[&[0xc0 + length, 1], entries.as_slice()].concat()));
    }
}
