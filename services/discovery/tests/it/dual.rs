//! A node that listens on `::` meets nodes of IPv4 and of IPv6, over either protocol, on one port.

use crate::node::{DEADLINE, Node, settings};
use quintet_discovery::Settings;
use quintet_discovery_api::Protocol;
use quintet_enode::Enode;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const PROTOCOLS: [(&str, Protocol); 2] = [("v4", Protocol::Discv4), ("v5", Protocol::Discv5)];

/// Whether this machine has IPv6; if not, says that a test is left out.
fn has_ipv6() -> bool {
    match UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => true,
        Err(error) => {
            println!("SKIPPED: no IPv6 loopback on this machine: {error}");
            false
        }
    }
}

fn settings_at(ip: IpAddr, protocols: &str, bootnodes: &[String]) -> Settings {
    let mut settings = settings(protocols, bootnodes);
    settings.udp.set_ip(ip);
    settings
}

/// Settings of a node on all addresses of both kinds, whose record has both loopback addresses.
fn on_all_addresses() -> Settings {
    let mut settings = settings_at(Ipv6Addr::UNSPECIFIED.into(), "v4 v5", &[]);
    settings.nat.nat = "extip:::1".parse().expect("a mechanism");
    settings
}

/// Waits until the node's record has the address that it was told.
async fn has_ipv6_address(node: &Node) {
    let told = async {
        while node.discovery.record().ip6().is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, told).await.expect("an address in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_both_kinds_meet_a_node_on_all_addresses() {
    if !has_ipv6() {
        return;
    }
    for (name, protocol) in PROTOCOLS {
        let dual = Node::start(on_all_addresses()).await;
        has_ipv6_address(&dual).await;
        let own = dual.enode();
        let mut peers = Vec::new();
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            // v4 is told an address of its kind, v5 finds its own in the record.
            let bootnode = match protocol {
                Protocol::Discv4 => Enode { ip, ..own }.to_string(),
                Protocol::Discv5 => dual.discovery.record().to_string(),
            };
            peers.push(Node::start(settings_at(ip, name, &[bootnode])).await);
        }
        for peer in &peers {
            peer.wait_for_lookup(dual.id(), protocol).await;
            dual.wait_for_lookup(peer.id(), protocol).await;
        }
        let table = dual.client.table().await.expect("a table");
        let kinds = table.iter().filter(|entry| entry.last_pong.is_some());
        let kinds: Vec<_> = kinds.filter_map(|entry| entry.node.enode.parse::<Enode>().ok()).collect();
        assert!(kinds.iter().any(|node| node.ip.is_ipv4()), "{name}: {kinds:?}");
        assert!(kinds.iter().any(|node| node.ip.is_ipv6()), "{name}: {kinds:?}");
        for node in peers.into_iter().chain([dual]) {
            node.stop().await;
        }
    }
}
