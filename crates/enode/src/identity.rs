//! Who a node is, and where: the flags that discovery and p2p have in common.

use crate::{KeyError, Netlist, NodeKey};
use std::path::{Path, PathBuf};

/// The node key's file in the data directory.
const NODE_KEY: &str = "nodekey";

/// Who a node is, and where.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Networking")]
pub struct IdentityArgs {
    /// Network listening port, for peers over TCP; 0 takes any free one
    #[arg(id = "port", long = "port", value_name = "PORT", default_value_t = 30303)]
    pub port: u16,
    /// P2P node key file; made if it is not there. In the data directory if not given
    #[arg(id = "nodekey", long = "nodekey", value_name = "FILE")]
    pub nodekey: Option<PathBuf>,
    /// P2P node key as hex (for testing)
    #[arg(id = "nodekeyhex", long = "nodekeyhex", value_name = "HEX", conflicts_with = "nodekey")]
    pub nodekeyhex: Option<String>,
    /// Disables the peer discovery mechanism (manual peer addition)
    #[arg(id = "nodiscover", long = "nodiscover")]
    pub nodiscover: bool,
    /// Restricts network communication to the given IP networks (CIDR masks)
    #[arg(id = "netrestrict", long = "netrestrict", value_name = "CIDRS")]
    pub netrestrict: Option<Netlist>,
}

impl Default for IdentityArgs {
    fn default() -> Self {
        Self { port: 30303, nodekey: None, nodekeyhex: None, nodiscover: false, netrestrict: None }
    }
}

impl IdentityArgs {
    /// The node key: the one given, or that of the file given, or that of the data directory; with none of them a new one, which
    /// is gone with the process.
    ///
    /// # Errors
    /// When the key or its file cannot be used.
    pub fn key(&self, datadir: Option<&Path>) -> Result<NodeKey, KeyError> {
        if let Some(hex) = self.nodekeyhex.as_ref().filter(|hex| !hex.is_empty()) {
            return NodeKey::from_hex(hex);
        }
        let given = self.nodekey.clone().filter(|file| !file.as_os_str().is_empty());
        match given.or_else(|| datadir.map(|datadir| datadir.join(NODE_KEY))) {
            Some(file) => NodeKey::load_or_create(&file),
            None => Ok(NodeKey::generate()),
        }
    }

    /// The networks that are spoken with; all if none is given.
    pub fn networks(&self) -> Option<Netlist> {
        self.netrestrict.clone().filter(|networks| !networks.is_empty())
    }
}
