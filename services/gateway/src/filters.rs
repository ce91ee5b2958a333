//! Polled filters. A filter of blocks or logs is only a cursor: the last block that its owner has seen. What changed
//! is read from the chain when it is asked for, reverted blocks included, so a filter costs no memory while nobody
//! polls it.

use crate::error::RpcError;
use crate::methods::LogFilter;
use parking_lot::Mutex;
use quintet_types::BlockRef;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A filter that is not polled for this long is forgotten, as in geth.
const EXPIRY: Duration = Duration::from_mins(5);
/// Filters at one time.
const MOST: usize = 1 << 16;

/// What a filter tells of, and up to where it has.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    /// Hashes of new blocks.
    Blocks(BlockRef),
    /// Logs.
    Logs(Arc<LogFilter>, BlockRef),
    /// Transactions that became pending: hashes, or whole.
    Pending {
        /// Where in the log of pending transactions.
        cursor: u64,
        /// Whole transactions.
        full: bool,
    },
}

/// The filters of this gateway.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    by_id: Mutex<HashMap<String, (Instant, Filter)>>,
}

impl Filters {
    /// Installs a filter; gives its id.
    pub(crate) fn install(&self, filter: Filter) -> Result<String, RpcError> {
        let mut filters = self.by_id.lock();
        let now = Instant::now();
        if filters.len() >= MOST {
            filters.retain(|_, (polled, _)| now.duration_since(*polled) < EXPIRY);
        }
        if filters.len() >= MOST {
            return Err(RpcError::server("too many filters"));
        }
        let id = random_id();
        filters.insert(id.clone(), (now, filter));
        Ok(id)
    }

    /// The filter of this id, which is thereby polled.
    pub(crate) fn get(&self, id: &str) -> Result<Filter, RpcError> {
        let mut filters = self.by_id.lock();
        let now = Instant::now();
        let not_found = || RpcError::server("filter not found");
        let (polled, filter) = filters.get_mut(id).ok_or_else(not_found)?;
        if now.duration_since(*polled) >= EXPIRY {
            filters.remove(id);
            return Err(not_found());
        }
        *polled = now;
        Ok(filter.clone())
    }

    /// Takes note of where a filter has got to.
    pub(crate) fn update(&self, id: &str, filter: Filter) {
        if let Some((_, held)) = self.by_id.lock().get_mut(id) {
            *held = filter;
        }
    }

    /// Forgets a filter; says whether there was one.
    pub(crate) fn uninstall(&self, id: &str) -> bool {
        self.by_id.lock().remove(id).is_some()
    }

    /// Forgets filters that nobody polls.
    pub(crate) fn expire(&self) {
        let now = Instant::now();
        self.by_id.lock().retain(|_, (polled, _)| now.duration_since(*polled) < EXPIRY);
    }
}

/// An id that cannot be guessed, as geth writes them: a quantity of 128 bits.
pub(crate) fn random_id() -> String {
    format!("{:#x}", rand::random::<u128>())
}
