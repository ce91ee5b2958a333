//! Nodes to begin with: those of `--bootnodes`, or of the public networks.

use quintet_chainspec::ChainSpec;
use quintet_enode::{Enode, EnodeError, Record, RecordError};
use std::net::IpAddr;

/// Bootnodes of discovery v5 on the public networks: the one table that all of them share.
const V5_RECORDS: &str = include_str!("../res/bootnodes-v5.txt");

/// Nodes to begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bootnodes {
    /// `enode://` URLs, checked; hosts may be names.
    pub urls: Vec<String>,
    /// Records, for either protocol.
    pub records: Vec<Record>,
    /// Records for discovery v5 alone.
    pub v5_records: Vec<Record>,
}

/// A text that is no bootnode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootnodeError {
    /// A URL.
    #[error("bootstrap URL invalid: {url:?}: {source}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        source: EnodeError,
    },
    /// A record.
    #[error("bootstrap record invalid: {text:?}: {source}")]
    Record {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: RecordError,
    },
}

/// Reads URLs and records with commas between them.
///
/// # Errors
/// For the first that is neither.
pub fn parse(text: &str) -> Result<Bootnodes, BootnodeError> {
    let mut bootnodes = Bootnodes::default();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        if part.starts_with("enr:") {
            let record =
                part.parse().map_err(|source| BootnodeError::Record { text: part.to_owned(), source })?;
            bootnodes.records.push(record);
        } else {
            // Names are looked up when the service starts: any address will do here.
            let read = Enode::parse_with(part, |_| Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)));
            read.map_err(|source| BootnodeError::Url { url: part.to_owned(), source })?;
            bootnodes.urls.push(part.to_owned());
        }
    }
    Ok(bootnodes)
}

/// The bootnodes of a public network; none for others.
///
/// # Errors
/// When the table has one that is none.
pub fn of_network(spec: &ChainSpec) -> Result<Bootnodes, BootnodeError> {
    let mut bootnodes = parse(&spec.bootnodes().join(","))?;
    if !bootnodes.urls.is_empty() {
        let lines = V5_RECORDS.lines().filter(|line| line.starts_with("enr:"));
        bootnodes.v5_records = parse(&lines.collect::<Vec<_>>().join(","))?.records;
    }
    Ok(bootnodes)
}

/// Looks names up; what cannot be found is left out, with a warning.
pub(crate) async fn resolve(urls: &[String]) -> Vec<Enode> {
    let mut nodes = Vec::with_capacity(urls.len());
    for url in urls {
        match resolve_one(url).await {
            Ok(node) => nodes.push(node),
            Err(error) => tracing::warn!(url, %error, "Couldn't find bootstrap node"),
        }
    }
    nodes
}

async fn resolve_one(url: &str) -> Result<Enode, EnodeError> {
    let mut host = None;
    let read = Enode::parse_with(url, |name| {
        host = Some(name.to_owned());
        None
    });
    let Some(host) = host else { return read };
    let looked_up = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, 0))).await;
    let addresses: Vec<IpAddr> =
        looked_up.ok().and_then(Result::ok).into_iter().flatten().map(|address| address.ip()).collect();
    let address = addresses.iter().find(|ip| ip.is_ipv4()).or(addresses.first()).copied();
    Enode::parse_with(url, |_| address)
}

/// How long a name may take.
const LOOKUP: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::{of_network, parse, resolve};
    use quintet_chainspec::{ChainSpec, PRESETS};
    use quintet_enode::{Enode, NodeKey, RecordBuilder};
    use std::net::Ipv4Addr;

    #[test]
    fn every_public_network_has_bootnodes() {
        for name in PRESETS {
            let bootnodes = of_network(&ChainSpec::preset(name).expect(name)).expect(name);
            assert!(!bootnodes.urls.is_empty() && bootnodes.v5_records.len() > 5, "{name}");
            let contactable = bootnodes.v5_records.iter().all(|record| record.udp().is_some());
            assert!(contactable, "{name}");
        }
    }

    #[tokio::test]
    async fn urls_and_records_are_told_apart() {
        let key = NodeKey::generate();
        let enode = Enode { public_key: key.public(), ip: Ipv4Addr::LOCALHOST.into(), tcp: 1, udp: 2 };
        let record = RecordBuilder::new(1).udp(3).sign(&key).expect("a record");
        let named = enode.to_string().replace("127.0.0.1", "localhost");
        let bootnodes = parse(&format!("{enode}, {record},,{named}")).expect("three");
        assert_eq!((bootnodes.urls.len(), bootnodes.records), (2, vec![record]));
        assert_eq!(resolve(&bootnodes.urls).await, [enode, enode]);
        let lost = enode.to_string().replace("127.0.0.1", "no-such-host.invalid");
        assert_eq!(resolve(&[lost]).await, []);
    }

    #[test]
    fn what_is_neither_is_named() {
        let error = parse("enode://00@1.2.3.4:5").expect_err("no key").to_string();
        assert!(
            error.starts_with("bootstrap URL invalid: \"enode://00@1.2.3.4:5\": invalid public key"),
            "{error}"
        );
        let error = parse("enr:abc").expect_err("no record").to_string();
        assert!(error.starts_with("bootstrap record invalid: \"enr:abc\""), "{error}");
    }
}
