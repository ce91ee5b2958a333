//! Packets of bad will: each is dropped for the right reason, gets no answer, and leaves the engine small.

use crate::peer::{
    MILLISECOND, Peer, START, Subject, enr_request, enr_response, find_node, neighbours, pong, with_seq,
};
use quintet_discv4::{
    Action, BUCKET_SUBNET_LIMIT, FindNode, MAX_QUERIES, MAX_TASKS, Neighbour, Neighbours, Packet,
    PacketError, RESPONSE_TIMEOUT, Rejected, TABLE_SUBNET_LIMIT, decode,
};
use quintet_enode::{Enode, NodeKey, PublicKey};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Whether anything was sent to the peer since it was asked last.
fn is_silent(subject: &mut Subject, peer: &Peer) -> bool {
    subject.sent_to(peer).is_empty()
}

#[test]
fn no_answer_before_the_endpoint_proof() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    let questions = |subject: &Subject| [find_node(subject, PublicKey::ZERO), enr_request(subject)];
    for question in questions(&subject) {
        assert_eq!(subject.hears(&peer, &question), Err(Rejected::Unproved));
    }
    // A ping alone proves nothing, whoever sends it.
    subject.hears(&peer, &peer.ping(&subject)).unwrap();
    subject.actions();
    for question in questions(&subject) {
        assert_eq!(subject.hears(&peer, &question), Err(Rejected::Unproved));
    }
    assert!(is_silent(&mut subject, &peer));
    // A proof is for a key at an address: not for another key there, nor for the key elsewhere.
    subject.bonds_with(&Peer::at(Ipv4Addr::new(52, 0, 0, 1).into()));
    let neighbour = Peer::at(Ipv4Addr::new(52, 0, 0, 1).into());
    assert_eq!(subject.hears(&neighbour, &enr_request(&subject)), Err(Rejected::Unproved));
    let elsewhere = Peer { addr: ([53, 0, 0, 1], 30303).into(), ..peer };
    assert_eq!(subject.hears(&elsewhere, &enr_request(&subject)), Err(Rejected::Unproved));
}

#[test]
fn answers_are_not_larger_than_the_protocol_makes_them() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    let ping = peer.ping(&subject);
    let question = peer.signer.seal(&ping).len();
    subject.hears(&peer, &ping).unwrap();
    let signer = subject.engine.signer();
    let sizes = subject.actions().into_iter().filter_map(|action| match action {
        Action::Send { datagram, .. } => Some(datagram.seal(&signer).len()),
        _ => None,
    });
    let sizes: Vec<_> = sizes.collect();
    assert_eq!(sizes.len(), 2, "a pong, and a ping of our own");
    assert!(sizes.iter().sum::<usize>() < 3 * question, "{sizes:?} for {question}");
}

#[test]
fn void_and_repeated_packets_get_nothing() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.bonds_with(&peer);
    let packets = [peer.ping(&subject), find_node(&subject, PublicKey::ZERO), enr_request(&subject)];
    subject.now += Duration::from_secs(1);
    for packet in &packets[1..] {
        subject.hears(&peer, packet).unwrap();
        assert!(!is_silent(&mut subject, &peer));
    }
    for packet in &packets[1..] {
        assert_eq!(subject.hears(&peer, packet), Err(Rejected::Replayed));
        let repeated = decode(&peer.signer.seal(packet)).unwrap();
        let screened = subject.engine.screen(subject.now, peer.addr, repeated);
        assert_eq!(screened.unwrap_err(), Rejected::Replayed, "before its signer is looked for");
    }
    subject.hears(&peer, &packets[0]).unwrap();
    assert!(matches!(subject.sent_to(&peer)[..], [(Packet::Pong(_), _)]), "no more than a pong");
    subject.now += Duration::from_secs(21);
    for packet in &packets {
        assert_eq!(subject.hears(&peer, packet), Err(Rejected::Expired));
    }
    assert!(is_silent(&mut subject, &peer));
}

