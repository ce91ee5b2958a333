//! What the gateway is configured with, by geth's flags. Checked as a whole before a socket is bound.

mod access;

pub(crate) use access::Access;
pub use access::{AccessConfig, AdminRpcConfig};

use crate::auth::{KeysError, SecretError};
use clap::{ArgAction, Args};
use quintet_service::config::duration;
use std::collections::BTreeSet;
use std::time::Duration;

/// Modules that a gateway can offer.
pub const MODULES: [&str; 10] =
    ["admin", "clique", "debug", "eth", "miner", "net", "personal", "rpc", "txpool", "web3"];

/// geth's modules for the world, unless flags say otherwise.
pub const DEFAULT_MODULES: [&str; 3] = ["eth", "net", "web3"];
/// geth's port for HTTP.
pub const DEFAULT_HTTP_PORT: u16 = 8545;
/// geth's port for WebSocket.
pub const DEFAULT_WS_PORT: u16 = 8546;
/// Where the admin RPC server customarily is.
pub const DEFAULT_ADMIN_PORT: u16 = 8550;
/// Modules that a public gateway offers on its admin RPC port only.
const ADMIN_MODULES: [&str; 4] = ["admin", "debug", "miner", "personal"];

/// The gateway's flags.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "API and console")]
pub struct GatewayConfig {
    /// Enable the HTTP-RPC server.
    #[arg(id = "http", long = "http", action = ArgAction::SetTrue)]
    pub http: bool,
    /// HTTP-RPC server listening interface.
    #[arg(id = "http.addr", long = "http.addr", value_name = "ADDRESS", default_value = "localhost")]
    pub http_addr: String,
    /// HTTP-RPC server listening port.
    #[arg(id = "http.port", long = "http.port", value_name = "PORT", default_value_t = DEFAULT_HTTP_PORT)]
    pub http_port: u16,
    /// Modules offered over the HTTP-RPC interface.
    #[arg(id = "http.api", long = "http.api", value_name = "MODULES", value_delimiter = ',', default_values = DEFAULT_MODULES)]
    pub http_api: Vec<String>,
    /// Domains from which to accept cross origin requests (browser enforced).
    #[arg(id = "http.corsdomain", long = "http.corsdomain", value_name = "DOMAINS", value_delimiter = ',')]
    pub http_corsdomain: Vec<String>,
    /// Virtual hostnames from which to accept requests (server enforced). Accepts the '*' wildcard.
    #[arg(
        id = "http.vhosts",
        long = "http.vhosts",
        value_name = "HOSTS",
        value_delimiter = ',',
        default_value = "localhost"
    )]
    pub http_vhosts: Vec<String>,
    /// HTTP path prefix on which JSON-RPC is served. Use '/' to serve on all paths.
    #[arg(id = "http.rpcprefix", long = "http.rpcprefix", value_name = "PREFIX", default_value = "")]
    pub http_rpcprefix: String,
    /// Enable the WS-RPC server.
    #[arg(id = "ws", long = "ws", action = ArgAction::SetTrue)]
    pub ws: bool,
    /// WS-RPC server listening interface.
    #[arg(id = "ws.addr", long = "ws.addr", value_name = "ADDRESS", default_value = "localhost")]
    pub ws_addr: String,
    /// WS-RPC server listening port; with that of HTTP, one port serves both.
    #[arg(id = "ws.port", long = "ws.port", value_name = "PORT", default_value_t = DEFAULT_WS_PORT)]
    pub ws_port: u16,
    /// Modules offered over the WS-RPC interface.
    #[arg(id = "ws.api", long = "ws.api", value_name = "MODULES", value_delimiter = ',', default_values = DEFAULT_MODULES)]
    pub ws_api: Vec<String>,
    /// Origins from which to accept websockets requests.
    #[arg(id = "ws.origins", long = "ws.origins", value_name = "ORIGINS", value_delimiter = ',')]
    pub ws_origins: Vec<String>,
    /// HTTP path prefix on which JSON-RPC is served over WebSocket. Use '/' to serve on all paths.
    #[arg(id = "ws.rpcprefix", long = "ws.rpcprefix", value_name = "PREFIX", default_value = "")]
    pub ws_rpcprefix: String,
    /// Limits of requests.
    #[command(flatten)]
    pub limits: LimitsConfig,
    /// Who may call, and how much.
    #[command(flatten)]
    pub access: AccessConfig,
    /// The port for those who run the node.
    #[command(flatten)]
    pub admin_rpc: AdminRpcConfig,
    /// Whether the HTTP and WebSocket servers face the world: modules with which the node is run are then refused on
    /// them, and methods that change it left out. Not a flag: a gateway that is a process of its own does.
    #[arg(skip)]
    pub public_only: bool,
}

