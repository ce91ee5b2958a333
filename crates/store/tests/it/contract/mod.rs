//! What every engine must do. A case gets a place: each call of it opens the same store again.

mod base;
mod batch;
mod blocks;
mod concurrent;
mod fetched;
mod history;
mod model;
mod reorg;
mod state;
mod trie;

pub(crate) use base::*;
pub(crate) use batch::*;
pub(crate) use blocks::*;
pub(crate) use concurrent::*;
pub(crate) use fetched::*;
pub(crate) use history::*;
pub(crate) use model::*;
pub(crate) use reorg::*;
pub(crate) use state::*;
pub(crate) use trie::*;

use quintet_store::Store;
use std::sync::Arc;

/// Opens the store of one case; the store of an earlier call must be dropped before.
pub(crate) type Place = Box<dyn Fn() -> Arc<dyn Store>>;

/// Makes a test of every case, for an engine whose fresh places come from `$place`.
macro_rules! contract {
    ($place:path) => {
        contract!(@ $place:
            blocks_read_back, an_empty_store_answers, side_blocks_stay_aside, blocks_must_chain,
            meta_values_come_and_go, long_names_are_refused, malformed_blocks_are_refused,
            large_records_fit, everything_survives_reopening, a_refused_commit_writes_nothing,
            versions_are_kept, destroyed_accounts_and_new_lives, diffs_are_rebuilt, walks_see_one_block,
            unknown_blocks_are_named,
            a_reorg_replaces_versions, a_transaction_moves_with_its_block, a_block_returns,
            readers_notice_a_reorg, unwinding_needs_a_canonical_block,
            trie_nodes_by_key, wiped_prefixes_go_first, the_trie_stays_canonical,
            readers_run_beside_commits,
            many_reads_at_once, storage_is_known_to_be_empty, syncing_changes_nothing,
            any_history_reads_like_the_model, any_history_over_a_base_reads_like_the_model,
            versions_lie_over_the_base, the_state_below_the_base_is_not_held, an_adopted_state_is_unwound_to,
            a_base_is_known_to_have_storage, a_state_reader_notices_an_adoption,
            history_is_not_canonical_before_it_is_adopted, side_blocks_become_history,
            what_cannot_be_adopted_is_refused, history_needs_a_chain_of_genesis_alone,
            transactions_are_those_of_the_adopted_chain, history_above_the_adopted_block_is_not_seen, a_chain_may_be_executed_after_all,
            fetched_parts_read_back, fetched_ranges_are_wiped_first, a_state_is_not_fetched_over_another,
        );
    };
    (@ $place:path: $($case:ident),* $(,)?) => {
        $(#[test] fn $case() { crate::contract::$case(&$place()); })*
    };
}