#[test]
fn times_are_read_with_a_sign() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.bonds_with(&peer);
    let question = |expiration| Packet::FindNode(FindNode { target: PublicKey::ZERO, expiration });
    let farthest = i64::MAX.unsigned_abs();
    for past in [0, farthest + 1, subject.expiration().wrapping_neg(), u64::MAX] {
        assert_eq!(subject.hears(&peer, &question(past)), Err(Rejected::Expired), "{past}");
    }
    assert!(is_silent(&mut subject, &peer));
    subject.hears(&peer, &question(farthest)).unwrap();
    assert!(!is_silent(&mut subject, &peer));
}

#[test]
fn a_wrong_hash_is_seen_before_anything_else() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    let mut datagram = peer.signer.seal(&peer.ping(&subject));
    datagram[0] ^= 1;
    let refused = subject.engine.handle_packet(START, peer.addr, &datagram);
    assert_eq!(refused, Err(Rejected::Packet(PacketError::BadHash)));
    assert!(is_silent(&mut subject, &peer));
}

#[test]
fn answers_to_nothing_are_dropped() {
    let (mut subject, peer, other) = (Subject::new(), Peer::new(1), Peer::new(2));
    subject.bonds_with(&peer);
    let named = [other.enode()];
    let answers = [
        pong(&subject, alloy_primitives::B256::repeat_byte(1)),
        neighbours(&subject, &named),
        enr_response(alloy_primitives::B256::repeat_byte(1), &peer.record(9)),
    ];
    for answer in &answers {
        assert_eq!(subject.hears(&peer, answer), Err(Rejected::Unsolicited));
    }
    // Nor does one node answer for another, though it knows the hash.
    subject.engine.ping(subject.now, other.enode()).unwrap();
    let [(Packet::Ping(_), hash)] = subject.sent_to(&other)[..] else { panic!() };
    assert_eq!(subject.hears(&peer, &pong(&subject, hash)), Err(Rejected::Unsolicited));
    // And no answer counts twice, or late.
    subject.hears(&other, &pong(&subject, hash)).unwrap();
    assert_eq!(subject.hears(&other, &pong(&subject, hash)), Err(Rejected::Unsolicited));
    subject.engine.ping(subject.now + MILLISECOND, peer.enode()).unwrap();
    subject.actions();
    subject.pass(RESPONSE_TIMEOUT + MILLISECOND);
    assert_eq!(subject.hears(&peer, &neighbours(&subject, &named)), Err(Rejected::Unsolicited));
    assert!(subject.engine.table().get(&other.enode().node_id()).is_none());
}

#[test]
fn too_many_neighbours_and_impossible_ones_are_not_taken() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.bonds_with(&peer);
    let lookup = subject.engine.lookup(subject.now, PublicKey::ZERO).unwrap();
    subject.actions();
    let honest: Vec<_> = (10..30).map(|number| Peer::new(number).enode()).collect();
    let with = |ip: &str, udp: u16| Enode { ip: ip.parse().unwrap(), udp, ..Peer::new(40).enode() };
    let impossible = [
        with("10.0.0.1", 30303),
        with("127.0.0.1", 30303),
        with("0.0.0.0", 30303),
        with("224.0.0.1", 30303),
        with("192.0.2.1", 30303),
        with("60.0.0.1", 1024),
        Enode { public_key: PublicKey::repeat_byte(1), ..with("60.0.0.1", 30303) },
        Enode { public_key: subject.engine.signer().key().public(), ..with("60.0.0.1", 30303) },
    ];
    subject.hears(&peer, &neighbours(&subject, &impossible)).unwrap();
    subject.hears(&peer, &neighbours(&subject, &honest[..8])).unwrap();
    // The answer is complete: sixteen were named.
    assert_eq!(subject.hears(&peer, &neighbours(&subject, &honest[8..])), Err(Rejected::Unsolicited));
    let (mut seen, mut ended) = (Vec::new(), false);
    for _ in 0..20 {
        for action in subject.actions() {
            match action {
                Action::NodeSeen(node) if !ended => seen.push(node),
                Action::LookupFinished(result) if result.id == lookup => {
                    ended = true;
                    assert_eq!(result.nodes, [peer.enode()], "the others do not answer");
                }
                _ => {}
            }
        }
        subject.pass(RESPONSE_TIMEOUT);
    }
    seen.sort_by_key(Enode::node_id);
    let mut expected = honest[..8].to_vec();
    expected.sort_by_key(Enode::node_id);
    assert_eq!(seen, expected);
    assert!(ended);
}

