//! Filters as methods: installing, polling and removing them.

use super::context::{Context, Output, Stop};
use super::logs::{LogFilter, LogWriter, no_logs, query, search};
use super::transactions;
use crate::auth::Caller;
use crate::decode;
use crate::error::RpcError;
use crate::filters::{Criteria, Cursor, Kind};
use crate::json;
use crate::params::Params;
use crate::pool_log::Logged;
use crate::read::{Reads, View};
use crate::render;
use crate::shared::Shared;
use alloy_primitives::B256;
use futures::FutureExt;
use futures::future::BoxFuture;
use quintet_types::{BlockRef, RecoveredBlock};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How often a poll looks again after another poll of the same filter has moved it.
const ATTEMPTS: usize = 8;
/// How long looking through blocks may take.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(30);

/// `eth_newFilter`.
pub(super) fn new_filter<'a>(
    shared: &'a Shared,
    caller: &'a Caller,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let criteria = params.required(Criteria::decode)?;
        params.end()?;
        criteria.filter.check()?;
        let cursor = Cursor::Block(shared.reads.view().head());
        install(shared, caller, Kind::Logs(Arc::new(criteria)), cursor, out).await
    }
    .boxed()
}

/// `eth_newBlockFilter`.
pub(super) fn new_block_filter<'a>(
    shared: &'a Shared,
    caller: &'a Caller,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        let cursor = Cursor::Block(shared.reads.view().head());
        install(shared, caller, Kind::Blocks, cursor, out).await
    }
    .boxed()
}

/// `eth_newPendingTransactionFilter`.
pub(super) fn new_pending_filter<'a>(
    shared: &'a Shared,
    caller: &'a Caller,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let full = params.optional(decode::boolean)?.unwrap_or_default();
        params.end()?;
        let cursor = Cursor::Pool(shared.pool_log.end().await?);
        install(shared, caller, Kind::Pending { full }, cursor, out).await
    }
    .boxed()
}

async fn install(
    shared: &Shared,
    caller: &Caller,
    kind: Kind,
    cursor: Cursor,
    out: &mut Output,
) -> Result<(), RpcError> {
    let id = shared.filters.install(kind, cursor, &caller.owner()).await?;
    json::string(&mut out.json, &id);
    Ok(())
}

/// `eth_uninstallFilter`.
pub(super) fn uninstall<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let id = params.required(decode::string)?;
        params.end()?;
        json::boolean(&mut out.json, shared.filters.uninstall(&id).await?);
        Ok(())
    }
    .boxed()
}

/// `eth_getFilterLogs`: everything that the filter's range holds.
pub(super) fn filter_logs<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let id = params.required(decode::string)?;
        params.end()?;
        let Kind::Logs(criteria) = shared.filters.get(&id).await?.kind else {
            return Err(RpcError::server("filter not found"));
        };
        let searched = shared.evm.run_for(SEARCH_TIMEOUT, |cancel| {
            shared.reads.retry(|view| {
                let context = Context { shared, view: Arc::clone(view), pending: None, cancel: Some(cancel) };
                let mut json = Vec::new();
                let mut writer = LogWriter::new(&mut json);
                query(&context, &criteria.filter, &mut writer).map_err(Stop::into_error)?;
                writer.end();
                Ok((view.head().number, json))
            })
        });
        let (block, json) = searched.await??;
        out.block = block;
        out.json.extend_from_slice(&json);
        Ok(())
    }
    .boxed()
}

/// `eth_getFilterChanges`.
pub(super) fn changes<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let id = params.required(decode::string)?;
        params.end()?;
        for _ in 0..ATTEMPTS {
            let held = shared.filters.get(&id).await?;
            let mut changes = Changes { cursor: held.cursor.clone(), json: Vec::new() };
            match (&held.kind, &held.cursor) {
                (Kind::Pending { full }, Cursor::Pool(place)) => {
                    let (logged, place) = shared.pool_log.since(place).await?;
                    changes.cursor = Cursor::Pool(place);
                    if *full {
                        write_pending(shared, &logged, &mut changes.json).await?;
                    } else {
                        write_hashes(&mut changes.json, logged.iter().map(|logged| logged.hash));
                    }
                }
                (kind, Cursor::Block(seen)) => {
                    let look = |_: &AtomicBool| {
                        shared.reads.retry(|view| chain_changes(&shared.reads, view, kind, *seen))
                    };
                    changes = shared.evm.run_for(SEARCH_TIMEOUT, look).await??;
                }
                _ => return Err(RpcError::server("filter not found")),
            }
            // Where nothing moved there is nothing that another poll could tell twice.
            if changes.cursor == held.cursor || shared.filters.advance(&id, &held, changes.cursor).await? {
                out.json.extend_from_slice(&changes.json);
                return Ok(());
            }
        }
        Err(RpcError::server("the filter is polled by too many at once; try again"))
    }
    .boxed()
}

