//! Nodes of ours that find each other on loopback, each with one socket.

use crate::fakes::dns;
use crate::node::{DEADLINE, Node, id_of, settings, settings_in};
use alloy_primitives::B256;
use futures::StreamExt as _;
use quintet_discovery_api::{EnrEntry, ErrorKind, NodeRecord, Protocol};
use quintet_enode::{ForkHash, ForkId, NodeKey, Record, RecordBuilder};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

const COUNT: usize = 20;

/// Nodes that all know the first one find all others.
async fn find_each_other(protocols: &str, protocol: Protocol) {
    let first = Node::start(settings(protocols, &[])).await;
    let mut nodes = Vec::new();
    for _ in 1..COUNT {
        nodes.push(Node::start(settings(protocols, &first.bootnodes())).await);
    }
    nodes.push(first);
    let ids: BTreeSet<_> = nodes.iter().map(Node::id).collect();
    let all = futures::future::join_all(nodes.iter().map(|node| {
        let others = ids.iter().copied().filter(|id| *id != node.id()).collect();
        node.wait_for(others)
    }));
    for candidate in all.await.into_iter().flatten() {
        assert_eq!(candidate.found_by, protocol);
        let record = Record::decode(&candidate.node.enr).expect("a record");
        assert_eq!(record.node_id(), id_of(&candidate.node.enode));
    }
    // A lookup finds the closest of all to any target.
    let target = B256::random();
    let mut expected: Vec<_> = ids.iter().copied().filter(|id| *id != nodes[3].id()).collect();
    expected.sort_by_key(|id| *id ^ target);
    let looking = async {
        loop {
            let found = nodes[3].client.lookup(target, protocol).await.expect("a lookup");
            let found: Vec<_> = found.iter().map(|node| id_of(&node.enode)).collect();
            // On a busy machine some do not answer in time.
            if found.get(..8) == Some(&expected[..8]) {
                return;
            }
        }
    };
    timeout(DEADLINE, looking).await.expect("the closest");
    let table = nodes[3].client.table().await.expect("a table");
    assert!(table.len() >= COUNT / 2 && table.is_sorted_by_key(|entry| entry.distance), "{table:?}");
    assert!(table.iter().any(|entry| entry.last_pong.is_some()), "{table:?}");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_nodes_find_each_other_over_v4() {
    find_each_other("v4", Protocol::Discv4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_nodes_find_each_other_over_v5() {
    find_each_other("v5", Protocol::Discv5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_find_each_other_over_both_on_one_socket() {
    let one = Node::start(settings("v4 v5", &[])).await;
    // The URL alone: v5 learns the record from v4.
    let two = Node::start(settings("v4 v5", &one.bootnodes()[..1])).await;
    for protocol in [Protocol::Discv4, Protocol::Discv5] {
        two.wait_for_lookup(one.id(), protocol).await;
        one.wait_for_lookup(two.id(), protocol).await;
    }
    // What is of neither protocol changes nothing.
    let address = one.discovery.udp_address().expect("a socket");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    for length in [0, 1, 62, 63, 98, 99, 500, 1280, 1281, 5000] {
        let noise: Vec<u8> = (0..length).map(|_| rand::random()).collect();
        socket.send_to(&noise, address).await.expect("sent");
    }
    // A new record reaches others over either protocol.
    let entry = EnrEntry { key: "quintet".to_owned(), value: vec![0x2a].into() };
    let sequence = one.client.set_enr_entries(vec![entry]).await.expect("a valid entry");
    let own = one.client.local_node().await.expect("a record");
    assert_eq!((own.sequence, own.record.enode), (sequence, one.enode().to_string()));
    assert_eq!(Record::decode(&own.record.enr).expect("a record").entry("quintet"), Some(&[0x2a][..]));
    for (protocols, protocol) in [("v4", Protocol::Discv4), ("v5", Protocol::Discv5)] {
        let three = Node::start(settings(protocols, &one.bootnodes())).await;
        let found = three.wait_for([one.id()].into()).await;
        let candidate = found.iter().find(|found| id_of(&found.node.enode) == one.id()).expect("found");
        assert_eq!(candidate.found_by, protocol);
        let record = Record::decode(&candidate.node.enr).expect("a record");
        assert_eq!((record.seq(), record.entry("quintet")), (sequence, Some(&[0x2a][..])));
        three.stop().await;
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_are_of_the_chain_that_was_asked_for() {
    let ours = ForkId { hash: ForkHash([1, 2, 3, 4]), next: 0 };
    let others = ForkId { hash: ForkHash([4, 3, 2, 1]), next: 0 };
    let middle = Node::start(settings("v4", &[])).await;
    let mut nodes = Vec::new();
    for fork_id in [Some(ours), Some(others), None] {
        let node = Node::start(settings("v4", &middle.bootnodes())).await;
        if let Some(fork_id) = fork_id {
            let record = RecordBuilder::new(1).fork_id(fork_id).sign(&NodeKey::generate()).expect("a record");
            let value = record.entry("eth").expect("an entry").to_vec().into();
            let entry = EnrEntry { key: "eth".to_owned(), value };
            node.client.set_enr_entries(vec![entry]).await.expect("a valid entry");
        }
        nodes.push(node);
    }
    let seeker = Node::start(settings("v4", &middle.bootnodes())).await;
    let mut all = seeker.client.candidates(None).await.expect("a stream");
    let mut filtered = seeker.client.candidates(Some((ours.hash.0, ours.next))).await.expect("a stream");
    let mut of_chain = BTreeSet::new();
    let mut unfiltered = BTreeSet::new();
    let waiting = async {
        while unfiltered.len() < 4 || of_chain.len() < 3 {
            tokio::select! {
                Some(Ok(found)) = all.next() => unfiltered.insert(id_of(&found.node.enode)),
                Some(Ok(found)) = filtered.next() => of_chain.insert(id_of(&found.node.enode)),
            };
        }
    };
    timeout(DEADLINE, waiting).await.expect("in time");
    assert!(unfiltered.contains(&nodes[1].id()) && !of_chain.contains(&nodes[1].id()));
    assert!(of_chain.contains(&nodes[0].id()) && of_chain.contains(&nodes[2].id()));
    // Open streams end with the service.
    seeker.stop().await;
    assert!(timeout(DEADLINE, filtered.count()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_knows_whom_it_met() {
    let folder = tempfile::tempdir().expect("a folder");
    for (protocols, protocol) in [("v4", Protocol::Discv4), ("v5", Protocol::Discv5)] {
        let datadir = folder.path().join(protocols);
        let other = Node::start(settings(protocols, &[])).await;
        let node = Node::start(settings_in(Some(&datadir), protocols, &other.bootnodes())).await;
        node.wait_for([other.id()].into()).await;
        let before = node.discovery.record();
        node.stop().await;

        let node = Node::start(settings_in(Some(&datadir), protocols, &[])).await;
        let after = node.discovery.record();
        assert_eq!((after.node_id(), after.seq()), (before.node_id(), before.seq() + 1));
        node.wait_for_lookup(other.id(), protocol).await;
        node.stop().await;
        other.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_from_dns_lists() {
    let records: Vec<_> = (1..=5_u16)
        .map(|port| {
            let builder = RecordBuilder::new(1).ip([127, 0, 0, 1].into()).tcp(port).udp(port);
            builder.sign(&NodeKey::generate()).expect("a record")
        })
        .collect();
    let texts: Vec<_> = records.iter().map(ToString::to_string).collect();
    let (url, texts) = dns::publish("nodes.example.org", &texts);
    let (server, _task) = dns::start(texts).await;
    let mut settings = settings("", &[]);
    settings.dns = vec![url.parse().expect("a list")];
    settings.dns_servers = vec![server];
    let node = Node::start(settings).await;
    node.wait_for(records.iter().map(Record::node_id).collect()).await;
    // Later streams have them too, without the protocols, of which none runs.
    node.wait_for(records.iter().map(Record::node_id).collect()).await;
    let error = node.client.lookup(B256::ZERO, Protocol::Discv4).await.expect_err("not running");
    assert_eq!(error.kind, ErrorKind::FailedPrecondition);
    assert!(node.discovery.udp_address().is_none());
    assert_eq!(node.discovery.record().udp(), None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_added_and_wrong_requests_refused() {
    let (one, two) = (Node::start(settings("v4", &[])).await, Node::start(settings("v4", &[])).await);
    let record = |enode: String, enr: Vec<u8>| NodeRecord { enr: enr.into(), enode };
    let own = two.discovery.record();
    assert_eq!(one.client.add_node(record(String::new(), own.encode().to_vec())).await, Ok(true));
    assert_eq!(
        one.client.add_node(record(two.enode().to_string(), Vec::new())).await,
        Ok(false),
        "there already"
    );
    let verified = async {
        while !one.client.table().await.expect("a table").iter().any(|entry| entry.last_pong.is_some()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, verified).await.expect("an endpoint proof");
    for (wrong, says) in [
        (record("enode://00@127.0.0.1:1".to_owned(), Vec::new()), "invalid enode: "),
        (record(String::new(), vec![0xc0]), "invalid record: "),
        (record(one.enode().to_string(), own.encode().to_vec()), "the record and the URL are of two nodes"),
        (NodeRecord::default(), "node record without ENR and enode URL"),
    ] {
        let error = one.client.add_node(wrong).await.expect_err(says);
        assert_eq!(error.kind, ErrorKind::InvalidArgument);
        assert!(error.message.contains(says), "{error}");
    }
    let reserved = EnrEntry { key: "ip".to_owned(), value: vec![1].into() };
    let error = one.client.set_enr_entries(vec![reserved]).await.expect_err("reserved");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::InvalidArgument, "entry \"ip\" is set by the node itself")
    );
    let error = one.client.lookup(B256::ZERO, Protocol::Discv5).await.expect_err("not running");
    assert_eq!(error.kind, ErrorKind::FailedPrecondition);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restricted_nodes_talk_with_their_networks_only() {
    for (networks, is_met) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let mut restricted = settings("v4 v5", &[]);
        restricted.netrestrict = Some(networks.parse().expect("networks"));
        let restricted = Node::start(restricted).await;
        let v4 = Node::start(settings("v4", &restricted.bootnodes()[..1])).await;
        let v5 = Node::start(settings("v5", &restricted.bootnodes()[1..])).await;
        let met = async {
            let known = |table: &[quintet_discovery_api::TableEntry], node: &Node| {
                table.iter().any(|entry| id_of(&entry.node.enode) == node.id() && entry.last_pong.is_some())
            };
            loop {
                // Both of them try, again and again.
                let _ = tokio::join!(
                    v4.client.lookup(B256::random(), Protocol::Discv4),
                    v5.client.lookup(B256::random(), Protocol::Discv5)
                );
                let table = restricted.client.table().await.expect("a table");
                if known(&table, &v4) && known(&table, &v5) {
                    return;
                }
                assert!(is_met || table.is_empty(), "{table:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let wait = if is_met { DEADLINE } else { Duration::from_secs(2) };
        assert_eq!(timeout(wait, met).await.is_ok(), is_met);
        for node in [restricted, v4, v5] {
            node.stop().await;
        }
    }
}