#[test]
fn more_than_sixteen_in_one_packet_are_cut() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.bonds_with(&peer);
    subject.engine.lookup(subject.now, PublicKey::ZERO).unwrap();
    subject.actions();
    // No datagram can carry so many; the engine does not rely on it.
    let nodes = (10..60).map(|number| Neighbour::of(&Peer::new(number).enode())).collect();
    let answer = Packet::Neighbours(Neighbours { nodes, expiration: subject.expiration() });
    let hash = alloy_primitives::B256::repeat_byte(1);
    let packet = quintet_discv4::Verified::trusted(answer, peer.key(), hash);
    subject.engine.handle(subject.now, peer.addr, packet).unwrap();
    let seen = subject.actions().into_iter().filter(|action| matches!(action, Action::NodeSeen(_))).count();
    assert_eq!(seen, 16);
}

#[test]
fn a_record_of_another_node_is_refused() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.bonds_with(&peer);
    subject.hears(&peer, &with_seq(peer.ping(&subject), 9)).unwrap();
    subject.actions();
    let id = subject.engine.resolve_enr(subject.now, peer.enode()).unwrap();
    let [(Packet::EnrRequest(_), hash)] = subject.sent_to(&peer)[..] else { panic!() };
    let forged = enr_response(hash, &Peer::new(2).record(9));
    assert!(matches!(subject.hears(&peer, &forged), Err(Rejected::Record(_))));
    let resolved = subject.actions().into_iter().find_map(|action| match action {
        Action::RecordResolved { id, record, .. } => Some((id, record)),
        _ => None,
    });
    assert_eq!(resolved, Some((Some(id), None)));
    assert_eq!(subject.engine.table().get(&peer.enode().node_id()).unwrap().seq(), 0);
}

#[test]
fn one_subnet_cannot_take_the_table() {
    let mut subject = Subject::with(|config| config.limits.unproved = u32::MAX);
    for number in 0..400_u32 {
        let peer = Peer::at(Ipv4Addr::new(60, 0, 0, u8::try_from(number % 250).unwrap()).into());
        subject.bonds_with(&peer);
        subject.now += MILLISECOND;
    }
    let table = subject.engine.table();
    let all: usize = table.buckets().map(|(nodes, waiting)| nodes.len() + waiting.len()).sum();
    assert!(table.len() > 2 && all <= TABLE_SUBNET_LIMIT, "{all}");
    assert!(table.buckets().all(|(nodes, waiting)| nodes.len() + waiting.len() <= BUCKET_SUBNET_LIMIT));
    // Others find room.
    let honest: Vec<_> = (0..20).map(Peer::new).collect();
    for peer in &honest {
        subject.bonds_with(peer);
    }
    let known = honest.iter().filter(|peer| subject.engine.table().get(&peer.enode().node_id()).is_some());
    assert_eq!(known.count(), honest.len());
}

#[test]
fn pings_before_the_first_refresh_do_not_fill_the_table() {
    let boot = Peer::new(9);
    let mut subject = Subject::with(|config| config.bootnodes = vec![boot.enode()]);
    let peer = Peer::new(1);
    subject.bonds_with(&peer);
    assert!(subject.engine.table().get(&peer.enode().node_id()).is_none());
    // The bootnode does not answer; the refresh ends all the same.
    subject.pass(RESPONSE_TIMEOUT);
    subject.pass(RESPONSE_TIMEOUT);
    subject.hears(&peer, &peer.ping(&subject)).unwrap();
    assert!(subject.engine.table().get(&peer.enode().node_id()).is_some());
}

#[test]
fn an_address_that_floods_is_not_listened_to() {
    let mut subject = Subject::new();
    let flood = Ipv4Addr::new(60, 0, 0, 1).into();
    let heard = |subject: &mut Subject| {
        let heard = (0..100).filter(|_| {
            let peer = Peer::at(flood);
            let ping = peer.ping(subject);
            match subject.hears(&peer, &ping) {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error, Rejected::RateLimited);
                    false
                }
            }
        });
        heard.count()
    };
    assert_eq!(heard(&mut subject), 20);
    assert_eq!(heard(&mut subject), 0);
    subject.now += Duration::from_millis(500);
    assert_eq!(heard(&mut subject), 10);
    let other = Peer::new(1);
    subject.hears(&other, &other.ping(&subject)).unwrap();
}

