//! Redis, as every service uses it: its address, deadlines, and the names of its keys.
//!
//! What must hold: nothing in Redis is the only copy of anything that was acknowledged. It may be away or be emptied at
//! any time, and whoever uses it says what then happens.

use alloy_primitives::{B256, hex};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// How long an answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);
/// The longest wait between two attempts to connect again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Where Redis is.
#[derive(Clone, Default, clap::Args)]
#[command(next_help_heading = "Services")]
pub struct RedisArgs {
    /// Redis, which the services of a split node share: redis://:PASSWORD@HOST:PORT/DATABASE
    #[arg(id = "redis", long = "redis", value_name = "URL")]
    pub url: Option<String>,
}

/// An address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--redis: {0}")]
pub struct AddressError(String);

impl RedisArgs {
    /// Redis at this address; `None` when there is none. Connects to nothing.
    ///
    /// # Errors
    /// When the address is none.
    pub fn open(&self) -> Result<Option<Redis>, AddressError> {
        self.url.as_deref().filter(|url| !url.is_empty()).map(Redis::new).transpose()
    }
}

impl fmt::Debug for RedisArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("RedisArgs").field("url", &self.url.as_ref().map(|_| "***")).finish()
    }
}

/// A Redis server. Clones share one connection for short commands.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    shared: Arc<std::sync::OnceLock<ConnectionManager>>,
}

impl Redis {
    /// Redis at `url`, to which nothing is connected yet.
    ///
    /// # Errors
    /// When this is no address. The password is not in the error.
    pub fn new(url: &str) -> Result<Self, AddressError> {
        let client = Client::open(url).map_err(|error| AddressError(error.to_string()))?;
        Ok(Self { client, shared: Arc::default() })
    }

    /// The connection for short commands. It connects when first used, and again when it is lost: a command fails
    /// within about two seconds while Redis is away. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the address needs a feature that this program was built without.
    pub fn commands(&self) -> Result<ConnectionManager, redis::RedisError> {
        if let Some(connection) = self.shared.get() {
            return Ok(connection.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(Some(ANSWER_DEADLINE))
            .set_number_of_retries(1)
            .set_max_delay(LONGEST_PAUSE);
        let made = ConnectionManager::new_lazy_with_config(self.client.clone(), config)?;
        Ok(self.shared.get_or_init(|| made).clone())
    }

    /// A connection of one's own, for commands that wait for up to `wait` on the server.
    ///
    /// # Errors
    /// When Redis cannot be reached.
    pub async fn waiting(&self, wait: Duration) -> Result<MultiplexedConnection, redis::RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(Some(wait + ANSWER_DEADLINE));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis://{}", self.client.get_connection_info().addr())
    }
}

/// The names of one network's keys, so that networks which share a server never meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace(Arc<str>);

impl Keyspace {
    /// The keys of the network with this genesis block.
    pub fn of(genesis: &B256) -> Self {
        Self(format!("quintet:{}", hex::encode(&genesis[..8])).into())
    }

    /// The name of a key.
    pub fn key(&self, name: impl fmt::Display) -> String {
        format!("{}:{name}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_printed() {
        let redis = Redis::new("redis://:s3cret@db:6380/1").unwrap();
        assert_eq!(redis.to_string(), "redis://db:6380");
        let args = RedisArgs { url: Some("redis://:s3cret@db".to_owned()) };
        assert!(!format!("{redis:?} {args:?}").contains("s3cret"));
        let error = Redis::new("postgres://:s3cret@db").unwrap_err().to_string();
        assert!(error.starts_with("--redis: ") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn networks_have_their_own_keys() {
        let keys = Keyspace::of(&B256::repeat_byte(0xab));
        assert_eq!(keys.key("pool"), "quintet:abababababababab:pool");
        assert!(RedisArgs::default().open().unwrap().is_none());
    }
}
