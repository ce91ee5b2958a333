//! The miner: makes blocks on the head. It asks `chain` to fill them, seals them, and hands them back.
//!
//! - [`worker`] decides, without IO; `service.rs` carries its decisions out; `server.rs` answers `MinerService`.
//! - [`replica`] is for more than one miner: one leads, under a lease in Redis, and the others stand by.
//! - [`Sealer`] is how a block gets its seal.
//!
//! Nothing here holds chain state: a restarted miner asks `chain` where it stands.

mod calls;
mod config;
mod error;
mod feed;
pub mod replica;
mod sealer;
mod server;
mod service;
mod trace;
pub mod worker;

pub use config::{Config, MinerConfig, SealerChoice};
pub use error::MinerError;
pub use feed::{ChainFeed, SharedFeed};
pub use sealer::{Instant, SealError, Sealer};
pub use server::Server;

use quintet_chain_api::ChainClient;
use quintet_events::EventBus;
use quintet_proto::miner::v1::miner_service_server::MinerServiceServer;
use quintet_redis::Redis;
use quintet_service::grpc::{GrpcServer, Transport};
use quintet_service::{Context, Readiness, Service};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The service, not yet running.
pub struct Miner {
    service: service::MinerLoop,
    server: Server,
}

impl Miner {
    /// A miner on `chain`, which hears of blocks and transactions from `events`.
    ///
    /// # Errors
    /// When it is to mine and nobody is named to get the fees.
    pub fn new(
        config: &MinerConfig,
        chain: ChainClient,
        events: Arc<dyn EventBus>,
    ) -> Result<Self, MinerError> {
        Self::make(config, chain, events, None)
    }

    /// One of several miners on `chain`, of which one leads; they share `redis`. What `config` says of how blocks are
    /// made counts until another replica, or an operator, said otherwise.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn replicated(
        config: &MinerConfig,
        chain: ChainClient,
        events: Arc<dyn EventBus>,
        redis: Redis,
    ) -> Result<Self, MinerError> {
        Self::make(config, chain, events, Some(redis))
    }

    fn make(
        config: &MinerConfig,
        chain: ChainClient,
        events: Arc<dyn EventBus>,
        redis: Option<Redis>,
    ) -> Result<Self, MinerError> {
        config.validate()?;
        let sealer = sealer::make(config.sealer);
        let (service, handle) = service::MinerLoop::new(config, chain, events, sealer, redis);
        Ok(Self { service, server: Server::new(handle) })
    }

    /// Its RPCs. They are answered while [`Self::run`] runs.
    pub fn server(&self) -> MinerServiceServer<Server> {
        MinerServiceServer::new(self.server.clone())
    }

    /// Runs until `token` is cancelled. Readiness says whether `chain` can be reached, and one of several says how it
    /// is with the lease and the events. A leader gives its lease back.
    ///
    /// # Errors
    /// When the event bus ends, or a task of the miner panics.
    pub async fn run(self, readiness: Readiness, token: CancellationToken) -> Result<(), MinerError> {
        self.service.run(&readiness, token).await
    }
}

/// Starts the service as a process of its own: its RPCs on a port, and `chain` over the network.
///
/// # Errors
/// When the configuration is wrong or the port cannot be had.
pub async fn start(config: Config, context: Context) -> Result<(), MinerError> {
    let transport = Transport::remote(Service::Miner, &config.chain_url, config.chain_timeout)
        .map_err(|error| config::wrong_value("chain.url", &config.chain_url, &error.to_string()))?;
    let chain = ChainClient::new(transport);
    let miner = match config.redis.open()? {
        None => Miner::new(&config.miner, chain.clone(), Arc::new(ChainFeed::new(chain)))?,
        Some(redis) => {
            let events = SharedFeed::new(chain.clone(), redis.clone());
            Miner::replicated(&config.miner, chain, Arc::new(events), redis)?
        }
    };
    let server = GrpcServer::bind(&config.grpc, context.readiness.clone()).await?.with(miner.server());
    let token = context.supervisor.token();
    context.supervisor.spawn("grpc", server.serve(token.clone()));
    context.supervisor.spawn("miner", miner.run(context.readiness, token));
    Ok(())
}