/// What a poll tells, and up to where.
struct Changes {
    cursor: Cursor,
    json: Vec<u8>,
}

fn chain_changes(reads: &Reads, view: &Arc<View>, kind: &Kind, seen: BlockRef) -> Result<Changes, RpcError> {
    let mut json = Vec::new();
    let Some(steps) = Steps::between(reads, view, seen)? else {
        // Another replica has told of blocks that have not come here yet.
        json::array(&mut json, [(); 0], |_, ()| {});
        return Ok(Changes { cursor: Cursor::Block(seen), json });
    };
    match kind {
        Kind::Logs(criteria) => write_logs(reads, view, &criteria.filter, &steps, &mut json)?,
        Kind::Blocks | Kind::Pending { .. } => {
            write_hashes(&mut json, steps.added.iter().map(|block| block.hash));
        }
    }
    Ok(Changes { cursor: Cursor::Block(view.head()), json })
}

fn write_hashes(out: &mut Vec<u8>, hashes: impl Iterator<Item = B256>) {
    json::array(out, hashes, |out, hash| json::data(out, hash.as_slice()));
}

/// The transactions whole, as they were when they became pending, whether or not they were mined meanwhile. Where
/// the log has only their hashes, those that were dropped are left out.
async fn write_pending(shared: &Shared, logged: &[Logged], out: &mut Vec<u8>) -> Result<(), RpcError> {
    let mut written = Vec::with_capacity(logged.len());
    for logged in logged {
        let (mut one, hash) = (Vec::new(), &logged.hash);
        if let Some(pooled) = logged.transaction() {
            render::write_pending(&mut one, &pooled.transaction, pooled.sender);
        } else if let Some(pooled) = shared.chain.pool_transaction(*hash).await? {
            render::write_pending(&mut one, &pooled.transaction, pooled.sender);
        } else if let Some(mined) = shared.reads.retry(|view| transactions::mined(shared, view, hash))?
            && let Some((transaction, sender)) = mined.transaction()
        {
            render::write_pending(&mut one, transaction, sender);
        } else {
            continue;
        }
        written.push(one);
    }
    json::array(out, written, |out, one| out.extend_from_slice(&one));
    Ok(())
}

fn write_logs(
    reads: &Reads,
    view: &Arc<View>,
    filter: &LogFilter,
    steps: &Steps,
    json: &mut Vec<u8>,
) -> Result<(), RpcError> {
    if filter.block_hash.is_some() {
        no_logs(json);
        return Ok(());
    }
    let mut writer = LogWriter::new(json);
    for block in &steps.removed {
        search(reads, view, filter, block, true, &mut writer)?;
    }
    for block in &steps.added {
        let block = reads.block(view, &block.hash)?.ok_or(RpcError::ChainChanged)?;
        search(reads, view, filter, &block, false, &mut writer)?;
    }
    writer.end();
    Ok(())
}

/// The way from a block that was once the head to the head.
struct Steps {
    /// Blocks that left the chain, newest first.
    removed: Vec<Arc<RecoveredBlock>>,
    /// Blocks that are canonical since, oldest first.
    added: Vec<BlockRef>,
}

impl Steps {
    /// `None` where the view is behind: it does not know the block, but the chain has it.
    fn between(reads: &Reads, view: &View, seen: BlockRef) -> Result<Option<Self>, RpcError> {
        if reads.canonical(view, seen.number)? != Some(seen) && is_ahead(reads, view, seen)? {
            return Ok(None);
        }
        let mut removed = Vec::new();
        let mut at = seen;
        while reads.canonical(view, at.number)? != Some(at) {
            let Some(block) = reads.block(view, &at.hash)? else { break };
            let Some(number) = at.number.checked_sub(1) else { break };
            at = BlockRef { number, hash: block.header().parent_hash };
            removed.push(block);
        }
        let mut added = Vec::new();
        for number in at.number + 1..=view.header().number {
            added.push(reads.canonical(view, number)?.ok_or(RpcError::ChainChanged)?);
        }
        Ok(Some(Self { removed, added }))
    }
}

/// Whether a block that the view's chain does not have is one that the view has yet to come to: it is in the chain as
/// the store has it, or above all that the view and the store have.
fn is_ahead(reads: &Reads, view: &View, seen: BlockRef) -> Result<bool, RpcError> {
    match reads.store().canonical_hash(seen.number)? {
        Some(canonical) => Ok(canonical == seen.hash),
        // A block that was taken back is still held; one that nobody here has heard of has not come yet.
        None => Ok(seen.number > view.header().number && reads.block(view, &seen.hash)?.is_none()),
    }
}
