//! The node database as the protocols use it: shared, timed by the clock, written now and then.

use crate::database::{self, NodeDatabase, SEED_AGE, StoredNode};
use alloy_primitives::B256;
use parking_lot::Mutex;
use quintet_discv4::NodeFacts;
use quintet_enode::{Enode, Record};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// Nodes that are taken from the database at the start, as geth's `seedCount`.
const SEEDS: usize = 30;
/// Between writes.
const WRITE: Duration = Duration::from_secs(30);
/// Writes between looks for nodes that are too old: an hour.
const EXPIRE: u32 = 120;

/// The database. Clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    database: Arc<Mutex<NodeDatabase>>,
    path: Option<Arc<PathBuf>>,
}

impl Store {
    /// The database of this file, or one in memory.
    pub(crate) fn open(path: Option<PathBuf>, local_id: B256) -> Self {
        let database = match &path {
            Some(path) => NodeDatabase::load(path, local_id),
            None => NodeDatabase::new(local_id),
        };
        Self { database: Arc::new(Mutex::new(database)), path: path.map(Arc::new) }
    }

    /// The number of the local node's last record.
    pub(crate) fn local_seq(&self) -> Option<u64> {
        self.database.lock().local_seq()
    }

    /// Nodes of discovery v4, to go on with.
    pub(crate) fn facts(&self) -> Vec<NodeFacts> {
        self.database.lock().facts()
    }

    /// Nodes of discovery v4 to begin with, that answered within `age`.
    pub(crate) fn seeds(&self, age: Duration, most: usize) -> Vec<Enode> {
        self.database.lock().seeds(now(), age, most)
    }

    /// Records of nodes to begin with in discovery v5.
    pub(crate) fn v5_seeds(&self) -> Vec<Record> {
        self.database.lock().v5_seeds(now(), SEED_AGE, SEEDS)
    }

    /// What is known of a node.
    pub(crate) fn get(&self, id: &B256) -> Option<StoredNode> {
        self.database.lock().get(id).cloned()
    }

    /// Takes what discovery v4 knows of a node.
    pub(crate) fn take(&self, facts: &NodeFacts) {
        self.database.lock().take(facts);
    }

    /// Takes note that a node with this record answered in discovery v5.
    pub(crate) fn answered_v5(&self, record: &Record) {
        if let Some(enode) = record.to_enode() {
            self.database.lock().answered_v5(&enode, record, now());
        }
    }

    /// Writes the database now and then, and once more when `token` is cancelled. `local_seq` gives the number of the
    /// local record.
    pub(crate) async fn run(self, local_seq: impl Fn() -> u64, token: CancellationToken) {
        let mut ticks = interval(WRITE);
        let mut until_expiry = EXPIRE;
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            self.write(local_seq()).await;
            until_expiry = until_expiry.saturating_sub(1);
            if until_expiry == 0 {
                until_expiry = EXPIRE;
                self.database.lock().expire(now());
            }
        }
        self.write(local_seq()).await;
    }

    async fn write(&self, local_seq: u64) {
        let text = {
            let mut database = self.database.lock();
            database.set_local_seq(local_seq);
            metrics::gauge!("quintet_discovery_database_nodes").set(database.len() as f64);
            if self.path.is_none() { None } else { database.to_write() }
        };
        let (Some(text), Some(path)) = (text, self.path.clone()) else { return };
        let written =
            tokio::task::spawn_blocking(move || database::write(&path, &text).map_err(|error| (path, error)));
        if let Ok(Err((path, error))) = written.await {
            tracing::warn!(file = %path.display(), %error, "Couldn't write the node database");
        }
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
