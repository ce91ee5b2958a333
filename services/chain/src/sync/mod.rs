//! Sync: the chain follows the peers' best one.
//!
//! - `driver` decides when to sync and with whom (`choose`); one sync at a time.
//! - `download` is one sync: headers first, from the peer with the best chain, then bodies from all peers, then the
//!   pipeline of bulk imports.
//! - `snap` is the other way to sync: the state of a block near the head is fetched, and blocks are executed from there.
//! - `fetcher` takes single blocks that peers announce or send near the head.
//!
//! What must hold:
//! - A peer is believed nothing that was not checked: not its total difficulty, its headers, its bodies or its blocks.
//!   What does not hold costs it its reputation, with the reason, and the sync goes on with others.
//! - Memory is bounded whatever the peers do.
//! - Whatever ends a sync, the blocks before are imported.

mod ancestor;
mod bodies;
mod check;
mod choose;
mod context;
mod download;
mod driver;
mod feed;
mod fetch;
mod fetcher;
mod headers;
mod history;
mod network;
mod parts;
mod peers;
mod propagated;
mod receipts;
mod slots;
mod snap;
mod status;

pub use history::NoHistory;
pub use network::{
    Change, Fault, HeadersRequest, Kind, Network, PeerHead, PeerId, PeerView, RequestError, Start,
};
pub use status::SyncStatus;

use crate::bulk::BulkOptions;
use crate::chain::Chain;
use crate::error::ChainError;
use alloy_primitives::B256;
use check::Rejected;
use clap::{Args, ValueEnum};
use context::Context;
use quintet_service::Supervisor;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How the chain is fetched from peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SyncMode {
    /// Every block is executed.
    #[default]
    Full,
    /// The state near the head is fetched, and blocks are executed from there.
    Snap,
}

/// Settings of sync.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sync")]
pub struct SyncArgs {
    /// How the chain is fetched from peers
    #[arg(id = "syncmode", long = "syncmode", value_name = "MODE", value_enum, default_value_t)]
    pub mode: SyncMode,
}

/// How much a sync may use.
#[derive(Clone, Copy, Debug)]
pub struct SyncOptions {
    /// How blocks are imported.
    pub bulk: BulkOptions,
    /// An import under way waits this long for the next block before it lets others write to the chain.
    pub patience: Duration,
    /// Bytes of headers ahead of the import.
    pub header_bytes: usize,
    /// Bytes of bodies that wait for those before them; of receipts as much.
    pub body_bytes: usize,
    /// Bytes of blocks that wait for the import.
    pub feed_bytes: usize,
    /// How a chain that has no blocks yet is fetched.
    pub mode: SyncMode,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            bulk: BulkOptions::default(),
            patience: Duration::from_millis(100),
            header_bytes: 16 << 20,
            body_bytes: 64 << 20,
            feed_bytes: 16 << 20,
            mode: SyncMode::Full,
        }
    }
}

/// Why a sync ended before it had what it began for.
#[derive(Debug)]
pub(crate) enum SyncError {
    /// A peer is at fault.
    Fault(PeerId, Fault),
    /// The master is gone.
    Gone(PeerId),
    /// The master's chain, or ours, is another one by now.
    Moved(PeerId),
    /// The master's head is held, or no better than ours.
    NotAhead(PeerId, B256),
    /// The master's newest blocks are ahead of our clock, not by much.
    Early(PeerId),
    /// A state is to be fetched, and no peer has it.
    NoState,
    /// The node failed.
    Node(ChainError),
    /// The service ends.
    Cancelled,
}

impl SyncError {
    /// Its name among metrics.
    const fn name(&self) -> &'static str {
        match self {
            Self::Fault(..) => "fault",
            Self::Gone(_) => "gone",
            Self::Moved(_) => "moved",
            Self::NotAhead(..) => "not_ahead",
            Self::Early(_) => "early",
            Self::NoState => "no_state",
            Self::Node(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Tells the network, and the metrics, what a peer did.
fn report_fault(network: &dyn Network, peer: PeerId, fault: &Fault) {
    metrics::counter!("quintet_chain_sync_faults_total", "fault" => fault.name()).increment(1);
    tracing::debug!(%peer, %fault, "peer at fault");
    network.penalise(peer, fault);
}

/// Sync of a chain with a network.
#[derive(Clone)]
pub struct Sync {
    context: Arc<Context>,
}

impl Sync {
    /// Does nothing yet.
    pub fn new(chain: Arc<Chain>, network: Arc<dyn Network>, options: SyncOptions) -> Self {
        let (status, rejected) = (Arc::default(), Arc::new(Rejected::default()));
        Self { context: Arc::new(Context { chain, network, options, status, rejected }) }
    }

    /// How far it is.
    pub fn status(&self) -> Arc<SyncStatus> {
        Arc::clone(&self.context.status)
    }

    /// Syncs until `token` is cancelled.
    pub async fn run(self, token: CancellationToken) {
        if let Err(error) = self.context.give_up_state().await {
            // It is tried again with the first sync.
            tracing::warn!(?error, "What was fetched of a state could not be given up");
        }
        driver::drive(self.context, token).await;
    }

    /// Fetches and imports blocks that peers announce or send, until `token` is cancelled.
    pub async fn fetch_blocks(self, token: CancellationToken) {
        fetch::fetch_blocks(self.context, token).await;
    }

    /// Starts both on a supervisor.
    pub fn spawn(&self, supervisor: &Supervisor) {
        let (sync, fetcher) = (self.clone(), self.clone());
        let (one, other) = (supervisor.token(), supervisor.token());
        supervisor.spawn("sync", async move {
            sync.run(one).await;
            Ok::<_, ChainError>(())
        });
        supervisor.spawn("block fetcher", async move {
            fetcher.fetch_blocks(other).await;
            Ok::<_, ChainError>(())
        });
    }
}