/// How much a request may cost.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "API and console")]
pub struct LimitsConfig {
    /// A cap on gas that can be used in eth_call and estimateGas (0=infinite).
    #[arg(id = "rpc.gascap", long = "rpc.gascap", value_name = "GAS", default_value_t = 50_000_000)]
    pub gas_cap: u64,
    /// Timeout of eth_call (0=infinite).
    #[arg(id = "rpc.evmtimeout", long = "rpc.evmtimeout", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub evm_timeout: Duration,
    /// A cap on the transaction fee, in ether, that can be sent via the RPC APIs (0 = no cap).
    #[arg(id = "rpc.txfeecap", long = "rpc.txfeecap", value_name = "ETHER", default_value_t = 1.0)]
    pub tx_fee_cap: f64,
    /// Allow transactions without replay protection (EIP-155) to be submitted.
    #[arg(id = "rpc.allow-unprotected-txs", long = "rpc.allow-unprotected-txs", action = ArgAction::SetTrue)]
    pub allow_unprotected: bool,
    /// Maximum number of requests in a batch (0 = no limit).
    #[arg(
        id = "rpc.batch-request-limit",
        long = "rpc.batch-request-limit",
        value_name = "REQUESTS",
        default_value_t = 1000
    )]
    pub batch_requests: usize,
    /// Maximum number of bytes returned from a batched call (0 = no limit).
    #[arg(
        id = "rpc.batch-response-max-size",
        long = "rpc.batch-response-max-size",
        value_name = "BYTES",
        default_value_t = 25_000_000
    )]
    pub batch_response_bytes: usize,
    /// Maximum number of blocks in the range of a log query (0 = no limit).
    #[arg(id = "rpc.rangelimit", long = "rpc.rangelimit", value_name = "BLOCKS", default_value_t = 0)]
    pub range_limit: u64,
    /// Recent blocks held in memory, with what they changed.
    #[arg(id = "gateway.overlay", long = "gateway.overlay", value_name = "BLOCKS", default_value_t = 128)]
    pub overlay: usize,
    /// Megabytes for cached state, blocks and answers.
    #[arg(id = "gateway.cache", long = "gateway.cache", value_name = "MEGABYTES", default_value_t = 256)]
    pub cache_megabytes: u64,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such module.
    #[error("--{flag}: no module {module:?}; there are {}", MODULES.join(", "))]
    UnknownModule {
        /// The flag.
        flag: &'static str,
        /// What it says.
        module: String,
    },
    /// A prefix that no path begins with.
    #[error("--{flag}: prefix {prefix:?} must begin with '/' and have neither '?' nor '#'")]
    Prefix {
        /// The flag.
        flag: &'static str,
        /// What it says.
        prefix: String,
    },
    /// A cap that is no amount.
    #[error("--rpc.txfeecap: {0} is no amount of ether")]
    FeeCap(String),
    /// HTTP and WebSocket on one port must be on one address.
    #[error("--ws.addr: with --ws.port equal to --http.port, it must be equal to --http.addr")]
    SharedPort,
    /// A module with which the node is run, on a port that faces the world.
    #[error(
        "--{flag}: module {module:?} is for those who run the node: it is offered on the admin RPC port only, {}",
        access::admin_port_hint()
    )]
    AdminOnly {
        /// The flag.
        flag: &'static str,
        /// What it says.
        module: String,
    },
    /// The admin RPC port is another one's.
    #[error("--adminrpc.port: {0} is the port of --{1}")]
    AdminPort(u16, &'static str),
    /// Something of the admin RPC server without the server.
    #[error("--{0} needs --adminrpc.port")]
    NoAdminPort(&'static str),
    /// A rate that is none.
    #[error("--rpc.ratelimit: {0} is no number of requests a second")]
    RateLimit(String),
    /// A burst of nothing.
    #[error("--rpc.ratelimit.burst needs --rpc.ratelimit")]
    BurstWithoutRate,
    /// No range of addresses.
    #[error("--rpc.trustedproxies: {0:?} is no address and no range such as 10.0.0.0/8")]
    Network(String),
    /// The API keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// How one listener serves one transport.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) modules: BTreeSet<String>,
    pub(crate) prefix: String,
}

/// HTTP on a listener.
#[derive(Clone, Debug)]
pub(crate) struct HttpOffer {
    pub(crate) offer: Offer,
    pub(crate) cors: Vec<String>,
    pub(crate) vhosts: Vec<String>,
}

/// WebSocket on a listener.
#[derive(Clone, Debug)]
pub(crate) struct WsOffer {
    pub(crate) offer: Offer,
    pub(crate) origins: Vec<String>,
}

/// One listener and what it serves.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The flag that sets the port.
    pub(crate) port_flag: &'static str,
    pub(crate) http: Option<HttpOffer>,
    pub(crate) ws: Option<WsOffer>,
    /// For whom it is.
    pub(crate) audience: Audience,
}

