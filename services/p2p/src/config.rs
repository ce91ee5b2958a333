//! The service's flags, named as geth's where geth has them, and the validated settings that they make.

use crate::error::P2pError;
use crate::limits::Limits;
use crate::nodes;
use quintet_enode::{Enode, IdentityArgs, Netlist, NodeKey};
use quintet_service::ProcessConfig;
use quintet_service::config::ConfigError;
use quintet_service::grpc::GrpcConfig;
use std::path::{Path, PathBuf};

/// The lists of nodes in the data directory.
const STATIC_NODES: &str = "static-nodes.json";
const TRUSTED_NODES: &str = "trusted-nodes.json";
/// As geth's.
const DEFAULT_MAX_PEERS: usize = 50;
const DEFAULT_MAX_PENDING: usize = 50;
/// One peer of this many is dialled by us.
const DEFAULT_DIAL_RATIO: usize = 3;
/// What an operator may add to the client's name.
const MAX_IDENTITY: usize = 64;

/// Everything that `quintet-p2p` can be told.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "quintet-p2p",
    version,
    about = "Holds the sessions with peers for Quintet (quintet.p2p.v1)"
)]
#[command(mut_arg("grpc.port", |arg| arg.default_value("9602")))]
pub struct Config {
    /// What every process has.
    #[command(flatten)]
    pub process: ProcessConfig,
    /// Where it serves.
    #[command(flatten)]
    pub grpc: GrpcConfig,
    /// Address of the chain service.
    #[arg(id = "chain.url", long = "chain.url", value_name = "URL", help_heading = "Services")]
    pub chain_url: String,
    /// Address of the discovery service; without it only static nodes are dialled.
    #[arg(id = "discovery.url", long = "discovery.url", value_name = "URL", help_heading = "Services")]
    pub discovery_url: Option<String>,
    /// Data directory: the node key, static-nodes.json and trusted-nodes.json are there.
    #[arg(id = "datadir", long = "datadir", value_name = "DIRECTORY", help_heading = "Networking")]
    pub datadir: Option<PathBuf>,
    /// Who the node is, and where.
    #[command(flatten)]
    pub node: IdentityArgs,
    /// Its peers.
    #[command(flatten)]
    pub peers: PeersConfig,
}

/// The node's peers: flags that nobody else has; part of the one-process node's configuration too.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Networking")]
pub struct PeersConfig {
    /// Address on which peers are listened for; all addresses if not given.
    #[arg(id = "p2p.addr", long = "p2p.addr", value_name = "HOST", default_value = "0.0.0.0")]
    pub addr: String,
    /// Most peers; 0 switches the network off.
    #[arg(id = "maxpeers", long = "maxpeers", value_name = "NUMBER", default_value_t = DEFAULT_MAX_PEERS)]
    pub max_peers: usize,
    /// Most connections whose handshakes are under way; 0 takes the default.
    #[arg(id = "maxpendpeers", long = "maxpendpeers", value_name = "NUMBER", default_value_t = 0)]
    pub max_pending: usize,
    /// One peer of this many is dialled, the others dial; 0 takes the default of 3.
    #[arg(id = "dialratio", long = "dialratio", value_name = "NUMBER", default_value_t = 0)]
    pub dial_ratio: usize,
    /// A name of this node, told to peers.
    #[arg(id = "identity", long = "identity", value_name = "NAME", value_parser = identity)]
    pub identity: Option<String>,
    /// Nodes that are dialled until they answer: enode URLs, separated by commas. Those of static-nodes.json are added.
    #[arg(id = "staticnodes", long = "staticnodes", value_name = "URLS", value_parser = nodes_text)]
    pub static_nodes: Option<String>,
    /// Nodes that may connect beyond --maxpeers: enode URLs, separated by commas. Those of trusted-nodes.json are added.
    #[arg(id = "trustednodes", long = "trustednodes", value_name = "URLS", value_parser = nodes_text)]
    pub trusted_nodes: Option<String>,
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self {
            addr: "0.0.0.0".to_owned(),
            max_peers: DEFAULT_MAX_PEERS,
            max_pending: 0,
            dial_ratio: 0,
            identity: None,
            static_nodes: None,
            trusted_nodes: None,
        }
    }
}

