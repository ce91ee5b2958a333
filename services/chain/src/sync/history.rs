//! The blocks below a state that is fetched whole, with their receipts: one part of a snap sync.

use super::ancestor::AncestorSearch;
use super::check::Tip;
use super::choose::Plan;
use super::context::Context;
use super::download::Download;
use super::network::PeerId;
use super::{Sync, SyncError};
use crate::chain::Chain;
use quintet_types::BlockRef;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// No request of [`Sync::fetch_history`] takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why history was not fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the blocks below the state were not fetched: {0}")]
pub struct NoHistory(pub String);

impl Sync {
    /// Fetches the blocks up to `pivot`, and their receipts, from all peers, and imports them as history. `master` is the
    /// peer whose chain it is. A sync does this by itself; here it is done alone.
    ///
    /// # Errors
    /// When the master is at fault or gone, its chain has no such block, or the node fails. What was imported stays.
    pub async fn fetch_history(
        &self,
        master: PeerId,
        pivot: BlockRef,
        token: &CancellationToken,
    ) -> Result<(), NoHistory> {
        let master = self
            .context
            .network
            .peer(master)
            .ok_or_else(|| NoHistory(format!("there is no peer {master}")))?;
        let plan = Plan { master, patience: PATIENCE, doubtful: Vec::new() };
        let fetched = self.context.fetch_history(plan, pivot, token).await;
        self.context.status.end();
        fetched.map_err(|error| NoHistory(format!("{error:?}")))
    }
}

impl Context {
    /// Fetches the blocks of the master's chain up to `pivot`, with their receipts, and imports them as history; what is
    /// held of it already is not fetched again. Done once the pivot is held. Cancelled, it ends once nothing is
    /// imported any more. It tells [`SyncStatus`] of its progress, and leaves it to the caller to end that.
    ///
    /// # Errors
    /// As of [`Context::synchronise`]: the master's faults, and [`SyncError::Moved`] where the pivot is not on the
    /// master's chain any more. What was imported stays.
    pub(crate) async fn fetch_history(
        &self,
        plan: Plan,
        pivot: BlockRef,
        token: &CancellationToken,
    ) -> Result<(), SyncError> {
        let begin = token.run_until_cancelled(self.begin_history(&plan, pivot)).await;
        let Some(tip) = begin.unwrap_or(Err(SyncError::Cancelled))? else { return Ok(()) };
        Download::of_history(self, plan, tip, pivot).run(token).await
    }

    /// Where history is to be gone on with; `None` if the pivot is held.
    async fn begin_history(&self, plan: &Plan, pivot: BlockRef) -> Result<Option<Tip>, SyncError> {
        let highest = plan.master.head.number.unwrap_or(pivot.number).max(pivot.number);
        if self.blocking(move |chain| chain.is_history(&pivot.hash)).await? {
            self.status.go_on(pivot.number, highest);
            return Ok(None);
        }
        let newest = self.blocking(Chain::history_tip).await?.unwrap_or_else(|| self.genesis());
        let search = AncestorSearch::new(self.genesis(), newest.number, pivot.number, 0);
        let held = |chain: &Chain, block: BlockRef| chain.is_history(&block.hash);
        let ancestor = self.search(plan, search, held).await?;
        if ancestor.number >= pivot.number {
            return Err(SyncError::Moved(plan.master.id));
        }
        let tip = self.tip_at(ancestor).await?;
        tracing::info!(
            peer = %plan.master.id, ancestor = ancestor.number, number = pivot.number, hash = %pivot.hash,
            "Fetching the blocks below the state"
        );
        self.status.go_on(ancestor.number, highest);
        Ok(Some(tip))
    }
}
