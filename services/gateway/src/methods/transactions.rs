//! Transactions and receipts, and how transactions are sent.

use super::context::{Context, Output, Stop};
use crate::decode::{self, BlockTag};
use crate::error::RpcError;
use crate::json;
use crate::params::Params;
use crate::read::View;
use crate::render::{self, ReceiptPlace, TransactionPlace};
use crate::shared::Shared;
use alloy_consensus::TxReceipt;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, U256};
use futures::FutureExt;
use futures::future::BoxFuture;
use quintet_types::{RecoveredBlock, Transaction};
use std::sync::Arc;

/// A transaction of a block.
pub(super) struct Mined {
    block: Arc<RecoveredBlock>,
    index: usize,
}

impl Mined {
    pub(super) fn transaction(&self) -> Option<(&Transaction, alloy_primitives::Address)> {
        self.block.transactions().nth(self.index)
    }
}

/// The canonical transaction with this hash.
pub(super) fn mined(shared: &Shared, view: &View, hash: &B256) -> Result<Option<Mined>, RpcError> {
    let reads = &shared.reads;
    let Some(location) = reads.transaction(view, hash)? else { return Ok(None) };
    let block = reads.block(view, &location.block.hash)?;
    Ok(block.map(|block| Mined { block, index: location.index as usize }))
}

fn write_mined(out: &mut Output, mined: &Mined, block_hash: Option<B256>) {
    match mined.transaction() {
        Some((transaction, sender)) => {
            let place =
                TransactionPlace { block_hash, header: mined.block.header(), index: mined.index as u64 };
            render::write_transaction(&mut out.json, transaction, sender, place);
        }
        None => json::null(&mut out.json),
    }
}

/// `eth_getTransactionByHash`: of the chain, or else of the pool.
pub(super) fn by_hash<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let hash = params.required(decode::hash)?;
        params.end()?;
        if let Some(mined) = shared.reads.retry(|view| mined(shared, view, &hash))? {
            write_mined(out, &mined, Some(mined.block.hash));
            return Ok(());
        }
        match shared.chain.pool_transaction(hash).await? {
            Some(pooled) => render::write_pending(&mut out.json, &pooled.transaction, pooled.sender),
            None => json::null(&mut out.json),
        }
        Ok(())
    }
    .boxed()
}

/// `eth_getRawTransactionByHash`.
pub(super) fn raw_by_hash<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let hash = params.required(decode::hash)?;
        params.end()?;
        if let Some(mined) = shared.reads.retry(|view| mined(shared, view, &hash))? {
            write_raw(out, Some(&mined));
            return Ok(());
        }
        match shared.chain.pool_transaction(hash).await? {
            Some(pooled) => json::data(&mut out.json, &pooled.transaction.encoded_2718()),
            None => json::null(&mut out.json),
        }
        Ok(())
    }
    .boxed()
}

fn write_raw(out: &mut Output, mined: Option<&Mined>) {
    match mined.and_then(Mined::transaction) {
        Some((transaction, _)) => json::data(&mut out.json, &transaction.encoded_2718()),
        None => json::data(&mut out.json, &[]),
    }
}

fn at_hash(context: &Context<'_>, params: &mut Params<'_>) -> Result<Option<Mined>, Stop> {
    let hash = params.required(decode::hash)?;
    let index = params.required(decode::uint)?;
    params.end()?;
    Ok(context.block(&hash)?.and_then(|block| in_block(block, index)))
}

/// The transaction, and whether its block has a hash.
fn at_number(context: &Context<'_>, params: &mut Params<'_>) -> Result<Option<(Mined, bool)>, Stop> {
    let tag = params.required(decode::block_tag)?;
    let index = params.required(decode::uint)?;
    params.end()?;
    let mined = context.block_at(tag)?.and_then(|block| in_block(block, index));
    Ok(mined.map(|mined| (mined, tag != BlockTag::Pending)))
}

fn in_block(block: Arc<RecoveredBlock>, index: u64) -> Option<Mined> {
    let index = usize::try_from(index).ok()?;
    (index < block.block.body.transactions.len()).then_some(Mined { block, index })
}

/// `eth_getTransactionByBlockHashAndIndex`.
pub(super) fn by_block_hash(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    match at_hash(context, params)? {
        Some(mined) => write_mined(out, &mined, Some(mined.block.hash)),
        None => json::null(&mut out.json),
    }
    Ok(())
}

/// `eth_getTransactionByBlockNumberAndIndex`.
pub(super) fn by_block_number(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    match at_number(context, params)? {
        Some((mined, sealed)) => write_mined(out, &mined, sealed.then_some(mined.block.hash)),
        None => json::null(&mut out.json),
    }
    Ok(())
}

/// `eth_getRawTransactionByBlockHashAndIndex`.
pub(super) fn raw_by_block_hash(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    write_raw(out, at_hash(context, params)?.as_ref());
    Ok(())
}

/// `eth_getRawTransactionByBlockNumberAndIndex`.
pub(super) fn raw_by_block_number(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    write_raw(out, at_number(context, params)?.map(|(mined, _)| mined).as_ref());
    Ok(())
}

/// `eth_getTransactionReceipt`.
pub(super) fn receipt(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let hash = params.required(decode::hash)?;
    params.end()?;
    if let Some(mined) = mined(context.shared, &context.view, &hash)?
        && let Some(receipts) = context.shared.reads.receipts(&context.view, &mined.block.hash)?
        && let (Some((transaction, sender)), Some(receipt)) = (mined.transaction(), receipts.get(mined.index))
    {
        let before = receipts.get(..mined.index).unwrap_or_default();
        let place = ReceiptPlace {
            block: &mined.block,
            blob_base_fee: context.shared.blob_base_fee(mined.block.header()),
            index: mined.index as u64,
            gas_before: before.last().map_or(0, TxReceipt::cumulative_gas_used),
            logs_before: before.iter().map(|receipt| receipt.logs().len() as u64).sum(),
        };
        render::write_receipt(&mut out.json, transaction, sender, receipt, place);
        return Ok(());
    }
    json::null(&mut out.json);
    Ok(())
}

/// `eth_sendRawTransaction`.
pub(super) fn send_raw<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let raw = params.required(decode::bytes)?;
        params.end()?;
        let transaction =
            quintet_txpool::decode_transaction(&raw).map_err(|error| RpcError::server(error.to_string()))?;
        check_fee(shared, &transaction)?;
        let hash = shared.send(raw).await?;
        json::data(&mut out.json, hash.as_slice());
        Ok(())
    }
    .boxed()
}

/// geth's guard against typing errors in fees: `--rpc.txfeecap`.
pub(super) fn check_fee<T: alloy_consensus::Transaction>(
    shared: &Shared,
    transaction: &T,
) -> Result<(), RpcError> {
    let cap = shared.limits.tx_fee_cap;
    let fee = U256::from(transaction.max_fee_per_gas()) * U256::from(transaction.gas_limit());
    let ether = f64::from(fee) / 1e18;
    if cap != 0.0 && ether > cap {
        let text = format!("tx fee ({ether:.2} ether) exceeds the configured cap ({cap:.2} ether)");
        return Err(RpcError::server(text));
    }
    Ok(())
}
