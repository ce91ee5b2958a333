//! Packets that others made: those of EIP-8, and datagrams that a node met in the real network.

use alloy_primitives::{B256, hex};
use proptest::prelude::*;
use quintet_discv4::{
    Config, Discv4, Endpoint, MAX_PACKET_SIZE, Neighbour, Neighbours, Outgoing, Packet, PacketError, Scheme,
    Signer, Verified, decode, verify,
};
use quintet_enode::{Enode, NodeKey, PublicKey, RecordBuilder};
use quintet_testkit::vectors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

fn json(name: &str) -> Option<Value> {
    let folder = vectors::archive("08")?;
    Some(serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap())
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn packets_of_eip_8_with_what_later_versions_may_add() {
    let Some(samples) = json("eip8-vectors.json") else { return };
    let key = NodeKey::from_hex(samples["discv4_node_key"].as_str().unwrap()).unwrap();
    let read = |name: &str| -> Verified {
        let packet = verify(&bytes(&samples[name])).unwrap();
        assert_eq!(packet.sender(), key.public(), "{name}");
        assert_eq!(packet.packet().expiration(), Some(1_136_239_445), "{name}");
        packet
    };
    let Packet::Ping(ping) = read("discv4_ping_v4_extra").packet().clone() else { panic!() };
    let local = Endpoint { ip: Some("127.0.0.1".parse().unwrap()), udp: 3322, tcp: 5544 };
    let own = Endpoint { ip: Some("::1".parse().unwrap()), udp: 2222, tcp: 3333 };
    assert_eq!((ping.version, ping.from, ping.to, ping.enr_seq), (4, local, own, Some(1)));

    let Packet::Ping(ping) = read("discv4_ping_v555_extra_random").packet().clone() else { panic!() };
    assert_eq!((ping.version, ping.to.udp, ping.to.tcp, ping.enr_seq), (555, 2222, 33338, None));

    let Packet::Pong(pong) = read("discv4_pong_extra_random").packet().clone() else { panic!() };
    let hash = "fbc914b16819237dcd8801d7e53f69e9719adecb3cc0e790c57e91ca4461c954";
    assert_eq!((hex::encode(pong.ping_hash).as_str(), pong.to.udp, pong.enr_seq), (hash, 2222, None));

    let Packet::FindNode(question) = read("discv4_findnode_extra_random").packet().clone() else { panic!() };
    assert_eq!(question.target, key.public());

    let Packet::Neighbours(answer) = read("discv4_neighbours_extra_random").packet().clone() else {
        panic!()
    };
    let addresses: Vec<_> = answer.nodes.iter().map(|node| node.endpoint.ip.unwrap().to_string()).collect();
    let expected =
        ["99.33.22.55", "1.2.3.4", "2001:db8:3c4d:15::abcd:ef12", "2001:db8:85a3:8d3:1319:8a2e:370:7348"];
    assert_eq!(addresses, expected);
    assert_eq!((answer.nodes[0].endpoint.udp, answer.nodes[0].endpoint.tcp), (4444, 4445));
}

#[test]
fn every_datagram_of_the_real_network_is_read_and_written_again() {
    let Some(samples) = json("discv4-real-packets.json") else { return };
    let samples = samples.as_array().unwrap();
    let mut counts = BTreeMap::<&str, usize>::new();
    for (index, sample) in samples.iter().enumerate() {
        let datagram = bytes(&sample["packet"]);
        let packet = verify(&datagram).unwrap_or_else(|error| panic!("{index}: {error}: {sample}"));
        let name = packet.packet().name();
        assert_eq!(sample["type"].as_str(), Some(name), "{index}");
        *counts.entry(name).or_default() += 1;
        // Without what a sender appended, a body is what we would have written.
        let body = &datagram[98..];
        let again = packet.packet().encode_body();
        if again.len() == body.len() {
            assert_eq!(hex::encode(again), hex::encode(body), "{index}");
        } else {
            assert_eq!(Packet::decode_body(datagram[97], &again).as_ref(), Ok(packet.packet()), "{index}");
        }
    }
    let expected = BTreeMap::from([("ping", 479), ("pong", 172), ("findnode", 11), ("neighbours", 63)]);
    assert_eq!(counts, expected);
}

#[test]
fn an_answer_of_the_largest_nodes_fits_and_one_more_would_not() {
    let signer = Signer::new(NodeKey::generate(), Scheme::SECP256K1);
    let ip = IpAddr::V6(Ipv6Addr::from([0xff; 16]));
    let public_key = PublicKey::repeat_byte(0xff);
    let node = Neighbour::of(&Enode { public_key, ip, tcp: u16::MAX, udp: u16::MAX });
    let size = |count: usize| {
        let answer = Neighbours { nodes: vec![node; count], expiration: u64::MAX };
        signer.seal(&Packet::Neighbours(answer)).len()
    };
    assert!(size(quintet_discv4::MAX_NEIGHBOURS) <= MAX_PACKET_SIZE);
    assert!(size(quintet_discv4::MAX_NEIGHBOURS + 1) > MAX_PACKET_SIZE);
}

#[test]
fn what_is_no_packet_is_refused() {
    let key = NodeKey::generate();
    let signer = Signer::new(key.clone(), Scheme::SECP256K1);
    let datagram = signer.seal(&Packet::EnrRequest(quintet_discv4::EnrRequest { expiration: 1 }));
    assert_eq!(verify(&datagram).unwrap().sender(), key.public());
    let refusal = |datagram: &[u8]| verify(datagram).unwrap_err();
    for size in [0, 31, 96, 97] {
        assert_eq!(refusal(&datagram[..size]), PacketError::TooSmall);
    }
    assert_eq!(refusal(&[0; 1281]), PacketError::TooBig(1281));
    for index in 0..datagram.len() {
        let mut changed = datagram.clone();
        changed[index] ^= 1;
        assert_eq!(refusal(&changed), PacketError::BadHash, "byte {index}");
    }
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = datagram.clone();
        change(&mut changed);
        let hash = alloy_primitives::keccak256(&changed[32..]);
        changed[..32].copy_from_slice(hash.as_slice());
        verify(&changed)
    };
    assert_eq!(with(&|bytes| bytes[96] = 4).unwrap_err(), PacketError::BadSignature, "no such recovery id");
    assert_eq!(with(&|bytes| bytes[32..96].fill(0xff)).unwrap_err(), PacketError::BadSignature);
    assert_ne!(with(&|bytes| bytes[50] ^= 1).map_or(key.public(), |packet| packet.sender()), PublicKey::ZERO);
    for kind in [0, 7, 255] {
        assert_eq!(with(&|bytes| bytes[97] = kind).unwrap_err(), PacketError::UnknownKind(kind));
    }
    assert!(matches!(with(&|bytes| bytes[97] = 1).unwrap_err(), PacketError::Body(_)), "fields are missing");
    assert!(matches!(with(&|bytes| bytes.truncate(98)).unwrap_err(), PacketError::Body(_)), "no body");
    // Bytes behind the list are nobody's business.
    assert!(with(&|bytes| bytes.extend([1, 2, 3])).is_ok());
}

