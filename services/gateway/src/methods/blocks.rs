//! Blocks, headers and uncles.

use super::context::{Context, Output, Stop};
use crate::decode::{self, BlockId, BlockTag};
use crate::json;
use crate::params::Params;
use crate::read::BlockJson;
use crate::render;
use quintet_types::RecoveredBlock;
use std::sync::Arc;

/// `eth_blockNumber`.
pub(super) fn block_number(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    json::quantity(&mut out.json, context.view.header().number);
    Ok(())
}

/// `eth_getBlockByHash`.
pub(super) fn by_hash(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let hash = params.required(decode::hash)?;
    let full = params.required(decode::boolean)?;
    params.end()?;
    write_json(context, &hash, full, out)
}

/// `eth_getBlockByNumber`.
pub(super) fn by_number(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let tag = params.required(decode::block_tag)?;
    let full = params.required(decode::boolean)?;
    params.end()?;
    if tag == BlockTag::Pending {
        let pending = context.pending()?;
        render::write_block(&mut out.json, pending.block(), None, full, true);
        return Ok(());
    }
    let Some(block) = context.canonical(tag)? else {
        json::null(&mut out.json);
        return Ok(());
    };
    out.block = block.number;
    write_json(context, &block.hash, full, out)
}

fn write_json(
    context: &Context<'_>,
    hash: &alloy_primitives::B256,
    full: bool,
    out: &mut Output,
) -> Result<(), Stop> {
    let kind = if full { BlockJson::Full } else { BlockJson::Hashes };
    match context.shared.reads.block_json(&context.view, hash, kind)? {
        Some(json) => out.splice(&json),
        None => json::null(&mut out.json),
    }
    Ok(())
}

/// `eth_getHeaderByHash`.
pub(super) fn header_by_hash(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let hash = params.required(decode::hash)?;
    params.end()?;
    match context.shared.reads.header(&context.view, &hash)? {
        Some(header) => render::write_header_object(&mut out.json, &header, hash),
        None => json::null(&mut out.json),
    }
    Ok(())
}

/// `eth_getHeaderByNumber`.
pub(super) fn header_by_number(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let tag = params.required(decode::block_tag)?;
    params.end()?;
    if tag == BlockTag::Pending {
        let header = context.pending()?.block().header().clone();
        let hash = header.hash_slow();
        render::write_header_object(&mut out.json, &header, hash);
        return Ok(());
    }
    let Some(block) = context.canonical(tag)? else {
        json::null(&mut out.json);
        return Ok(());
    };
    match context.shared.reads.header(&context.view, &block.hash)? {
        Some(header) => render::write_header_object(&mut out.json, &header, block.hash),
        None => json::null(&mut out.json),
    }
    Ok(())
}

/// `eth_getBlockTransactionCountByHash`.
pub(super) fn transaction_count_by_hash(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    count_by_hash(context, params, out, |block| block.block.body.transactions.len())
}

/// `eth_getBlockTransactionCountByNumber`.
pub(super) fn transaction_count_by_number(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    count_by_number(context, params, out, |block| block.block.body.transactions.len())
}

/// `eth_getUncleCountByBlockHash`.
pub(super) fn uncle_count_by_hash(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    count_by_hash(context, params, out, |block| block.block.body.ommers.len())
}

/// `eth_getUncleCountByBlockNumber`.
pub(super) fn uncle_count_by_number(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    count_by_number(context, params, out, |block| block.block.body.ommers.len())
}

fn count_by_hash(
    context: &Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
    count: impl Fn(&RecoveredBlock) -> usize,
) -> Result<(), Stop> {
    let hash = params.required(decode::hash)?;
    params.end()?;
    write_count(context.block(&hash)?, out, count);
    Ok(())
}

fn count_by_number(
    context: &Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
    count: impl Fn(&RecoveredBlock) -> usize,
) -> Result<(), Stop> {
    let tag = params.required(decode::block_tag)?;
    params.end()?;
    write_count(context.block_at(tag)?, out, count);
    Ok(())
}

fn write_count(
    block: Option<Arc<RecoveredBlock>>,
    out: &mut Output,
    count: impl Fn(&RecoveredBlock) -> usize,
) {
    match block {
        Some(block) => json::quantity(&mut out.json, count(&block) as u64),
        None => json::null(&mut out.json),
    }
}

/// `eth_getUncleByBlockHashAndIndex`.
pub(super) fn uncle_by_hash(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let hash = params.required(decode::hash)?;
    let index = params.required(decode::uint)?;
    params.end()?;
    write_uncle(context.block(&hash)?.as_ref(), index, out);
    Ok(())
}

/// `eth_getUncleByBlockNumberAndIndex`.
pub(super) fn uncle_by_number(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let tag = params.required(decode::block_tag)?;
    let index = params.required(decode::uint)?;
    params.end()?;
    write_uncle(context.block_at(tag)?.as_ref(), index, out);
    Ok(())
}

fn write_uncle(block: Option<&Arc<RecoveredBlock>>, index: u64, out: &mut Output) {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    match block.and_then(|block| block.block.body.ommers.get(index)) {
        Some(uncle) => render::write_uncle(&mut out.json, uncle),
        None => json::null(&mut out.json),
    }
}

/// `eth_getBlockReceipts`.
pub(super) fn receipts(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let id = params.required(decode::block_id)?;
    params.end()?;
    let (block, receipts) = match id {
        BlockId::Tag(BlockTag::Pending) => {
            let executed = &context.pending()?.executed;
            (Some(Arc::clone(&executed.block)), Some(Arc::clone(&executed.receipts)))
        }
        BlockId::Tag(tag) => match context.canonical(tag)? {
            Some(block) => read_receipts(context, &block.hash)?,
            None => (None, None),
        },
        BlockId::Hash { hash, .. } => read_receipts(context, &hash)?,
    };
    let (Some(block), Some(receipts)) = (block, receipts) else {
        json::null(&mut out.json);
        return Ok(());
    };
    let blob_base_fee = context.shared.blob_base_fee(block.header());
    render::write_receipts(&mut out.json, &block, &receipts, blob_base_fee);
    Ok(())
}

type BlockAndReceipts = (Option<Arc<RecoveredBlock>>, Option<Arc<quintet_types::Receipts>>);

fn read_receipts(context: &Context<'_>, hash: &alloy_primitives::B256) -> Result<BlockAndReceipts, Stop> {
    Ok((context.block(hash)?, context.shared.reads.receipts(&context.view, hash)?))
}
