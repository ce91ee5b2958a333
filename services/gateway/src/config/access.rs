//! Who may call, how much, and where the methods are that are not for everybody.

use super::{ConfigError, DEFAULT_ADMIN_PORT};
use crate::auth::{Gate, Jwt, Keys, Network, TrustedProxies};
use crate::limits::Rate;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

/// Who may call, and how much.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "API and console")]
pub struct AccessConfig {
    /// Requests a second of one client address (an IPv6 network of 64 bits is one), on all gateways together
    /// (0 = no limit).
    #[arg(id = "rpc.ratelimit", long = "rpc.ratelimit", value_name = "REQUESTS", default_value_t = 0.0)]
    pub rate_limit: f64,
    /// Requests at once of one client address (0 = those of two seconds).
    #[arg(
        id = "rpc.ratelimit.burst",
        long = "rpc.ratelimit.burst",
        value_name = "REQUESTS",
        default_value_t = 0
    )]
    pub rate_burst: u32,
    /// Proxies whose X-Forwarded-For is believed, as addresses or CIDR ranges.
    #[arg(
        id = "rpc.trustedproxies",
        long = "rpc.trustedproxies",
        value_name = "NETWORKS",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<String>,
    /// TOML file of API keys, which is read again when it changes. Callers then need a key (or a token).
    #[arg(id = "rpc.keys", long = "rpc.keys", value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// File with a secret of 32 bytes in hex. Callers then need a JSON Web Token made with it (or a key).
    #[arg(id = "rpc.jwtsecret", long = "rpc.jwtsecret", value_name = "FILE")]
    pub jwt_secret: Option<PathBuf>,
}

/// The port for those who run the node.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "API and console")]
pub struct AdminRpcConfig {
    /// Listening interface of the admin RPC server.
    #[arg(id = "adminrpc.addr", long = "adminrpc.addr", value_name = "ADDRESS", default_value = "localhost")]
    pub addr: String,
    /// Listening port of the admin RPC server, for HTTP and WebSocket (customarily 8550). It is off without one.
    #[arg(id = "adminrpc.port", long = "adminrpc.port", value_name = "PORT")]
    pub port: Option<u16>,
    /// Modules offered over the admin RPC interface; all if not given.
    #[arg(id = "adminrpc.api", long = "adminrpc.api", value_name = "MODULES", value_delimiter = ',')]
    pub api: Vec<String>,
    /// Virtual hostnames from which to accept requests on the admin RPC port. Accepts the '*' wildcard.
    #[arg(
        id = "adminrpc.vhosts",
        long = "adminrpc.vhosts",
        value_name = "HOSTS",
        value_delimiter = ',',
        default_value = "localhost"
    )]
    pub vhosts: Vec<String>,
    /// File with a secret of 32 bytes in hex. Callers of the admin RPC port then need a JSON Web Token made with it.
    #[arg(id = "adminrpc.jwtsecret", long = "adminrpc.jwtsecret", value_name = "FILE")]
    pub jwt_secret: Option<PathBuf>,
}

/// Who is let in where, its files read.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// For the public ports.
    pub(crate) public: Gate,
    /// For the admin RPC port.
    pub(crate) admin: Gate,
    /// Of each address.
    pub(crate) rate: Option<Rate>,
}

impl Access {
    /// What the flags ask for.
    pub(crate) fn open(public: &AccessConfig, admin: &AdminRpcConfig) -> Result<Self, ConfigError> {
        if !public.rate_limit.is_finite() || public.rate_limit < 0.0 {
            return Err(ConfigError::RateLimit(public.rate_limit.to_string()));
        }
        if public.rate_burst > 0 && public.rate_limit == 0.0 {
            return Err(ConfigError::BurstWithoutRate);
        }
        let networks = public.trusted_proxies.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let networks =
            networks.map(|text| Network::parse(text).ok_or_else(|| ConfigError::Network(text.to_owned())));
        let keys = public.keys.as_deref().map(Keys::open).transpose()?;
        let jwt = |flag, file: &Option<PathBuf>| {
            let opened = file.as_deref().map(|file| Jwt::open(flag, file)).transpose()?;
            Ok::<_, ConfigError>(opened.map(Arc::new))
        };
        Ok(Self {
            public: Gate {
                proxies: TrustedProxies::new(networks.collect::<Result<_, _>>()?),
                keys: keys.map(Arc::new),
                jwt: jwt("rpc.jwtsecret", &public.jwt_secret)?,
            },
            admin: Gate { jwt: jwt("adminrpc.jwtsecret", &admin.jwt_secret)?, ..Gate::default() },
            rate: Rate::new(public.rate_limit, public.rate_burst),
        })
    }
}

/// What the customary admin RPC port is called in errors.
pub(super) fn admin_port_hint() -> String {
    format!("--adminrpc.port (such as {DEFAULT_ADMIN_PORT})")
}
