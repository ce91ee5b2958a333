//! The service's flags, named and worded as geth's where geth has them, and the validated settings that they make.

use crate::bootnodes::{self, BootnodeError, Bootnodes};
use crate::dns::Link;
use crate::error::DiscoveryError;
use crate::nat::{Nat, Search, mapping};
use quintet_chainspec::ChainSpec;
use quintet_enode::Netlist;
use quintet_enode::{IdentityArgs, NodeKey};
use quintet_service::ProcessConfig;
use quintet_service::grpc::GrpcConfig;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The node database in the data directory.
const NODES: &str = "nodes";

/// Everything that `quintet-discovery` can be told.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "quintet-discovery", version, about = "Finds nodes for Quintet (quintet.discovery.v1)")]
#[command(mut_arg("grpc.port", |arg| arg.default_value("9601")))]
pub struct Config {
    /// What every process has.
    #[command(flatten)]
    pub process: ProcessConfig,
    /// Where it serves.
    #[command(flatten)]
    pub grpc: GrpcConfig,
    /// Data directory: the node key and the node database are there; without one, the database is in memory only.
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY", help_heading = "Networking")]
    pub datadir: Option<PathBuf>,
    /// The chain.
    #[command(flatten)]
    pub network: NetworkConfig,
    /// Who the node is, and where.
    #[command(flatten)]
    pub node: IdentityArgs,
    /// How it finds others.
    #[command(flatten)]
    pub discovery: DiscoveryConfig,
}

/// The chain whose nodes are looked for: its bootnodes and DNS lists, and the forks that a node may be at.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Networking")]
pub struct NetworkConfig {
    /// A public network, whose bootnodes and DNS lists are used unless others are given
    #[arg(id = "network", long = "network", value_name = "NAME", conflicts_with = "genesis",
        value_parser = quintet_chainspec::PRESETS)]
    pub network: Option<String>,
    /// geth's genesis.json, whose forks tell which nodes are on the same chain
    #[arg(id = "genesis", long = "genesis", value_name = "FILE")]
    pub genesis: Option<PathBuf>,
}

/// How nodes are found: flags that nobody else has; part of the one-process node's configuration too.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Networking")]
pub struct DiscoveryConfig {
    /// Use a custom UDP port for P2P discovery; that of --port if not given, any free one for 0
    #[arg(id = "discovery.port", long = "discovery.port", value_name = "PORT")]
    pub port: Option<u16>,
    /// Address of the UDP socket; all IPv4 addresses if not given, "::" for all of both kinds
    #[arg(id = "discovery.addr", long = "discovery.addr", value_name = "IP", default_value = "0.0.0.0")]
    pub addr: IpAddr,
    /// Comma separated enode URLs (or enr: records) for P2P discovery bootstrap
    #[arg(id = "bootnodes", long = "bootnodes", value_name = "URLS", value_parser = bootnodes_text)]
    pub bootnodes: Option<String>,
    /// NAT port mapping mechanism (any|none|upnp|pmp|pmp:<IP>|extip:<IP>|stun|stun:<HOST:PORT>)
    #[arg(id = "nat", long = "nat", value_name = "MECHANISM", default_value = "any")]
    pub nat: Nat,
    /// Enables the V4 discovery mechanism
    #[arg(id = "discovery.v4", long = "discovery.v4", alias = "v4disc", value_name = "BOOL",
        default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        action = clap::ArgAction::Set)]
    pub v4: bool,
    /// Enables the V5 discovery mechanism
    #[arg(id = "discovery.v5", long = "discovery.v5", alias = "v5disc", value_name = "BOOL",
        default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true",
        action = clap::ArgAction::Set)]
    pub v5: bool,
    /// Sets DNS discovery entry points (use "" to disable DNS)
    #[arg(id = "discovery.dns", long = "discovery.dns", value_name = "URLS", value_parser = dns_text)]
    pub dns: Option<String>,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            port: None,
            addr: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            bootnodes: None,
            nat: Nat::Any,
            v4: true,
            v5: true,
            dns: None,
        }
    }
}