/// For whom a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The world: limits and keys apply, and nothing that changes the node is offered.
    World,
    /// Whoever reaches the node, as in geth: limits and keys apply.
    Users,
    /// Those who run the node.
    Operators,
}

impl GatewayConfig {
    /// Checks everything, and reads the files that flags name.
    ///
    /// # Errors
    /// The first thing that is wrong, with its flag.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.endpoints()?;
        self.access().map(|_| ())
    }

    /// Who is let in where.
    pub(crate) fn access(&self) -> Result<Access, ConfigError> {
        Access::open(&self.access, &self.admin_rpc)
    }

    /// The listeners that the flags ask for.
    pub(crate) fn endpoints(&self) -> Result<Vec<Endpoint>, ConfigError> {
        let fee_cap = self.limits.tx_fee_cap;
        if !fee_cap.is_finite() || fee_cap < 0.0 {
            return Err(ConfigError::FeeCap(fee_cap.to_string()));
        }
        self.check_public()?;
        let http = self.http.then(|| self.http_offer()).transpose()?;
        let ws = self.ws.then(|| self.ws_offer()).transpose()?;
        let shared = self.http && self.ws && self.http_port == self.ws_port && self.http_port != 0;
        if shared && self.http_addr != self.ws_addr {
            return Err(ConfigError::SharedPort);
        }
        let audience = if self.public_only { Audience::World } else { Audience::Users };
        let (host, port) = (self.http_addr.clone(), self.http_port);
        let mut first = Endpoint { host, port, port_flag: "--http.port", http, ws: None, audience };
        let (host, port) = (self.ws_addr.clone(), self.ws_port);
        let mut second = Endpoint { host, port, port_flag: "--ws.port", http: None, ws, audience };
        if shared {
            first.ws = second.ws.take();
        }
        let serves = |endpoint: &Endpoint| endpoint.http.is_some() || endpoint.ws.is_some();
        Ok([Some(first), Some(second), self.admin_endpoint()?].into_iter().flatten().filter(serves).collect())
    }

    /// What faces the world offers nothing to run the node with.
    fn check_public(&self) -> Result<(), ConfigError> {
        let offers = [("http.api", self.http, &self.http_api), ("ws.api", self.ws, &self.ws_api)];
        for (flag, enabled, modules) in offers {
            let modules = trimmed(modules);
            let private = modules.iter().find(|module| ADMIN_MODULES.contains(&module.as_str()));
            if let Some(module) = private.filter(|_| self.public_only && enabled) {
                return Err(ConfigError::AdminOnly { flag, module: module.clone() });
            }
        }
        Ok(())
    }

    /// The admin RPC server, if it has a port.
    fn admin_endpoint(&self) -> Result<Option<Endpoint>, ConfigError> {
        let admin = &self.admin_rpc;
        let Some(port) = admin.port else {
            return match (&admin.jwt_secret, admin.api.is_empty()) {
                (Some(_), _) => Err(ConfigError::NoAdminPort("adminrpc.jwtsecret")),
                (None, false) => Err(ConfigError::NoAdminPort("adminrpc.api")),
                (None, true) => Ok(None),
            };
        };
        let others = [("http.port", self.http, self.http_port), ("ws.port", self.ws, self.ws_port)];
        if let Some((flag, ..)) =
            others.iter().find(|(_, enabled, other)| *enabled && *other == port && port != 0)
        {
            return Err(ConfigError::AdminPort(port, flag));
        }
        let all = MODULES.map(str::to_owned);
        let api = if admin.api.is_empty() { &all[..] } else { &admin.api };
        let offer = offer("adminrpc.api", api, "adminrpc.rpcprefix", "")?;
        let vhosts = trimmed(&admin.vhosts).iter().map(|host| host.to_lowercase()).collect();
        Ok(Some(Endpoint {
            host: admin.addr.clone(),
            port,
            port_flag: "--adminrpc.port",
            http: Some(HttpOffer { offer: offer.clone(), cors: Vec::new(), vhosts }),
            ws: Some(WsOffer { offer, origins: Vec::new() }),
            audience: Audience::Operators,
        }))
    }

    fn http_offer(&self) -> Result<HttpOffer, ConfigError> {
        Ok(HttpOffer {
            offer: offer("http.api", &self.http_api, "http.rpcprefix", &self.http_rpcprefix)?,
            cors: trimmed(&self.http_corsdomain),
            vhosts: trimmed(&self.http_vhosts).iter().map(|host| host.to_lowercase()).collect(),
        })
    }

    fn ws_offer(&self) -> Result<WsOffer, ConfigError> {
        Ok(WsOffer {
            offer: offer("ws.api", &self.ws_api, "ws.rpcprefix", &self.ws_rpcprefix)?,
            origins: trimmed(&self.ws_origins).iter().map(|origin| origin.to_lowercase()).collect(),
        })
    }
}

