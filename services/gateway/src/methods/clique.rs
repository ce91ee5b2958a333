//! Signers and votes of a proof-of-authority network (EIP-225).
//!
//! Snapshots are computed here, from the store's headers and from those snapshots that `chain` has stored.

use super::context::{Context, Output, Stop};
use super::network::unavailable;
use crate::decode::{self, BlockId, BlockOrRlp, BlockTag};
use crate::error::RpcError;
use crate::json;
use crate::params::Params;
use crate::shared::Shared;
use alloy_primitives::{Address, B256, Bytes};
use futures::FutureExt;
use futures::future::BoxFuture;
use quintet_clique::{Clique, CliqueError, DIFFICULTY_IN_TURN, Snapshot, SnapshotStore, snapshot_key};
use quintet_store::Store;
use quintet_types::{Ancestry, Block, BlockRef, Header, StateError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blocks that `clique_status` looks back.
const STATUS_BLOCKS: u64 = 64;

/// `clique_getSnapshot`: the state of the vote after a canonical block.
pub(super) fn snapshot(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let block = canonical(context, params, out)?;
    json::value(&mut out.json, &*snapshot_of(context, block)?);
    Ok(())
}

/// `clique_getSnapshotAtHash`: the same, for any block.
pub(super) fn snapshot_at_hash(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let block = any(context, params)?;
    json::value(&mut out.json, &*snapshot_of(context, block)?);
    Ok(())
}

/// `clique_getSigners`: who may sign after a canonical block.
pub(super) fn signers(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let block = canonical(context, params, out)?;
    json::value(&mut out.json, &snapshot_of(context, block)?.signers);
    Ok(())
}

/// `clique_getSignersAtHash`: the same, for any block.
pub(super) fn signers_at_hash(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let block = any(context, params)?;
    json::value(&mut out.json, &snapshot_of(context, block)?.signers);
    Ok(())
}

/// `clique_getSigner`: who sealed a block, which is held or given as RLP (a block's or a header's).
pub(super) fn signer(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let block = params.optional(decode::block_or_rlp)?;
    params.end()?;
    let header = match block {
        None => Arc::new(context.view.header().clone()),
        Some(BlockOrRlp::Id(id)) => held_header(context, id)?,
        Some(BlockOrRlp::Rlp(rlp)) => Arc::new(decode_header(&rlp)?),
    };
    let signer = engine(context.shared)?.recover_signer(&header).map_err(refused)?;
    json::data(&mut out.json, signer.as_slice());
    Ok(())
}

/// What `clique_status` answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// Percentage of blocks by the signer whose turn it was; without a fraction where it has none.
    inturn_percent: serde_json::Number,
    /// Blocks by their signers, of which those who sealed none are listed too.
    sealer_activity: BTreeMap<Address, u64>,
    /// Blocks looked at.
    num_blocks: u64,
}

/// `clique_status`: who sealed the blocks before the head, and whether it was their turn.
pub(super) fn status(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    let (clique, head) = (engine(context.shared)?, context.view.head());
    let signers = snapshot_of(context, head)?.signers_in_order();
    let mut activity: BTreeMap<Address, u64> = signers.into_iter().map(|signer| (signer, 0)).collect();
    let start = head.number.saturating_sub(STATUS_BLOCKS).max(1);
    let mut in_turn = 0;
    for number in start..head.number {
        let header = context.shared.reads.canonical_header(&context.view, number)?;
        let (hash, header) = header.ok_or_else(|| RpcError::server(format!("missing block {number}")))?;
        if header.difficulty == DIFFICULTY_IN_TURN {
            in_turn += 1;
        }
        *activity.entry(clique.recover_hashed(&header, &hash).map_err(refused)?).or_default() += 1;
    }
    let blocks = head.number.saturating_sub(start);
    let status =
        Status { inturn_percent: percent(in_turn, blocks), sealer_activity: activity, num_blocks: blocks };
    json::value(&mut out.json, &status);
    Ok(())
}

/// A percentage as Go writes it. Of no blocks it is zero, where geth fails.
fn percent(part: u64, whole: u64) -> serde_json::Number {
    let hundredfold = part * 100;
    match hundredfold.checked_rem(whole) {
        None => 0.into(),
        Some(0) => (hundredfold / whole).into(),
        Some(_) => serde_json::Number::from_f64(hundredfold as f64 / whole as f64).unwrap_or(0.into()),
    }
}

/// `clique_propose`: votes for an account to be a signer, or no more, whenever this node seals.
pub(super) fn propose<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let address = params.required(decode::address)?;
        let authorize = params.required(decode::boolean)?;
        params.end()?;
        shared.miner.propose(address, authorize).await.map_err(unavailable)?;
        json::null(&mut out.json);
        Ok(())
    }
    .boxed()
}

