//! What the gateway is configured with, by geth's flags. Checked as a whole before a socket is bound.

use clap::{ArgAction, Args};
use quintet_service::config::duration;
use std::collections::BTreeSet;
use std::time::Duration;

/// Modules that a gateway can offer.
pub const MODULES: [&str; 8] = ["clique", "debug", "eth", "net", "personal", "rpc", "txpool", "web3"];

/// geth's modules for the world, unless flags say otherwise.
pub const DEFAULT_MODULES: [&str; 3] = ["eth", "net", "web3"];
/// geth's port for HTTP.
pub const DEFAULT_HTTP_PORT: u16 = 8545;
/// geth's port for WebSocket.
pub const DEFAULT_WS_PORT: u16 = 8546;

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
}

impl GatewayConfig {
    /// The listeners that the flags ask for.
    pub(crate) fn endpoints(&self) -> Result<Vec<Endpoint>, ConfigError> {
        let fee_cap = self.limits.tx_fee_cap;
        if !fee_cap.is_finite() || fee_cap < 0.0 {
            return Err(ConfigError::FeeCap(fee_cap.to_string()));
        }
        let http = self.http.then(|| self.http_offer()).transpose()?;
        let ws = self.ws.then(|| self.ws_offer()).transpose()?;
        let shared = self.http && self.ws && self.http_port == self.ws_port && self.http_port != 0;
        if shared && self.http_addr != self.ws_addr {
            return Err(ConfigError::SharedPort);
        }
        let (host, port) = (self.http_addr.clone(), self.http_port);
        let first = Endpoint { host, port, port_flag: "--http.port", http, ws: None };
        let (host, port) = (self.ws_addr.clone(), self.ws_port);
        let second = Endpoint { host, port, port_flag: "--ws.port", http: None, ws };
        if shared {
            return Ok(vec![Endpoint { ws: second.ws, ..first }]);
        }
        let serves = |endpoint: &Endpoint| endpoint.http.is_some() || endpoint.ws.is_some();
        Ok([first, second].into_iter().filter(serves).collect())
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
    fn wrong_values_name_their_flag() {
        let error = endpoints(&["--http", "--http.api", "eth,bogus"]).expect_err("no such module");
        assert!(error.to_string().starts_with("--http.api: no module \"bogus\""), "{error}");
        let error = endpoints(&["--ws", "--ws.rpcprefix", "rpc"]).expect_err("no prefix");
        assert!(error.to_string().starts_with("--ws.rpcprefix"), "{error}");
        assert!(endpoints(&["--rpc.txfeecap=-1"]).is_err());
    }
}
