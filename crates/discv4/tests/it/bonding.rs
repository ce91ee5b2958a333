//! Endpoint proofs, questions and answers with one peer: the ordinary course of things.

use crate::peer::{MILLISECOND, Peer, START, Subject, enr_request, enr_response, find_node, pong, with_seq};
use quintet_discv4::{
    Action, BOND_EXPIRATION, NodeFacts, Packet, PongSeen, RESPONSE_TIMEOUT, Rejected, RequestError,
    SEED_MIN_TABLE_TIME, SETTLE_TIME, Unverified, decode,
};
use quintet_enode::{Enode, PublicKey, RecordBuilder};
use std::net::IpAddr;
use std::time::Duration;

#[test]
fn a_ping_is_answered_and_asked_back_and_the_pong_puts_its_sender_into_the_table() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.hears(&peer, &peer.ping(&subject)).unwrap();
    let sent = subject.sent_to(&peer);
    let [(Packet::Pong(answer), _), (Packet::Ping(ping), hash)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((answer.to.ip, answer.to.udp), (Some(peer.addr.ip()), peer.addr.port()));
    assert_eq!((answer.enr_seq, ping.enr_seq, ping.to.udp), (Some(1), Some(1), peer.addr.port()));
    assert_eq!((ping.from.ip, ping.from.udp), (Some(subject.addr.ip()), subject.addr.port()));
    assert!(subject.engine.table().is_empty(), "it proved nothing yet");

    subject.pass(100 * MILLISECOND);
    subject.hears(&peer, &pong(&subject, *hash)).unwrap();
    let actions = subject.actions();
    assert!(
        actions.iter().any(|action| matches!(action, Action::NodeVerified(node) if *node == peer.enode()))
    );
    assert!(actions.iter().any(|action| matches!(action, Action::NodeAdded(node) if *node == peer.enode())));
    let stated = actions.iter().find_map(|action| match action {
        Action::EndpointStatement { by, endpoint } => Some((*by, *endpoint)),
        _ => None,
    });
    assert_eq!(stated, Some((peer.addr, subject.addr)));
    let facts = actions.iter().find_map(|action| match action {
        Action::Persist(facts) => Some(facts.clone()),
        _ => None,
    });
    let (ping_at, pong_at) = (Some(START), Some(START + 100 * MILLISECOND));
    let facts = facts.unwrap();
    assert_eq!((facts.enode, facts.last_ping, facts.last_pong), (peer.enode(), ping_at, pong_at));
    assert!(!facts.seed, "it just came");
    assert_eq!(subject.engine.table().closest(&peer.enode().node_id(), 16, true).len(), 1);
}

#[test]
fn a_proof_holds_for_a_day_and_then_is_asked_for_again() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.bonds_with(&peer);
    let target = PublicKey::repeat_byte(9);
    subject.hears(&peer, &find_node(&subject, target)).unwrap();
    assert!(matches!(subject.sent_to(&peer)[..], [(Packet::Neighbours(_), _)]));
    assert!(subject.engine.is_bonded(subject.now, peer.enode().node_id(), peer.addr.ip()));

    subject.now += BOND_EXPIRATION;
    assert!(!subject.engine.is_bonded(subject.now, peer.enode().node_id(), peer.addr.ip()));
    assert_eq!(subject.hears(&peer, &find_node(&subject, target)), Err(Rejected::Unproved));
    subject.hears(&peer, &peer.ping(&subject)).unwrap();
    assert!(matches!(subject.sent_to(&peer)[..], [(Packet::Pong(_), _), (Packet::Ping(_), _)]));
}

#[test]
fn our_record_is_told_and_may_be_replaced() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.bonds_with(&peer);
    let next = subject.engine.record().next().tcp(9).sign(subject.engine.signer().key()).unwrap();
    subject.engine.set_record(next.clone());
    subject.now += Duration::from_secs(1);
    let request = enr_request(&subject);
    subject.hears(&peer, &request).unwrap();
    let sent = subject.sent_to(&peer);
    let [(Packet::EnrResponse(answer), _)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(answer.record, next.encode());
    assert_eq!(answer.request_hash, verify_hash(&peer, &request));
    subject.hears(&peer, &peer.ping(&subject)).unwrap();
    let sent = subject.sent_to(&peer);
    let [(Packet::Pong(pong), _)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(pong.enr_seq, Some(2));
}

fn verify_hash(peer: &Peer, packet: &Packet) -> alloy_primitives::B256 {
    decode(&peer.signer.seal(packet)).map(|packet: Unverified| packet.hash()).unwrap()
}

#[test]
fn a_callers_ping_ends_with_an_answer_or_in_time() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    let id = subject.engine.ping(subject.now, peer.enode()).unwrap();
    let [(Packet::Ping(_), hash)] = subject.sent_to(&peer)[..] else { panic!() };
    subject.now += 30 * MILLISECOND;
    subject.hears(&peer, &pong(&subject, hash)).unwrap();
    let ends = |subject: &mut Subject| {
        let actions = subject.actions().into_iter().filter_map(|action| match action {
            Action::PingFinished { id, pong, .. } => Some((id, pong)),
            _ => None,
        });
        actions.collect::<Vec<_>>()
    };
    let seen = PongSeen { round_trip: 30 * MILLISECOND, enr_seq: None };
    assert_eq!(ends(&mut subject), [(id, Some(seen))]);

    let id = subject.engine.ping(subject.now, peer.enode()).unwrap();
    subject.pass(499 * MILLISECOND);
    assert!(ends(&mut subject).is_empty());
    subject.pass(MILLISECOND);
    assert_eq!(ends(&mut subject), [(id, None)]);
    assert_eq!(subject.engine.load().0, 0, "nothing is waited for");
}

