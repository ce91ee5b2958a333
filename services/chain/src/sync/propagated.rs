//! One block that a peer announced or sent: its header and seal are checked, it is passed on, imported, and announced.

use super::bodies::BodyRoots;
use super::check::Rejected;
use super::fetcher::Arrived;
use super::network::{Fault, Network};
use crate::chain::Chain;
use crate::error::ChainError;
use crate::import::{IN_THE_FUTURE, Imported};
use crate::verify::judged;
use quintet_chainspec::Fork;
use quintet_consensus::{Parent, check_body, fork_of};
use quintet_service::propagation;
use quintet_types::{Block, BlockRef, RecoveredBlock, recover_senders};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A block that is ahead of the clock by more is not waited for (geth's `maxTimeFutureBlocks`).
const MOST_EARLY: u64 = 30;

/// What became of the block.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is imported, or was there.
    Imported,
    /// Its parent is not held: a sync brings both.
    Orphan,
    /// Our clock does not allow it for so long.
    Early(Duration),
    /// Its sender is at fault.
    Fault(Fault),
    /// The node failed.
    Node(ChainError),
}

/// Takes a block in, as a part of the message's trace.
pub(crate) fn take_in(
    chain: &Chain,
    network: &dyn Network,
    rejected: &Rejected,
    arrived: Arrived,
) -> Outcome {
    let header = &arrived.block.header;
    let span = tracing::info_span!(
        "propagated block", number = header.number.cast_signed(), hash = %arrived.hash, peer = %arrived.peer
    );
    propagation::set_parent(&span, &arrived.trace);
    span.in_scope(|| {
        let (number, hash) = (arrived.block.header.number, arrived.hash);
        let timestamp = arrived.block.header.timestamp;
        match import(chain, network, arrived) {
            Ok(outcome) => outcome,
            Err(ChainError::InvalidBlock { reason, .. }) if reason == IN_THE_FUTURE => {
                early(timestamp).unwrap_or(Outcome::Fault(Fault::InvalidBlock { number, hash, reason }))
            }
            Err(ChainError::InvalidBlock { number, hash, reason }) => {
                tracing::debug!(number, %hash, reason, "Propagated block import failed");
                rejected.add(hash, reason.clone());
                Outcome::Fault(Fault::InvalidBlock { number, hash, reason })
            }
            Err(ChainError::UnknownAncestor { .. } | ChainError::FetchingState) => Outcome::Orphan,
            Err(error) => Outcome::Node(error),
        }
    })
}

fn import(chain: &Chain, network: &dyn Network, arrived: Arrived) -> Result<Outcome, ChainError> {
    let Arrived { block, hash, .. } = arrived;
    if chain.store.block_number(&hash)?.is_some() {
        return Ok(Outcome::Imported);
    }
    let parent = block.header.parent_hash;
    let (Some(header), Some(parent_td)) =
        (chain.store.header(&parent)?, chain.store.total_difficulty(&parent)?)
    else {
        return Ok(Outcome::Orphan);
    };
    // From here on the hash vouches for all of the block, so that what is wrong with it is wrong with the hash.
    if BodyRoots::of(&block.body) != BodyRoots::in_header(&block.header) {
        return Ok(Outcome::Fault(Fault::WrongBodies));
    }
    let block = recovered(chain, Arc::unwrap_or_clone(block), hash)?;
    let parent = Parent { header: &header, hash: parent, total_difficulty: parent_td };
    check_header(chain, &block, &parent)?;
    let total_difficulty = parent_td.saturating_add(block.header().difficulty);
    network.broadcast_block(&block.block, total_difficulty);
    let reference: BlockRef = block.block_ref();
    if matches!(chain.import(block, 0)?, Imported::Head | Imported::Side) {
        network.announce_block(reference);
    }
    Ok(Outcome::Imported)
}

/// What a block must keep before it is passed on: the rules on its header, its seal, and that the body is its own.
fn check_header(chain: &Chain, block: &RecoveredBlock, parent: &Parent<'_>) -> Result<(), ChainError> {
    let rules = chain.engine.after(parent.total_difficulty);
    crate::import::check_clock(rules, block)?;
    let checked = rules.check_header(block.header(), parent, &chain.ancestors);
    let checked = checked.and_then(|()| rules.check_seal(block.header()));
    checked.map_err(|error| judged(block, error))?;
    check_body(&chain.spec, &block.block).map_err(|error| crate::verify::invalid(block, &error))
}

fn recovered(
    chain: &Chain,
    block: Block,
    hash: alloy_primitives::B256,
) -> Result<RecoveredBlock, ChainError> {
    let low_s = fork_of(&chain.spec, &block.header) >= Fork::Homestead;
    let senders = recover_senders(&block.body.transactions, low_s).map_err(|error| {
        ChainError::InvalidBlock { number: block.header.number, hash, reason: error.to_string() }
    })?;
    Ok(RecoveredBlock { hash, block, senders })
}

/// How long until our clock allows a block of this time, if that is soon.
fn early(timestamp: u64) -> Option<Outcome> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let allowed = Duration::from_secs(timestamp);
    let wait = allowed.checked_sub(now)?;
    (wait <= Duration::from_secs(MOST_EARLY)).then_some(Outcome::Early(wait.max(Duration::from_millis(50))))
}