proptest! {
    #[test]
    fn no_datagram_panics(kind in 0_u8..9, body: Vec<u8>, raw: Vec<u8>) {
        drop(decode(&raw));
        drop(Packet::decode_body(kind, &raw));
        // A list header, so that what follows is looked at.
        let header = [0xf8, u8::try_from(body.len().min(255)).unwrap()];
        drop(Packet::decode_body(kind, &[&header, body.as_slice()].concat()));
        let mut datagram = vec![0; 97];
        datagram.push(kind);
        datagram.extend([header.as_slice(), &body].concat());
        let hash = alloy_primitives::keccak256(&datagram[32..]);
        datagram[..32].copy_from_slice(hash.as_slice());
        drop(verify(&datagram));
        let key = NodeKey::generate();
        let record = RecordBuilder::new(1).sign(&key).unwrap();
        let mut engine = Discv4::new(Config::new(key, record));
        drop(engine.handle_packet(Duration::ZERO, ([9, 9, 9, 9], 9).into(), &datagram));
    }

    #[test]
    fn what_is_written_is_read(udp: u16, tcp: u16, ip: Option<IpAddr>, expiration: u64, enr_seq: Option<u64>) {
        let endpoint = Endpoint { ip: ip.map(|ip| ip.to_canonical()), udp, tcp };
        let public_key = PublicKey::random();
        let node = Neighbour { endpoint, public_key };
        let packets = [
            Packet::Ping(quintet_discv4::Ping { version: 4, from: endpoint, to: endpoint, expiration, enr_seq }),
            Packet::Pong(quintet_discv4::Pong { to: endpoint, ping_hash: B256::random(), expiration, enr_seq }),
            Packet::FindNode(quintet_discv4::FindNode { target: public_key, expiration }),
            Packet::Neighbours(Neighbours { nodes: vec![node; 5], expiration }),
            Packet::EnrRequest(quintet_discv4::EnrRequest { expiration }),
            Packet::EnrResponse(quintet_discv4::EnrResponse { request_hash: B256::random(), record: vec![0xc1, 5] }),
        ];
        for packet in packets {
            let signer = Signer::new(NodeKey::generate(), Scheme::SECP256K1);
            let datagram = Outgoing::Draft(packet.clone()).seal(&signer);
            let read = verify(&datagram).unwrap();
            prop_assert_eq!(read.packet(), &packet);
            prop_assert_eq!(read.sender(), signer.key().public());
        }
    }
}