#[test]
fn who_cannot_be_asked_is_not_asked() {
    let mut subject = Subject::with(|config| config.netrestrict = Some("51.0.0.0/8".parse().unwrap()));
    let peer = Peer::new(1).enode();
    let own = Enode { public_key: subject.engine.signer().key().public(), ..peer };
    let elsewhere = Enode { ip: "60.0.0.1".parse().unwrap(), ..peer };
    let cases = [own, Enode { udp: 0, ..peer }, Enode::incomplete(peer.public_key), elsewhere];
    for node in cases {
        assert_eq!(subject.engine.ping(START, node), Err(RequestError::NotReachable), "{node}");
        assert!(!subject.engine.add_node(START, node), "{node}");
    }
    assert!(subject.engine.add_node(START, peer));
    let stranger = Peer::at("60.0.0.1".parse().unwrap());
    assert_eq!(subject.hears(&stranger, &stranger.ping(&subject)), Err(Rejected::NotAllowed));
}

#[test]
fn a_question_waits_for_the_proof_of_where_we_are() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    let id = subject.engine.resolve_enr(subject.now, peer.enode()).unwrap();
    let [(Packet::Ping(_), hash)] = subject.sent_to(&peer)[..] else { panic!() };
    subject.hears(&peer, &with_seq(pong(&subject, hash), 5)).unwrap();
    assert!(subject.sent_to(&peer).is_empty(), "it may ping us first");
    // Its ping ends the wait, but for the time that our pong needs.
    subject.hears(&peer, &with_seq(peer.ping(&subject), 5)).unwrap();
    assert!(matches!(subject.sent_to(&peer)[..], [(Packet::Pong(_), _)]));
    subject.pass(SETTLE_TIME);
    let sent = subject.sent_to(&peer);
    let Some((Packet::EnrRequest(_), request)) = sent.last() else { panic!("{sent:?}") };
    let record = peer.record(5);
    subject.hears(&peer, &enr_response(*request, &record)).unwrap();
    let resolved = subject.actions().into_iter().find_map(|action| match action {
        Action::RecordResolved { id, record, .. } => Some((id, record)),
        _ => None,
    });
    assert_eq!(resolved, Some((Some(id), Some(record))));

    // A node that was proved to already does not ping: the wait ends by itself.
    let other = Peer::new(2);
    subject.engine.resolve_enr(subject.now, other.enode()).unwrap();
    let [(Packet::Ping(_), hash)] = subject.sent_to(&other)[..] else { panic!() };
    subject.hears(&other, &with_seq(pong(&subject, hash), 1)).unwrap();
    subject.pass(RESPONSE_TIMEOUT);
    assert!(subject.sent_to(&other).iter().any(|(packet, _)| matches!(packet, Packet::EnrRequest(_))));
}

#[test]
fn a_newer_record_of_a_node_in_the_table_is_fetched() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.hears(&peer, &peer.ping(&subject)).unwrap();
    let [_, (Packet::Ping(_), hash)] = subject.sent_to(&peer)[..] else { panic!() };
    subject.hears(&peer, &with_seq(pong(&subject, hash), 3)).unwrap();
    let [(Packet::EnrRequest(_), request)] = subject.sent_to(&peer)[..] else { panic!() };
    // The record says another port than the one that we saw.
    let moved = RecordBuilder::new(3).ip(peer.addr.ip()).udp(40404).tcp(1).sign(peer.signer.key()).unwrap();
    subject.hears(&peer, &enr_response(request, &moved)).unwrap();
    let known = subject.engine.table().get(&peer.enode().node_id()).unwrap();
    assert_eq!((known.seq(), known.enode.udp, known.enode.tcp, known.liveness_checks), (3, 40404, 1, 0));
}