/// What the service runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node key.
    pub key: NodeKey,
    /// The TCP port that is announced; 0 announces none.
    pub tcp_port: u16,
    /// Where the UDP socket is bound; port 0 takes any free one.
    pub udp: SocketAddr,
    /// Nodes to begin with.
    pub bootnodes: Bootnodes,
    /// How ports are mapped.
    pub nat: mapping::Options,
    /// Networks to talk with; all if none is given.
    pub netrestrict: Option<Netlist>,
    /// Whether discovery v4 runs.
    pub v4: bool,
    /// Whether discovery v5 runs.
    pub v5: bool,
    /// DNS node lists.
    pub dns: Vec<Link>,
    /// DNS servers; those of the system if none are given.
    pub dns_servers: Vec<SocketAddr>,
    /// The file of the node database.
    pub database: Option<PathBuf>,
    /// The chain, where it is known.
    pub spec: Option<ChainSpec>,
}

impl Settings {
    /// Settings from flags. `spec` is the chain that the node runs, if that is known.
    ///
    /// # Errors
    /// When the key cannot be had.
    pub fn new(
        node: &IdentityArgs,
        discovery: &DiscoveryConfig,
        datadir: Option<&Path>,
        spec: Option<ChainSpec>,
    ) -> Result<Self, DiscoveryError> {
        let listed = match (&discovery.bootnodes, &spec) {
            (Some(text), _) => bootnodes::parse(text)?,
            (None, Some(spec)) => bootnodes::of_network(spec)?,
            (None, None) => Bootnodes::default(),
        };
        let dns = match (&discovery.dns, &spec) {
            (Some(text), _) => dns_links(text).map_err(DiscoveryError::Config)?,
            // Found without being asked for: not where nothing is to be found.
            (None, Some(spec)) if !node.nodiscover => {
                spec.dns_node_list().iter().filter_map(|url| url.parse().ok()).collect()
            }
            (None, _) => Vec::new(),
        };
        Ok(Self {
            key: node.key(datadir)?,
            tcp_port: node.port,
            udp: SocketAddr::new(discovery.addr, discovery.port.unwrap_or(node.port)),
            bootnodes: listed,
            nat: mapping::Options {
                nat: discovery.nat.clone(),
                search: Search::default(),
                pace: mapping::Pace::default(),
            },
            netrestrict: node.networks(),
            v4: discovery.v4 && !node.nodiscover,
            v5: discovery.v5 && !node.nodiscover,
            dns,
            dns_servers: Vec::new(),
            database: datadir.map(|datadir| datadir.join(NODES)),
            spec,
        })
    }
}

impl Config {
    /// The settings that the flags make.
    ///
    /// # Errors
    /// When a file cannot be read, or holds something else.
    pub fn settings(&self) -> Result<Settings, DiscoveryError> {
        Settings::new(&self.node, &self.discovery, self.datadir.as_deref(), self.network.spec()?)
    }
}

impl NetworkConfig {
    /// The chain, if one is named.
    ///
    /// # Errors
    /// When a file cannot be read or is no genesis.
    pub fn spec(&self) -> Result<Option<ChainSpec>, DiscoveryError> {
        if let Some(path) = &self.genesis {
            let text = std::fs::read_to_string(path)
                .map_err(|source| DiscoveryError::Read { path: path.clone(), source })?;
            let spec = ChainSpec::from_json(&text);
            return spec.map(Some).map_err(|source| DiscoveryError::Genesis { path: path.clone(), source });
        }
        let preset = self.network.as_deref().map(ChainSpec::preset).transpose();
        preset.map_err(DiscoveryError::Spec)
    }
}

/// Checked when flags are parsed, so that a wrong URL names its flag.
fn bootnodes_text(text: &str) -> Result<String, BootnodeError> {
    bootnodes::parse(text).map(|_| text.to_owned())
}

fn dns_text(text: &str) -> Result<String, String> {
    dns_links(text).map(|_| text.to_owned())
}

fn dns_links(text: &str) -> Result<Vec<Link>, String> {
    let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
    urls.map(|url| url.parse().map_err(|error| format!("invalid enrtree URL {url:?}: {error}"))).collect()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
