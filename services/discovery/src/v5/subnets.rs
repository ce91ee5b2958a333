//! How many nodes of one network may be in the table of discovery v5: as many as in that of v4.
//!
//! The limit that the crate has counts the addresses of local networks, too, so that a node would know but two of a bucket of
//! its neighbours at home; it lets IPv6 through.

use alloy_primitives::B256;
use discv5::Enr;
use quintet_discv4::{BUCKET_SUBNET_LIMIT, TABLE_SUBNET_LIMIT, log_distance};
use quintet_enode::{is_lan, subnet};
use std::net::IpAddr;

/// The bits of an address that name its network.
const SUBNET_BITS: u32 = 24;

/// Whether the table of the node `local` has enough nodes of the network of `enr` besides it.
pub(super) fn is_crowded(local: &B256, enr: &Enr, table: &[Enr]) -> bool {
    let bucket = |enr: &Enr| log_distance(local, &B256::from(enr.node_id().raw()));
    addresses(enr).filter(|ip| !is_lan(*ip)).any(|ip| {
        let network = subnet(ip, SUBNET_BITS);
        let neighbours = table.iter().filter(|other| {
            other.node_id() != enr.node_id() && addresses(other).any(|ip| subnet(ip, SUBNET_BITS) == network)
        });
        let near = neighbours.clone().filter(|other| bucket(other) == bucket(enr));
        near.count() >= BUCKET_SUBNET_LIMIT || neighbours.count() >= TABLE_SUBNET_LIMIT
    })
}

fn addresses(enr: &Enr) -> impl Iterator<Item = IpAddr> {
    [enr.ip4().map(IpAddr::from), enr.ip6().map(IpAddr::from)].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::{is_crowded, log_distance};
    use alloy_primitives::B256;
    use discv5::Enr;
    use discv5::enr::CombinedKey;
    use quintet_discv4::{BUCKET_SUBNET_LIMIT, TABLE_SUBNET_LIMIT};
    use std::net::IpAddr;

    /// A node at an address, in a given bucket of the node zero or in any but that.
    fn node(ip: &str, distance: usize, is_there: bool) -> Enr {
        let ip: IpAddr = ip.parse().expect("an address");
        loop {
            let key = CombinedKey::generate_secp256k1();
            let enr = Enr::builder().ip(ip).build(&key).expect("a record");
            if (log_distance(&B256::ZERO, &B256::from(enr.node_id().raw())) == distance) == is_there {
                return enr;
            }
        }
    }

    #[test]
    fn a_network_has_few_nodes_in_a_bucket_and_in_the_table() {
        for (ip, neighbour, stranger) in
            [("60.0.0.1", "60.0.0.250", "60.0.1.1"), ("2600:1::1", "2600:ff::1", "2601::1")]
        {
            let joining = node(ip, 256, true);
            let mut table = vec![joining.clone()];
            for _ in 0..BUCKET_SUBNET_LIMIT {
                assert!(!is_crowded(&B256::ZERO, &joining, &table), "{ip}");
                table.push(node(neighbour, 256, true));
                table.push(node(stranger, 256, true));
            }
            assert!(is_crowded(&B256::ZERO, &joining, &table), "{ip}");
            table.retain(|other| other.ip4() == joining.ip4() && other.ip6() == joining.ip6());
            for _ in 0..TABLE_SUBNET_LIMIT {
                assert!(!is_crowded(&B256::ZERO, &joining, &table), "{ip}");
                table.push(node(neighbour, 256, false));
            }
            assert!(is_crowded(&B256::ZERO, &joining, &table), "{ip}");
        }
    }

    #[test]
    fn local_networks_have_as_many_as_they_like() {
        for ip in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "fe80::1"] {
            let table: Vec<_> = (0..TABLE_SUBNET_LIMIT).map(|_| node(ip, 256, true)).collect();
            assert!(!is_crowded(&B256::ZERO, &node(ip, 256, true), &table), "{ip}");
        }
    }
}
