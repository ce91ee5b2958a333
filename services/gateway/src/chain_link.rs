//! The way to the chain service, which must be of the network that the store holds.
//!
//! What must hold: nothing goes to a chain of another network, and nothing that it says is believed. Which network it is
//! is asked for again whenever it was away, and now and then ([`ChainLink::verify`]).

use alloy_primitives::{Address, B256, Bytes};
use arc_swap::ArcSwap;
use quintet_chain_api::{
    ChainClient, ChainError, ChainHead, PendingAnswer, PendingVersion, PoolStatus, PooledTransaction,
    SyncProgress,
};
use std::sync::Arc;
use std::time::Duration;

/// How long the question for the network may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// What is known of the chain service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// Nothing: it does not answer, for this reason.
    Unknown(String),
    /// It is the store's.
    Same,
    /// It is another one, in words for an operator.
    Other(String),
}

/// A client of the chain service that knows whether it is the right one.
#[derive(Clone)]
pub(crate) struct ChainLink {
    client: ChainClient,
    /// `None` for the chain service of the same process.
    remote: Option<Arc<Remote>>,
}

struct Remote {
    url: String,
    genesis: B256,
    network: ArcSwap<Network>,
    asking: tokio::sync::Mutex<()>,
}

impl ChainLink {
    /// A chain service that is of the store's network.
    pub(crate) const fn trusted(client: ChainClient) -> Self {
        Self { client, remote: None }
    }

    /// A chain service at `url`, which must have this genesis block.
    pub(crate) fn checked(client: ChainClient, url: &str, genesis: B256) -> Self {
        let network = ArcSwap::from_pointee(Network::Unknown("not asked yet".to_owned()));
        let asking = tokio::sync::Mutex::default();
        Self { client, remote: Some(Arc::new(Remote { url: url.to_owned(), genesis, network, asking })) }
    }

    /// Asks which network it is.
    pub(crate) async fn verify(&self) -> Network {
        let Some(remote) = &self.remote else { return Network::Same };
        let _one = remote.asking.lock().await;
        let network = match tokio::time::timeout(DEADLINE, self.client.genesis()).await {
            Ok(Ok(genesis)) if genesis.hash == remote.genesis => Network::Same,
            Ok(Ok(genesis)) => Network::Other(format!(
                "chain at {} is another network: its genesis block is {}, the store's is {}",
                remote.url, genesis.hash, remote.genesis
            )),
            Ok(Err(error)) => Network::Unknown(error.to_string()),
            Err(_) => {
                Network::Unknown(format!("chain at {} gives no answer within {DEADLINE:?}", remote.url))
            }
        };
        remote.set(&network);
        network
    }

    /// Fails unless it is the right one.
    async fn check(&self) -> Result<&ChainClient, ChainError> {
        let Some(remote) = &self.remote else { return Ok(&self.client) };
        let network = remote.network.load_full();
        let network = match &*network {
            Network::Unknown(_) => self.verify().await,
            known => known.clone(),
        };
        match network {
            Network::Same => Ok(&self.client),
            Network::Unknown(reason) => Err(ChainError::Unavailable(reason)),
            Network::Other(reason) => Err(ChainError::Rejected(reason)),
        }
    }

    /// Takes note of a chain service that does not answer: another may answer next.
    fn noted<T>(&self, answer: Result<T, ChainError>) -> Result<T, ChainError> {
        if let (Some(remote), Err(ChainError::Unavailable(reason) | ChainError::Interrupted(reason))) =
            (&self.remote, &answer)
        {
            remote.set(&Network::Unknown(reason.clone()));
        }
        answer
    }

    /// See [`ChainClient::head`].
    pub(crate) async fn head(&self) -> Result<ChainHead, ChainError> {
        let answer = self.check().await?.head().await;
        self.noted(answer)
    }

    /// See [`ChainClient::sync_status`].
    pub(crate) async fn sync_status(&self) -> Result<Option<SyncProgress>, ChainError> {
        let answer = self.check().await?.sync_status().await;
        self.noted(answer)
    }

    /// See [`ChainClient::send_transaction`].
    pub(crate) async fn send_transaction(
        &self,
        transaction: Bytes,
        local: bool,
        allow_unprotected: bool,
    ) -> Result<B256, ChainError> {
        let answer = self.check().await?.send_transaction(transaction, local, allow_unprotected).await;
        self.noted(answer)
    }

    /// See [`ChainClient::pool_transaction`].
    pub(crate) async fn pool_transaction(&self, hash: B256) -> Result<Option<PooledTransaction>, ChainError> {
        let answer = self.check().await?.pool_transaction(hash).await;
        self.noted(answer)
    }

    /// See [`ChainClient::pool_content`].
    pub(crate) async fn pool_content(
        &self,
        sender: Option<Address>,
    ) -> Result<Vec<PooledTransaction>, ChainError> {
        let answer = self.check().await?.pool_content(sender).await;
        self.noted(answer)
    }

    /// See [`ChainClient::pool_status`].
    pub(crate) async fn pool_status(&self) -> Result<PoolStatus, ChainError> {
        let answer = self.check().await?.pool_status().await;
        self.noted(answer)
    }

    /// See [`ChainClient::pool_nonce`].
    pub(crate) async fn pool_nonce(&self, address: Address) -> Result<u64, ChainError> {
        let answer = self.check().await?.pool_nonce(address).await;
        self.noted(answer)
    }

    /// See [`ChainClient::pending_block`].
    pub(crate) async fn pending_block(
        &self,
        known: Option<PendingVersion>,
    ) -> Result<PendingAnswer, ChainError> {
        let answer = self.check().await?.pending_block(known).await;
        self.noted(answer)
    }
}

impl Remote {
    fn set(&self, network: &Network) {
        let before = self.network.load();
        match (&**before, network) {
            (before, now) if before == now => return,
            (_, Network::Other(reason)) => {
                tracing::error!(target: "quintet_gateway", "{reason}; nothing is sent to it");
            }
            (Network::Same, Network::Unknown(reason)) => {
                tracing::warn!(target: "quintet_gateway", reason, "chain service is unavailable");
            }
            (_, Network::Same) => tracing::info!(target: "quintet_gateway", "chain service is there"),
            _ => {}
        }
        self.network.store(Arc::new(network.clone()));
    }
}