#[test]
fn a_node_of_two_addresses_stays_at_the_one_where_it_was_met() {
    let addresses: [IpAddr; 2] = ["60.0.0.1".parse().unwrap(), "2600:1::1".parse().unwrap()];
    for met in addresses {
        let (mut subject, peer) = (Subject::new(), Peer::at(met));
        subject.hears(&peer, &peer.ping(&subject)).unwrap();
        let [_, (Packet::Ping(_), hash)] = subject.sent_to(&peer)[..] else { panic!() };
        subject.hears(&peer, &with_seq(pong(&subject, hash), 3)).unwrap();
        let [(Packet::EnrRequest(_), request)] = subject.sent_to(&peer)[..] else { panic!() };
        let both = RecordBuilder::new(3).ip(addresses[0]).ip(addresses[1]).udp(peer.addr.port());
        let both = both.sign(peer.signer.key()).unwrap();
        subject.hears(&peer, &enr_response(request, &both)).unwrap();
        let known = subject.engine.table().get(&peer.enode().node_id()).unwrap();
        assert_eq!((known.seq(), known.enode.udp_addr(), known.liveness_checks), (3, peer.addr, 1));
    }
}

#[test]
fn who_says_of_no_newer_record_is_not_asked_for_one() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    let resolved = |actions: Vec<Action>| {
        let ends = actions.into_iter().map(|action| match action {
            Action::RecordResolved { id, record, .. } => (id, record.map(|record| record.seq())),
            Action::Send { datagram, .. } => panic!("sent {}", datagram.name()),
            _ => (None, None),
        });
        ends.filter(|(id, _)| id.is_some()).collect::<Vec<_>>()
    };
    // It said no number.
    subject.bonds_with(&peer);
    let id = subject.engine.resolve_enr(subject.now, peer.enode()).unwrap();
    assert_eq!(resolved(subject.actions()), [(Some(id), None)]);
    // It says one: it is asked once, and then no more.
    subject.hears(&peer, &with_seq(peer.ping(&subject), 4)).unwrap();
    subject.actions();
    subject.engine.resolve_enr(subject.now, peer.enode()).unwrap();
    let [(Packet::EnrRequest(_), request)] = subject.sent_to(&peer)[..] else { panic!() };
    subject.hears(&peer, &enr_response(request, &peer.record(4))).unwrap();
    subject.actions();
    let id = subject.engine.resolve_enr(subject.now, peer.enode()).unwrap();
    assert_eq!(resolved(subject.actions()), [(Some(id), Some(4))]);

    // One that was not heard is pinged first; its pong, which says nothing, ends the question.
    let other = Peer::new(2);
    let id = subject.engine.resolve_enr(subject.now, other.enode()).unwrap();
    let [(Packet::Ping(_), hash)] = subject.sent_to(&other)[..] else { panic!() };
    subject.hears(&other, &pong(&subject, hash)).unwrap();
    assert_eq!(resolved(subject.actions()), [(Some(id), None)]);
    assert_eq!(subject.engine.load().0, 0, "nothing is waited for");
}

#[test]
fn silent_nodes_leave_the_table() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.bonds_with(&peer);
    let mut removed = None;
    for _ in 0..40 {
        subject.pass(RESPONSE_TIMEOUT);
        removed = subject.actions().into_iter().find_map(|action| match action {
            Action::NodeRemoved(node) => Some(node),
            _ => None,
        });
        if removed.is_some() {
            break;
        }
    }
    assert_eq!(removed, Some(peer.enode()));
    assert!(subject.engine.table().is_empty());
}

#[test]
fn what_is_persisted_is_restored() {
    let (mut subject, peer) = (Subject::new(), Peer::new(1));
    subject.bonds_with(&peer);
    let facts = answers_checks(&mut subject, &peer, SEED_MIN_TABLE_TIME + Duration::from_mins(1));
    assert!(facts.seed && facts.last_pong > Some(START + SEED_MIN_TABLE_TIME));

    let mut again = Subject::with(|_| {});
    again.now = facts.last_pong.unwrap();
    again.engine.restore(&facts);
    assert!(again.engine.add_node(again.now, facts.enode));
    // It needs no new proof, neither from it nor of us.
    again.hears(&peer, &find_node(&again, PublicKey::ZERO)).unwrap();
    assert!(matches!(again.sent_to(&peer)[..], [(Packet::Neighbours(_), _)]));
    again.engine.lookup(again.now, PublicKey::ZERO).unwrap();
    assert!(matches!(again.sent_to(&peer)[..], [(Packet::FindNode(_), _)]));
}

/// Answers the engine's pings for a while. The last facts that it told.
fn answers_checks(subject: &mut Subject, peer: &Peer, time: Duration) -> NodeFacts {
    let (end, mut last) = (subject.now + time, None);
    while subject.now < end {
        subject.pass(250 * MILLISECOND);
        let actions = subject.actions();
        for action in actions {
            match action {
                Action::Send { datagram, .. } => {
                    let packet = decode(&datagram.seal(&subject.engine.signer())).unwrap();
                    if matches!(packet.packet(), Packet::Ping(_)) {
                        subject.hears(peer, &pong(subject, packet.hash())).unwrap();
                    }
                }
                Action::Persist(facts) => last = Some(facts),
                Action::NodeRemoved(node) => panic!("{node} answered every check"),
                _ => {}
            }
        }
    }
    last.unwrap()
}
