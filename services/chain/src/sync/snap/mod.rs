//! Snap sync: the state of a block near the head, the pivot, is fetched from peers, and blocks are executed from there.
//!
//! ```text
//! pivot = head - 64 ─► history: headers, bodies and receipts up to it, checked and not executed
//!                   ─► ranges: accounts, slots, codes, each proven against the pivot's root
//!                   ─► build: the nodes of the trie from what came
//!                   ─► heal: what came from the states of older pivots is replaced, node by node
//!                   ─► adopt: the pivot is the head; the rest is a full sync
//! ```
//!
//! Peers have the states of their last blocks only, so the pivot moves on while all this lasts: history is extended to the new
//! one, and what was fetched stays. Nothing of it is seen by readers before the pivot is adopted.
//!
//! - `ranges` and `heal` are the passes: what to ask for, and what to write. `stale` says what a new node takes with it.
//! - `answer` checks answers; `fetch` sends requests to peers and writes; `progress` is what the store remembers.
//!
//! What must hold: what is adopted has the state root of a header that is part of a chain that was checked like any other.

mod answer;
mod ask;
mod build;
mod fetch;
mod heal;
#[cfg(test)]
mod heal_tests;
mod progress;
mod ranges;
mod report;
mod stale;

use super::ancestor::SealedHeader;
use super::choose::Plan;
use super::context::Context;
use super::network::{Fault, HeadersRequest, Start};
use super::{SyncError, SyncMode};
use crate::chain::Chain;
use alloy_primitives::B256;
use fetch::{Ended, fetch_state};
use quintet_types::BlockRef;
use tokio_util::sync::CancellationToken;

/// How far the pivot is below the head: a reorg should not reach it (geth's `fsMinFullBlocks`).
pub(crate) const PIVOT_DISTANCE: u64 = 64;

/// Which way to sync with a peer.
pub(crate) enum Way {
    /// Every block is executed.
    Full,
    /// By the state of a pivot below this head of the master's.
    Snap(Box<SealedHeader>),
}

impl Context {
    /// Which way to sync with a peer. A chain that has blocks of its own goes on executing them, and so does one whose peers have no
    /// states to offer.
    ///
    /// # Errors
    /// [`SyncError::NoState`] when a state that was begun cannot be gone on with; those of finding the master's head.
    pub(crate) async fn way(&self, plan: &Plan) -> Result<Way, SyncError> {
        if self.options.mode == SyncMode::Full {
            self.give_up_state().await?;
            return Ok(Way::Full);
        }
        let begun = self.chain.is_fetching_state();
        if !begun && self.chain.head().block.number > 0 {
            return Ok(Way::Full);
        }
        let head = self.head_of(&plan.master, plan.patience).await?;
        let highest = head.inner().number;
        let offered = self.network.peers().iter().any(|peer| peer.snap);
        match (begun, offered, highest > PIVOT_DISTANCE) {
            (_, true, true) => Ok(Way::Snap(Box::new(head))),
            (true, ..) => Err(SyncError::NoState),
            (false, offered, _) => {
                let reason = if offered { "the chain is short" } else { "no peer offers snap/1" };
                tracing::info!(highest, reason, "Every block is executed");
                Ok(Way::Full)
            }
        }
    }

    /// Who asks for every block to be executed does not want a state that was begun.
    pub(crate) async fn give_up_state(&self) -> Result<(), SyncError> {
        if self.options.mode == SyncMode::Full && self.chain.is_fetching_state() {
            self.blocking(Chain::abandon_fetched_state).await?;
        }
        Ok(())
    }

    /// Fetches the master's chain up to a pivot below its head, and the pivot's state.
    pub(crate) async fn synchronise_state(
        &self,
        mut plan: Plan,
        mut head: SealedHeader,
        token: &CancellationToken,
    ) -> Result<(), SyncError> {
        self.blocking(Chain::begin_fetching_state).await?;
        let mut before = None;
        loop {
            let master = plan.master;
            let chosen = token.run_until_cancelled(self.pivot(&plan, &head)).await;
            let (pivot, root) = chosen.unwrap_or(Err(SyncError::Cancelled))?;
            if before.replace(pivot) == Some(pivot) {
                tracing::warn!(
                    pivot = pivot.number,
                    "No peer has the state of the pivot, and the chain does not grow"
                );
                return Err(SyncError::NoState);
            }
            tracing::info!(peer = %master.id, pivot = pivot.number, hash = %pivot.hash, "Snap sync");
            self.fetch_history(plan.clone(), pivot, token).await?;
            match fetch_state(self, plan.clone(), (pivot, root), token).await? {
                Ended::Whole => {
                    self.blocking(move |chain| chain.adopt_snapshot(pivot)).await?;
                    tracing::info!(number = pivot.number, hash = %pivot.hash, "State is there, going on from its block");
                    return Ok(());
                }
                Ended::Stale => {
                    plan.master = self.network.peer(master.id).ok_or(SyncError::Gone(master.id))?;
                    tracing::debug!(pivot = pivot.number, "The pivot is too old, looking for a newer one");
                    let newest = token.run_until_cancelled(self.head_of(&plan.master, plan.patience)).await;
                    head = newest.unwrap_or(Err(SyncError::Cancelled))?;
                }
            }
        }
    }

    /// The pivot of the master's chain, and the root of its state. That it is part of a sound chain is for the history to show.
    async fn pivot(&self, plan: &Plan, head: &SealedHeader) -> Result<(BlockRef, B256), SyncError> {
        let Plan { master, patience, .. } = plan;
        if master.head.number.is_some_and(|claimed| claimed != head.inner().number) {
            return Err(SyncError::Fault(master.id, Fault::WrongAnnouncement));
        }
        let number = head.inner().number.checked_sub(PIVOT_DISTANCE).filter(|number| *number > 0);
        let number = number.ok_or(SyncError::NoState)?;
        self.status.begin(self.chain.head().block.number, head.inner().number);
        let request = HeadersRequest::one(Start::Number(number));
        let mut headers = self.ask(master.id, *patience, request).await?;
        let header = headers.pop().filter(|header| headers.is_empty() && header.inner().number == number);
        let header = header.ok_or(SyncError::Fault(master.id, Fault::WrongHeaders))?;
        Ok((BlockRef { number, hash: header.hash() }, header.inner().state_root))
    }
}
