//! Flags as users write them, and what they mean.

use super::{Config, Settings};
use quintet_enode::NodeKey;
use quintet_service::config::{ConfigError, parse};
use std::net::SocketAddr;

const KEY: &str = "b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291";

fn settings(flags: &[&str]) -> Settings {
    let args = ["quintet-discovery", "--nodekeyhex", KEY].iter().chain(flags).copied();
    parse::<Config>(args).expect("valid flags").settings().expect("valid settings")
}

fn refused(flags: &[&str]) -> String {
    let args = ["quintet-discovery"].iter().chain(flags).copied();
    let error: ConfigError = parse::<Config>(args).expect_err("wrong flags");
    error.to_string()
}

#[test]
fn defaults_are_geths() {
    let settings = settings(&[]);
    assert_eq!(settings.udp, SocketAddr::from(([0, 0, 0, 0], 30_303)));
    assert_eq!((settings.tcp_port, settings.v4, settings.v5), (30_303, true, true));
    assert_eq!((settings.nat.nat.to_string().as_str(), settings.netrestrict), ("any", None));
    assert!(settings.bootnodes.urls.is_empty() && settings.dns.is_empty() && settings.database.is_none());
    assert_eq!(settings.key.to_hex(), KEY);
}

#[test]
fn a_public_network_brings_its_nodes() {
    let mainnet = settings(&["--network", "mainnet"]);
    assert_eq!((mainnet.bootnodes.urls.len(), mainnet.dns.len()), (4, 1));
    assert_eq!(mainnet.dns[0].domain, "all.mainnet.ethdisco.net");
    assert!(!mainnet.bootnodes.v5_records.is_empty());
    let without = settings(&["--network", "mainnet", "--bootnodes", "", "--discovery.dns", ""]);
    assert_eq!(without.bootnodes, super::Bootnodes::default());
    assert!(without.dns.is_empty() && without.spec.is_some());
}

#[test]
fn ports_and_protocols_are_chosen() {
    assert_eq!(settings(&["--port", "1234"]).udp.port(), 1234);
    let chosen = settings(&["--port", "1", "--discovery.port", "2", "--discovery.addr", "::1"]);
    assert_eq!((chosen.tcp_port, chosen.udp), (1, SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 2))));
    let protocols = |flags: &[&str]| {
        let settings = settings(flags);
        (settings.v4, settings.v5)
    };
    assert_eq!(protocols(&["--discovery.v4=false"]), (false, true));
    assert_eq!(protocols(&["--v5disc=false", "--v4disc"]), (true, false));
    assert_eq!(protocols(&["--nodiscover", "--discovery.v5"]), (false, false));
    assert!(settings(&["--nodiscover", "--network", "mainnet"]).dns.is_empty());
}

#[test]
fn the_key_file_is_made_in_the_data_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let read = || {
        let config: Config = parse(["quintet-discovery", "--datadir", path]).expect("valid flags");
        config.settings().expect("valid settings")
    };
    let settings = read();
    assert_eq!(NodeKey::load(&folder.path().join("nodekey")).expect("a key").public(), settings.key.public());
    assert_eq!(settings.database, Some(folder.path().join("nodes")));
    assert_eq!(read().key.public(), settings.key.public());
}

#[test]
fn wrong_values_name_their_flags() {
    for (flags, says) in [
        (&["--nat", "magic"][..], "unknown mechanism \"magic\" (set by --nat, by QUINTET_NAT"),
        (&["--nat", "extip"], "missing IP address"),
        (&["--netrestrict", "10.0.0.0"], "invalid CIDR address: 10.0.0.0"),
        (&["--bootnodes", "enode://00@1.2.3.4:5"], "bootstrap URL invalid"),
        (&["--discovery.dns", "enr:abc"], "wrong/missing scheme 'enrtree' in URL"),
        (&["--discovery.port", "70000"], "QUINTET_DISCOVERY_PORT"),
        (&["--discovery.addr", "localhost"], "--discovery.addr"),
        (&["--network", "morden"], "--network"),
        (&["--nodekeyhex", "00", "--nodekey", "file"], "cannot be used with"),
    ] {
        let error = refused(flags);
        assert!(error.contains(says), "{flags:?}: {error}");
    }
    let config: Config = parse(["quintet-discovery", "--nodekeyhex", "00"]).expect("valid flags");
    let error = config.settings().expect_err("no key").to_string();
    let says =
        "node key (--nodekey, --nodekeyhex or nodekey in --datadir): invalid private key: want 64 hex digits";
    assert_eq!(error, says);
}