#[test]
fn a_flood_from_forged_addresses_leaves_room_for_our_own_questions() {
    let mut subject = Subject::new();
    let friend = Peer::new(1);
    subject.bonds_with(&friend);
    let key = NodeKey::generate();
    let forger = Peer { addr: friend.addr, signer: quintet_discv4::Signer::new(key, friend.signer.scheme()) };
    let ping = decode(&forger.signer.seal(&forger.ping(&subject))).unwrap().packet().clone();
    let mut pings = 0;
    for number in 0..50_000_u32 {
        let hash = alloy_primitives::B256::left_padding_from(&number.to_be_bytes());
        let sender = forger.key();
        let packet = quintet_discv4::Verified::trusted(ping.clone(), sender, hash);
        let from = (IpAddr::from(Ipv4Addr::from(0x4000_0000 + number)), 30303).into();
        subject.engine.handle(subject.now, from, packet).unwrap();
        pings += sent(&mut subject).get("ping").copied().unwrap_or_default();
    }
    let (tasks, ..) = subject.engine.load();
    assert_eq!((pings, tasks), (MAX_TASKS / 2, MAX_TASKS / 2));
    assert!(subject.engine.resolve_enr(subject.now, friend.enode()).is_ok());
    // When nobody polls, packets are dropped rather than kept.
    let mut accepted = 0_usize;
    for number in 0..40_000_u32 {
        let hash = alloy_primitives::B256::right_padding_from(&number.to_be_bytes());
        let packet = quintet_discv4::Verified::trusted(ping.clone(), forger.key(), hash);
        let from = (IpAddr::from(Ipv4Addr::from(0x5000_0000 + number)), 30303).into();
        match subject.engine.handle(subject.now, from, packet) {
            Ok(()) => accepted += 1,
            Err(error) => assert_eq!(error, Rejected::Busy),
        }
    }
    assert!(accepted < 17_000, "{accepted}");
    assert!(subject.engine.load().2 < 17_000);
}

fn sent(subject: &mut Subject) -> HashMap<&'static str, usize> {
    let mut counts = HashMap::new();
    for action in subject.actions() {
        if let Action::Send { datagram, .. } = action {
            *counts.entry(datagram.name()).or_default() += 1;
        }
    }
    counts
}

#[test]
fn liars_who_name_ever_more_nodes_do_not_keep_a_lookup() {
    let (mut subject, liar) = (Subject::new(), Peer::new(1));
    subject.bonds_with(&liar);
    let lookup = subject.engine.lookup(subject.now, PublicKey::ZERO).unwrap();
    let mut liars: HashMap<_, _> = HashMap::from([(liar.addr, liar)]);
    let mut next = 100_u32;
    let mut finished = None;
    for _ in 0..2_000 {
        let actions = subject.actions();
        for action in actions {
            match action {
                Action::LookupFinished(result) => finished = Some(result),
                Action::Send { to, datagram } if liars.contains_key(&to) => {
                    let packet = decode(&datagram.seal(&subject.engine.signer())).unwrap();
                    let answer = match packet.packet() {
                        Packet::Ping(_) => pong(&subject, packet.hash()),
                        Packet::FindNode(_) => {
                            let named: Vec<_> = (next..next + 14).map(Peer::new).collect();
                            next += 14;
                            let enodes: Vec<_> = named.iter().map(Peer::enode).collect();
                            let answer = neighbours(&subject, &enodes);
                            liars.extend(named.into_iter().map(|peer| (peer.addr, peer)));
                            answer
                        }
                        _ => continue,
                    };
                    subject.hears(&liars[&to], &answer).ok();
                }
                _ => {}
            }
        }
        if finished.is_some() {
            break;
        }
        subject.pass(RESPONSE_TIMEOUT / 2);
    }
    let result = finished.expect("the lookup ends");
    assert!(result.id == lookup && result.queries <= MAX_QUERIES && result.nodes.len() == 16);
    assert!(subject.engine.table().len() <= 17 * 16);
}