/// Checked when flags are parsed, so that a wrong URL names its flag.
fn nodes_text(text: &str) -> Result<String, String> {
    nodes::list(text).map(|_| text.to_owned())
}

fn identity(text: &str) -> Result<String, String> {
    if text.len() > MAX_IDENTITY {
        return Err(format!("{} bytes, at most {MAX_IDENTITY} are allowed", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("control characters are not allowed".to_owned());
    }
    Ok(text.to_owned())
}

/// What the service runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node key; instance k of several has the k-th key that is derived from it.
    pub key: NodeKey,
    /// Address on which peers are listened for.
    pub addr: String,
    /// Port on which they are; 0 takes any free one.
    pub port: u16,
    /// Most peers but for trusted ones; 0 switches the network off.
    pub max_peers: usize,
    /// Most connections whose handshakes are under way.
    pub max_pending: usize,
    /// Most peers that we dialled.
    pub max_dialled: usize,
    /// Whether what discovery finds is dialled.
    pub discover: bool,
    /// Networks that peers may be in.
    pub netrestrict: Option<Netlist>,
    /// The client's name, told to peers.
    pub name: String,
    /// Nodes that are dialled until they answer.
    pub static_nodes: Vec<Enode>,
    /// Nodes that may connect beyond the limit.
    pub trusted_nodes: Vec<Enode>,
    /// Times and sizes.
    pub limits: Limits,
}

impl Settings {
    /// What these flags and the files in `datadir` say. Without a key and a directory to keep it in, the node has a new
    /// key each time.
    ///
    /// # Errors
    /// When the key or a file of nodes cannot be used.
    pub fn load(node: &IdentityArgs, peers: &PeersConfig, datadir: Option<&Path>) -> Result<Self, P2pError> {
        let mut static_nodes = from_flag("staticnodes", peers.static_nodes.as_deref())?;
        let mut trusted_nodes = from_flag("trustednodes", peers.trusted_nodes.as_deref())?;
        if let Some(datadir) = datadir {
            static_nodes.extend(nodes::file(&datadir.join(STATIC_NODES))?);
            trusted_nodes.extend(nodes::file(&datadir.join(TRUSTED_NODES))?);
        }
        let or_default = |value, default| if value == 0 { default } else { value };
        Ok(Self {
            key: node.key(datadir)?,
            addr: peers.addr.clone(),
            port: node.port,
            max_peers: peers.max_peers,
            max_pending: or_default(peers.max_pending, DEFAULT_MAX_PENDING),
            max_dialled: max_dialled(peers.max_peers, or_default(peers.dial_ratio, DEFAULT_DIAL_RATIO)),
            discover: !node.nodiscover,
            // A variable that is set to nothing is as good as none.
            netrestrict: node.networks(),
            name: client_name(peers.identity.as_deref()),
            static_nodes,
            trusted_nodes,
            limits: Limits::default(),
        })
    }

    /// Those of a node without peers.
    pub fn offline() -> Self {
        Self {
            key: NodeKey::generate(),
            addr: "127.0.0.1".to_owned(),
            port: 0,
            max_peers: 0,
            max_pending: 1,
            max_dialled: 0,
            discover: false,
            netrestrict: None,
            name: client_name(None),
            static_nodes: Vec::new(),
            trusted_nodes: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// The peers that we dial: a share of all, and one at least.
const fn max_dialled(max_peers: usize, ratio: usize) -> usize {
    match max_peers.checked_div(ratio) {
        _ if max_peers == 0 => 0,
        None | Some(0) => 1,
        Some(share) => share,
    }
}

fn from_flag(flag: &str, text: Option<&str>) -> Result<Vec<Enode>, P2pError> {
    let text = text.unwrap_or_default();
    nodes::list(text).map_err(|reason| ConfigError::wrong_value(flag, text, &reason).into())
}

/// The client's name in geth's form: `Quintet/<identity>/v<version>/<os>-<arch>/rust<version>`.
fn client_name(identity: Option<&str>) -> String {
    let arch = match std::env::consts::ARCH {
        // Go's names.
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let identity = identity.filter(|identity| !identity.is_empty());
    let identity = identity.map(|identity| format!("{identity}/")).unwrap_or_default();
    let (version, os) = (quintet_service::info::VERSION, std::env::consts::OS);
    format!("Quintet/{identity}v{version}/{os}-{arch}/rust{}", env!("CARGO_PKG_RUST_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::{Config, Settings, max_dialled};
    use quintet_enode::{Enode, NodeKey};
    use quintet_service::config::parse;

    fn config(flags: &[&str]) -> Result<Config, String> {
        let always = ["quintet-p2p", "--chain.url", "http://127.0.0.1:9603"];
        parse(always.into_iter().chain(flags.iter().copied())).map_err(|error| error.to_string())
    }

    fn settings(flags: &[&str]) -> Settings {
        let config = config(flags).expect("valid flags");
        Settings::load(&config.node, &config.peers, config.datadir.as_deref()).expect("valid settings")
    }

    fn url() -> String {
        let public_key = NodeKey::generate().public();
        Enode { public_key, ip: [10, 0, 0, 1].into(), tcp: 30303, udp: 30303 }.to_string()
    }

    #[test]
    fn defaults_are_those_of_geth() {
        let settings = settings(&[]);
        assert_eq!((settings.max_peers, settings.max_pending, settings.max_dialled), (50, 50, 16));
        assert_eq!((settings.port, settings.discover), (30303, true));
        let empty =
            self::settings(&["--netrestrict", "", "--nodekeyhex", "", "--staticnodes", "", "--identity", ""]);
        assert!(empty.netrestrict.is_none() && empty.static_nodes.is_empty() && empty.name == settings.name);
        let name: Vec<_> = settings.name.split('/').collect();
        assert!(
            matches!(name[..], ["Quintet", version, _, rust] if version.starts_with('v') && rust.starts_with("rust1.")),
            "{name:?}"
        );
    }

    #[test]
    fn a_share_of_the_peers_is_dialled() {
        assert_eq!(
            [(0, 3), (1, 3), (2, 3), (50, 3), (50, 1), (10, 0)]
                .map(|(peers, ratio)| max_dialled(peers, ratio)),
            [0, 1, 1, 16, 50, 1]
        );
    }

    #[test]
    fn the_data_directory_has_key_and_nodes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_str().expect("text");
        let [flag, file, trusted] = [url(), url(), url()];
        std::fs::write(folder.path().join("static-nodes.json"), format!("[\"{file}\"]")).expect("written");
        std::fs::write(folder.path().join("trusted-nodes.json"), format!("[\"{trusted}\"]"))
            .expect("written");
        let first = settings(&["--datadir", path, "--staticnodes", &flag, "--identity", "lab"]);
        assert!(first.name.starts_with("Quintet/lab/v"), "{}", first.name);
        let urls = |nodes: &[Enode]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            (urls(&first.static_nodes), urls(&first.trusted_nodes)),
            (vec![flag, file], vec![trusted])
        );
        assert_eq!(settings(&["--datadir", path]).key, first.key);
        assert_eq!(NodeKey::load(&folder.path().join("nodekey")).expect("kept"), first.key);
        let hex = NodeKey::generate().to_hex();
        assert_eq!(settings(&["--datadir", path, "--nodekeyhex", &hex]).key.to_hex(), hex);
    }

    #[test]
    fn wrong_values_name_their_flag() {
        for (flag, value, part) in [
            ("--netrestrict", "10.0.0.0", "invalid CIDR address"),
            ("--staticnodes", "enode://00@1.2.3.4:1", "wrong length"),
            ("--identity", "a\nb", "control"),
            ("--maxpeers", "many", "invalid digit"),
        ] {
            let error = config(&[flag, value]).expect_err("wrong");
            assert!(error.contains(flag) && error.contains(part), "{error}");
        }
        let short = config(&["--nodekeyhex", "00"]).expect("parses");
        let error = Settings::load(&short.node, &short.peers, None).expect_err("no key").to_string();
        assert!(error.contains("--nodekeyhex") && error.contains("64 hex digits"), "{error}");
    }
}
