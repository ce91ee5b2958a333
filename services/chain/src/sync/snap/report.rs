//! What is told of a state on its way in: to who asks for the progress, to metrics, and in the log.

use super::progress::{Counts, Tally};
use crate::sync::status::SyncStatus;
use alloy_primitives::B256;
use alloy_rlp::Encodable;
use quintet_chain_api::StateProgress;
use quintet_store::FetchedState;
use quintet_types::BlockRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Log lines are this far apart.
const EVERY: Duration = Duration::from_secs(8);
/// Bytes of a hash, which is what accounts and slots go by.
const HASH: usize = size_of::<B256>();

/// What was written of a state, and what is known to be missing.
#[derive(Debug)]
pub(super) struct Report {
    pivot: BlockRef,
    status: Arc<SyncStatus>,
    told: Instant,
    counts: Counts,
    missing: Missing,
}

/// What the healer waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// Nodes.
    pub(super) nodes: usize,
    /// Codes.
    pub(super) codes: usize,
}

impl Report {
    /// Goes on with what was written before.
    pub(super) fn new(pivot: BlockRef, status: Arc<SyncStatus>, counts: Counts) -> Self {
        metrics::gauge!("quintet_chain_sync_pivot_block").set(pivot.number as f64);
        tracing::info!(pivot = pivot.number, hash = %pivot.hash, "State synchronisation under way");
        let report = Self { pivot, status, told: Instant::now(), counts, missing: Missing::default() };
        report.status.has_state(report.progress());
        report
    }

    /// What is about to be written, of the pass that heals or the one before. Returns what was written in all then.
    pub(super) fn wrote(&mut self, part: &FetchedState, healing: bool) -> Counts {
        let nodes = part.nodes.iter().filter_map(|(_, node)| Some(node.as_ref()?.len()));
        let codes = part.code.iter().map(|(_, code)| code.len());
        let items = [
            ("account", part.accounts.len()),
            ("slot", part.slots.len()),
            ("code", part.code.len()),
            ("node", nodes.clone().count()),
        ];
        for (kind, count) in items {
            metrics::counter!("quintet_chain_sync_state_items_total", "kind" => kind).increment(count as u64);
        }
        if healing {
            // The accounts and slots of these nodes are there already, or take the places of others.
            self.counts.healed_nodes.add(nodes);
            self.counts.healed_codes.add(codes);
        } else {
            self.counts.accounts.add(part.accounts.iter().map(|(_, account)| HASH + account.length()));
            self.counts.slots.add(part.slots.iter().map(|(_, _, value)| 2 * HASH + value.length()));
            self.counts.codes.add(codes);
        }
        self.status.has_state(self.progress());
        self.counts
    }

    /// What is known to be missing now.
    pub(super) fn misses(&mut self, missing: Missing) {
        if std::mem::replace(&mut self.missing, missing) != missing {
            self.status.has_state(self.progress());
        }
    }

    fn progress(&self) -> StateProgress {
        let Counts { accounts, slots, codes, healed_nodes, healed_codes } = self.counts;
        StateProgress {
            accounts: accounts.count,
            account_bytes: accounts.bytes,
            codes: codes.count,
            code_bytes: codes.bytes,
            slots: slots.count,
            slot_bytes: slots.bytes,
            healed_nodes: healed_nodes.count,
            healed_node_bytes: healed_nodes.bytes,
            healed_codes: healed_codes.count,
            healed_code_bytes: healed_codes.bytes,
            missing_nodes: self.missing.nodes as u64,
            missing_codes: self.missing.codes as u64,
        }
    }

    /// Says how far it is, if it has not for a while.
    pub(super) fn tell(&mut self, state: &str) {
        if self.told.elapsed() < EVERY {
            return;
        }
        self.told = Instant::now();
        let Counts { accounts, slots, codes, healed_nodes, healed_codes } = self.counts;
        let bytes = [accounts, slots, codes, healed_nodes, healed_codes].map(|Tally { bytes, .. }| bytes);
        tracing::info!(
            pivot = self.pivot.number,
            accounts = accounts.count,
            slots = slots.count,
            codes = codes.count.saturating_add(healed_codes.count),
            healed_nodes = healed_nodes.count,
            bytes = bytes.into_iter().fold(0, u64::saturating_add),
            state,
            "Syncing the state"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Bytes, KECCAK256_EMPTY, U256};
    use quintet_trie::{EMPTY_ROOT_HASH, TrieAccount};

    #[tokio::test]
    async fn what_is_written_is_told_by_its_pass() {
        let status = Arc::new(SyncStatus::default());
        status.begin(0, 100);
        let told = || status.progress(0).unwrap().state;
        let mut before = Counts::default();
        before.accounts.add([10, 10].into_iter());
        let pivot = BlockRef { number: 36, hash: B256::ZERO };
        let mut report = Report::new(pivot, Arc::clone(&status), before);
        assert_eq!((told().accounts, told().account_bytes), (2, 20), "as it was when it was interrupted");

        let (storage_root, code_hash) = (EMPTY_ROOT_HASH, KECCAK256_EMPTY);
        let account = TrieAccount { nonce: 1, balance: U256::from(2), storage_root, code_hash };
        let part = FetchedState {
            accounts: vec![(B256::ZERO, account)],
            slots: vec![
                (B256::ZERO, B256::ZERO, U256::from(1)),
                (B256::ZERO, B256::ZERO, U256::from(0x1_0000)),
            ],
            code: vec![(B256::ZERO, Bytes::from_static(&[1, 2, 3]))],
            nodes: vec![(vec![1], Some(Bytes::from_static(&[0; 40]))), (vec![2], None)],
            ..FetchedState::default()
        };
        assert_eq!(report.wrote(&part, false).accounts.count, 3);
        let fetched = StateProgress {
            accounts: 3,
            // A hash; a list of two small numbers and two hashes.
            account_bytes: 20 + 32 + (2 + 1 + 1 + 33 + 33),
            codes: 1,
            code_bytes: 3,
            slots: 2,
            slot_bytes: (64 + 1) + (64 + 4),
            ..StateProgress::default()
        };
        assert_eq!(told(), fetched);

        report.misses(Missing { nodes: 5, codes: 6 });
        report.wrote(&part, true);
        assert_eq!(
            told(),
            StateProgress {
                healed_nodes: 1,
                healed_node_bytes: 40,
                healed_codes: 1,
                healed_code_bytes: 3,
                missing_nodes: 5,
                missing_codes: 6,
                ..fetched
            }
        );
    }
}
