//! Filters as methods: installing, polling and removing them.

use super::context::{Context, Output, Stop};
use super::logs::{LogFilter, LogWriter, no_logs, query, search};
use super::transactions;
use crate::decode;
use crate::error::RpcError;
use crate::filters::Filter;
use crate::json;
use crate::params::Params;
use crate::read::{Reads, View};
use crate::render;
use crate::shared::Shared;
use alloy_primitives::B256;
use futures::FutureExt;
use futures::future::BoxFuture;
use quintet_types::{BlockRef, RecoveredBlock};
use std::sync::Arc;

/// `eth_newFilter`.
pub(super) fn new_filter(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let filter = params.required(LogFilter::decode)?;
    params.end()?;
    filter.check()?;
    install(context, Filter::Logs(Arc::new(filter), context.view.head()), out)
}

/// `eth_newBlockFilter`.
pub(super) fn new_block_filter(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    install(context, Filter::Blocks(context.view.head()), out)
}

/// `eth_newPendingTransactionFilter`.
pub(super) fn new_pending_filter(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let full = params.optional(decode::boolean)?.unwrap_or_default();
    params.end()?;
    let cursor = context.shared.notices.pending_cursor();
    install(context, Filter::Pending { cursor, full }, out)
}

fn install(context: &Context<'_>, filter: Filter, out: &mut Output) -> Result<(), Stop> {
    let id = context.shared.filters.install(filter)?;
    json::string(&mut out.json, &id);
    Ok(())
}

/// `eth_uninstallFilter`.
pub(super) fn uninstall(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let id = params.required(decode::string)?;
    params.end()?;
    json::boolean(&mut out.json, context.shared.filters.uninstall(&id));
    Ok(())
}

/// `eth_getFilterLogs`: everything that the filter's range holds.
pub(super) fn filter_logs(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let id = params.required(decode::string)?;
    params.end()?;
    let Filter::Logs(filter, _) = context.shared.filters.get(&id)? else {
        return Err(RpcError::server("filter not found").into());
    };
    let mut writer = LogWriter::new(&mut out.json);
    query(context, &filter, &mut writer)?;
    writer.end();
    Ok(())
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
        match shared.filters.get(&id)? {
            Filter::Blocks(seen) => {
                let (head, hashes) = shared.reads.retry(|view| {
                    let steps = Steps::between(&shared.reads, view, seen)?;
                    Ok((view.head(), steps.added.iter().map(|block| block.hash).collect::<Vec<_>>()))
                })?;
                shared.filters.update(&id, Filter::Blocks(head));
                write_hashes(out, &hashes);
            }
            Filter::Logs(filter, seen) => {
                let (head, json) =
                    shared.reads.retry(|view| changed_logs(&shared.reads, view, &filter, seen))?;
                shared.filters.update(&id, Filter::Logs(filter, head));
                out.json.extend_from_slice(&json);
            }
            Filter::Pending { cursor, full } => {
                let (hashes, cursor) = shared.notices.pending_since(cursor);
                shared.filters.update(&id, Filter::Pending { cursor, full });
                if full {
                    write_pending(shared, &hashes, out).await?;
                } else {
                    write_hashes(out, &hashes);
                }
            }
        }
        Ok(())
    }
    .boxed()
}

fn write_hashes(out: &mut Output, hashes: &[B256]) {
    json::array(&mut out.json, hashes, |out, hash| json::data(out, hash.as_slice()));
}

/// The transactions whole, as they were when they became pending, whether or not they were mined meanwhile. Those
/// that were dropped are left out.
async fn write_pending(shared: &Shared, hashes: &[B256], out: &mut Output) -> Result<(), RpcError> {
    let mut written = Vec::with_capacity(hashes.len());
    for hash in hashes {
        let mut one = Vec::new();
        if let Some(pooled) = shared.chain.pool_transaction(*hash).await? {
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
    json::array(&mut out.json, written, |out, one| out.extend_from_slice(&one));
    Ok(())
}

fn changed_logs(
    reads: &Reads,
    view: &Arc<View>,
    filter: &LogFilter,
    seen: BlockRef,
) -> Result<(BlockRef, Vec<u8>), RpcError> {
    let mut json = Vec::new();
    if filter.block_hash.is_some() {
        no_logs(&mut json);
        return Ok((view.head(), json));
    }
    let steps = Steps::between(reads, view, seen)?;
    let mut writer = LogWriter::new(&mut json);
    for block in &steps.removed {
        search(reads, view, filter, block, true, &mut writer)?;
    }
    for block in &steps.added {
        let block = reads.block(view, &block.hash)?.ok_or(RpcError::ChainChanged)?;
        search(reads, view, filter, &block, false, &mut writer)?;
    }
    writer.end();
    Ok((view.head(), json))
}

/// The way from a block that was once the head to the head.
struct Steps {
    /// Blocks that left the chain, newest first.
    removed: Vec<Arc<RecoveredBlock>>,
    /// Blocks that are canonical since, oldest first.
    added: Vec<BlockRef>,
}

impl Steps {
    fn between(reads: &Reads, view: &View, seen: BlockRef) -> Result<Self, RpcError> {
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
        Ok(Self { removed, added })
    }
}