/// `clique_discard`: stops voting on an account.
pub(super) fn discard<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let address = params.required(decode::address)?;
        params.end()?;
        shared.miner.discard(address).await.map_err(unavailable)?;
        json::null(&mut out.json);
        Ok(())
    }
    .boxed()
}

fn unknown_block() -> Stop {
    refused(CliqueError::UnknownBlock).into()
}

/// The block of a method's one parameter, the head if there is none. There is no snapshot of the pending block, nor
/// does geth have one of the safe and the finalized block.
fn canonical(context: &Context<'_>, params: &mut Params<'_>, out: &mut Output) -> Result<BlockRef, Stop> {
    let tag = params.optional(decode::block_tag)?;
    params.end()?;
    let number = match tag {
        None | Some(BlockTag::Latest) => return Ok(context.view.head()),
        Some(BlockTag::Earliest) => 0,
        Some(BlockTag::Number(number)) => number,
        Some(BlockTag::Pending | BlockTag::Safe | BlockTag::Finalized) => return Err(unknown_block()),
    };
    let block = context.shared.reads.canonical(&context.view, number)?.ok_or_else(unknown_block)?;
    out.block = block.number;
    Ok(block)
}

/// The block whose hash is a method's one parameter.
fn any(context: &Context<'_>, params: &mut Params<'_>) -> Result<BlockRef, Stop> {
    let hash = params.required(decode::hash)?;
    params.end()?;
    context.shared.reads.block_ref(&context.view, &hash)?.ok_or_else(unknown_block)
}

fn snapshot_of(context: &Context<'_>, block: BlockRef) -> Result<Arc<Snapshot>, RpcError> {
    let headers = Headers(context);
    let stored = Stored(context.shared.reads.store());
    engine(context.shared)?.snapshot_at(&headers, &stored, block).map_err(refused)
}

fn held_header(context: &Context<'_>, id: BlockId) -> Result<Arc<Header>, RpcError> {
    let (reads, view) = (&context.shared.reads, &context.view);
    let number = match id {
        BlockId::Hash { hash, .. } => {
            let header = reads.header(view, &hash)?;
            return header.ok_or_else(|| RpcError::server(format!("missing block {hash}")));
        }
        BlockId::Tag(BlockTag::Latest) => return Ok(Arc::new(view.header().clone())),
        BlockId::Tag(BlockTag::Earliest) => 0,
        BlockId::Tag(BlockTag::Number(number)) => number,
        // geth's numbers for these.
        BlockId::Tag(BlockTag::Pending) => return Err(RpcError::server("missing block -1")),
        BlockId::Tag(BlockTag::Finalized) => return Err(RpcError::server("missing block -3")),
        BlockId::Tag(BlockTag::Safe) => return Err(RpcError::server("missing block -4")),
    };
    let header = reads.canonical_header(view, number)?;
    header.map(|(_, header)| header).ok_or_else(|| RpcError::server(format!("missing block {number}")))
}

fn decode_header(rlp: &Bytes) -> Result<Header, RpcError> {
    if let Ok(block) = alloy_rlp::decode_exact::<Block>(rlp) {
        return Ok(block.header);
    }
    alloy_rlp::decode_exact::<Header>(rlp).map_err(|error| RpcError::server(format!("rlp: {error}")))
}

/// The methods are only offered where there is an engine.
fn engine(shared: &Shared) -> Result<&Clique, RpcError> {
    shared.clique.as_ref().ok_or_else(|| RpcError::server("not a proof-of-authority network"))
}

fn refused(error: CliqueError) -> RpcError {
    match error {
        CliqueError::Read(error) => error.into(),
        error => RpcError::server(error.to_string()),
    }
}

/// The store's headers, for as long as the request has time.
struct Headers<'a>(&'a Context<'a>);

impl Ancestry for Headers<'_> {
    fn header(&self, hash: &B256) -> Result<Option<Header>, StateError> {
        self.0.check_time().map_err(StateError::new)?;
        self.0.shared.reads.store().header(hash).map_err(StateError::new)
    }

    fn uncles(&self, hash: &B256) -> Result<Option<Vec<Header>>, StateError> {
        let body = self.0.shared.reads.store().body(hash).map_err(StateError::new)?;
        Ok(body.map(|body| body.ommers))
    }
}

/// The snapshots that `chain` has stored. Nothing is added to them: `chain` alone writes.
struct Stored<'a>(&'a dyn Store);

impl SnapshotStore for Stored<'_> {
    fn load(&self, hash: &B256) -> Option<Bytes> {
        self.0.meta(&snapshot_key(hash)).ok().flatten()
    }

    fn save(&self, _: &B256, _: Bytes) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_written_as_go_does() {
        let written = |part, whole| percent(part, whole).to_string();
        assert_eq!(written(64, 64), "100");
        assert_eq!(written(0, 0), "0");
        assert_eq!(written(63, 64), "98.4375");
        assert_eq!(written(1, 3), "33.333333333333336");
    }
}