fn trimmed(items: &[String]) -> Vec<String> {
    items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

fn offer(
    api_flag: &'static str,
    modules: &[String],
    prefix_flag: &'static str,
    prefix: &str,
) -> Result<Offer, ConfigError> {
    let modules = trimmed(modules);
    if let Some(module) = modules.iter().find(|module| !MODULES.contains(&module.as_str())) {
        return Err(ConfigError::UnknownModule { flag: api_flag, module: module.clone() });
    }
    if !prefix.is_empty() && (!prefix.starts_with('/') || prefix.contains(['?', '#'])) {
        return Err(ConfigError::Prefix { flag: prefix_flag, prefix: prefix.to_owned() });
    }
    let mut modules: BTreeSet<String> = modules.into_iter().collect();
    // As in geth, what modules there are can always be asked.
    modules.insert("rpc".to_owned());
    Ok(Offer { modules, prefix: prefix.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        gateway: GatewayConfig,
    }

    fn endpoints(flags: &[&str]) -> Result<Vec<Endpoint>, ConfigError> {
        let args = ["gateway"].iter().chain(flags);
        Program::try_parse_from(args).expect("flags").gateway.endpoints()
    }

    #[test]
    fn one_port_serves_both_when_they_are_equal() {
        assert_eq!(endpoints(&[]).expect("nothing").len(), 0);
        assert_eq!(endpoints(&["--http", "--ws"]).expect("two").len(), 2);
        let shared = endpoints(&["--http", "--ws", "--ws.port", "8545"]).expect("one");
        assert!(matches!(&shared[..], [Endpoint { http: Some(_), ws: Some(_), .. }]));
        let elsewhere = ["--http", "--ws", "--ws.port", "8545", "--ws.addr", "0.0.0.0"];
        assert_eq!(endpoints(&elsewhere).err(), Some(ConfigError::SharedPort));
    }

    #[test]
    fn what_faces_the_world_cannot_run_the_node() {
        let public = |flags: &[&str]| {
            let args = ["gateway"].iter().chain(flags);
            let mut gateway = Program::try_parse_from(args).expect("flags").gateway;
            gateway.public_only = true;
            gateway.endpoints()
        };
        let error =
            public(&["--http", "--http.api", "eth,debug"]).expect_err("not for the world").to_string();
        assert!(
            error.starts_with("--http.api: module \"debug\"") && error.contains("--adminrpc.port"),
            "{error}"
        );
        let error = public(&["--ws", "--ws.api", "personal"]).expect_err("not for the world").to_string();
        assert!(error.starts_with("--ws.api: module \"personal\""), "{error}");
        // As in geth where the node is one process, and where the server is off.
        assert!(endpoints(&["--http", "--http.api", "eth,debug"]).is_ok());
        assert!(public(&["--http", "--ws.api", "debug"]).is_ok());
        let admin = public(&["--http", "--adminrpc.port", "8550"]).expect("two");
        assert_eq!(
            admin.iter().map(|endpoint| endpoint.audience).collect::<Vec<_>>(),
            [Audience::World, Audience::Operators]
        );
        let offered = admin.get(1).and_then(|endpoint| endpoint.http.as_ref()).expect("HTTP");
        assert!(MODULES.iter().all(|module| offered.offer.modules.contains(*module)));
    }

    #[test]
    fn access_is_checked_with_the_rest() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "[[key]]\nname = 1\n").expect("written");
        let path = file.path().to_str().expect("a path");
        for (flags, expected) in [
            (&["--rpc.ratelimit=-1"][..], "--rpc.ratelimit: -1 "),
            (&["--rpc.ratelimit=NaN"], "--rpc.ratelimit: NaN "),
            (&["--rpc.ratelimit.burst=5"], "--rpc.ratelimit.burst needs --rpc.ratelimit"),
            (&["--rpc.trustedproxies=10.0.0.0/8,lb"], "--rpc.trustedproxies: \"lb\" "),
            (&["--rpc.keys=/nowhere"], "--rpc.keys: cannot read /nowhere: "),
            (&["--rpc.keys", path], "--rpc.keys: "),
            (&["--rpc.jwtsecret", path], "--rpc.jwtsecret: "),
            (&["--adminrpc.port=1", "--adminrpc.jwtsecret", path], "--adminrpc.jwtsecret: "),
            (&["--adminrpc.jwtsecret", path], "--adminrpc.jwtsecret needs --adminrpc.port"),
            (&["--adminrpc.api=eth"], "--adminrpc.api needs --adminrpc.port"),
            (&["--adminrpc.port=1", "--adminrpc.api=x"], "--adminrpc.api: no module \"x\""),
            (&["--http", "--adminrpc.port=8545"], "--adminrpc.port: 8545 is the port of --http.port"),
        ] {
            let args = ["gateway"].iter().chain(flags);
            let error = Program::try_parse_from(args).expect("flags").gateway.check().expect_err("wrong");
            assert!(error.to_string().starts_with(expected), "{flags:?}: {error}");
        }
    }

    #[test]
    fn wrong_values_name_their_flag() {
        let error = endpoints(&["--http", "--http.api", "eth,bogus"]).expect_err("no such module");
        assert!(error.to_string().starts_with("--http.api: no module \"bogus\""), "{error}");
        let error = endpoints(&["--ws", "--ws.rpcprefix", "rpc"]).expect_err("no prefix");
        assert!(error.to_string().starts_with("--ws.rpcprefix"), "{error}");
        assert!(endpoints(&["--rpc.txfeecap=-1"]).is_err());
    }
}
