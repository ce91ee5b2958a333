//! What a chain does by itself.

use crate::chain::Chain;
use crate::error::ChainError;
use crate::import::count_published;
use crate::peers::{PeerLinkServer, Peers};
use crate::pool::TICK;
use crate::server::ChainServer;
use crate::sync::{Sync, SyncMode, SyncOptions};
use quintet_events::EventBus;
use quintet_proto::chain::v1::chain_service_server::ChainServiceServer;
use quintet_proto::chain::v1::peer_link_service_server::PeerLinkServiceServer;
use quintet_service::{Supervisor, propagation};
use quintet_types::PoolEvent;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Starts what a chain does by itself: publishing pool events, and looking over the pool's age. At shutdown
/// the trie is written, so that the next start has nothing to compute again.
pub fn spawn_tasks(chain: &Arc<Chain>, supervisor: &Supervisor) {
    if let Some(outbox) = chain.pool.take_outbox() {
        let task = publish_pool_events(Arc::clone(&chain.bus), outbox, supervisor.token());
        supervisor.spawn("pool events", task);
    }
    supervisor.spawn("pool clock", keep_time(Arc::clone(chain), supervisor.token()));
}

/// Starts sync with peers and what serves them; gives the two services of a chain: its calls, and the link that `p2p` dials.
pub fn serve_with_peers(
    chain: Arc<Chain>,
    mode: SyncMode,
    supervisor: &Supervisor,
) -> (ChainServiceServer<ChainServer>, PeerLinkServiceServer<PeerLinkServer>) {
    let peers = Peers::new(Arc::clone(&chain));
    peers.spawn(supervisor);
    let options = SyncOptions { mode, ..SyncOptions::default() };
    let sync = Sync::new(Arc::clone(&chain), Arc::new(peers.clone()), options);
    sync.spawn(supervisor);
    let server =
        ChainServer::new(chain, supervisor.token()).with_peers(peers.clone()).with_sync(sync.status());
    (server.into_server(), PeerLinkServer::new(peers, supervisor.token()).into_server())
}

async fn publish_pool_events(
    bus: Arc<dyn EventBus>,
    mut outbox: mpsc::Receiver<PoolEvent>,
    token: CancellationToken,
) -> Result<(), ChainError> {
    while let Some(Some(event)) = token.run_until_cancelled(outbox.recv()).await {
        let span = tracing::info_span!("publish", otel.kind = "producer");
        let PoolEvent::Pending(transaction) = &event;
        propagation::set_parent(&span, &transaction.trace);
        let published = bus.publish(event.into()).instrument(span).await;
        count_published("pool", published.is_ok());
        if let Err(error) = published {
            tracing::debug!(%error, "pool event not published");
        }
    }
    Ok(())
}

async fn keep_time(chain: Arc<Chain>, token: CancellationToken) -> Result<(), ChainError> {
    let mut ticks = interval_at(Instant::now() + TICK, TICK);
    while token.run_until_cancelled(ticks.tick()).await.is_some() {
        chain.pool.tick();
        if chain.pool.takes_blobs() {
            // Once, so that the first blob transaction does not wait for it. It takes a core for two seconds, which the
            // sync at a node's start has a better use for, and networks before Cancun have none.
            tokio::task::spawn_blocking(quintet_txpool::kzg_settings);
        }
    }
    match tokio::task::spawn_blocking(move || chain.close()).await? {
        Err(error) if error.is_store_away() => {
            tracing::warn!(%error, "the trie was not written: the next start computes it again");
            Ok(())
        }
        closed => closed,
    }
}
