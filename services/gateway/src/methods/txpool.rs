//! The pool's content, in geth's four forms.

use super::context::Output;
use crate::decode;
use crate::error::RpcError;
use crate::json::Object;
use crate::params::Params;
use crate::render;
use crate::shared::Shared;
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_primitives::Address;
use futures::FutureExt;
use futures::future::BoxFuture;
use quintet_chain_api::PooledTransaction;
use std::collections::BTreeMap;

/// One sender's transactions by nonce.
type ByNonce = BTreeMap<u64, PooledTransaction>;

/// `txpool_status`.
pub(super) fn status<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        let status = shared.chain.pool_status().await?;
        let mut object = Object::new(&mut out.json);
        object.quantity("pending", status.pending);
        object.quantity("queued", status.queued);
        object.end();
        Ok(())
    }
    .boxed()
}

/// `txpool_content`.
pub(super) fn content<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        let pool = shared.chain.pool_content(None).await?;
        write_by_sender(&mut out.json, pool, |out, pooled| {
            render::write_pending(out, &pooled.transaction, pooled.sender);
        });
        Ok(())
    }
    .boxed()
}

/// `txpool_inspect`.
pub(super) fn inspect<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        let pool = shared.chain.pool_content(None).await?;
        write_by_sender(&mut out.json, pool, |out, pooled| {
            crate::json::string(out, &summary(&pooled.transaction));
        });
        Ok(())
    }
    .boxed()
}

/// `txpool_contentFrom`.
pub(super) fn content_from<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let sender = params.required(decode::address)?;
        params.end()?;
        let pool = shared.chain.pool_content(Some(sender)).await?;
        let (pending, queued): (Vec<_>, Vec<_>) = pool.into_iter().partition(|pooled| pooled.pending);
        let mut object = Object::new(&mut out.json);
        for (name, half) in [("pending", pending), ("queued", queued)] {
            let by_nonce = half.into_iter().map(|pooled| (pooled.transaction.nonce(), pooled)).collect();
            write_by_nonce(object.key(name), &by_nonce, |out, pooled| {
                render::write_pending(out, &pooled.transaction, pooled.sender);
            });
        }
        object.end();
        Ok(())
    }
    .boxed()
}

fn write_by_sender(
    out: &mut Vec<u8>,
    pool: Vec<PooledTransaction>,
    write: impl Fn(&mut Vec<u8>, &PooledTransaction),
) {
    let (mut pending, mut queued) =
        (BTreeMap::<Address, ByNonce>::new(), BTreeMap::<Address, ByNonce>::new());
    for pooled in pool {
        let half = if pooled.pending { &mut pending } else { &mut queued };
        half.entry(pooled.sender).or_default().insert(pooled.transaction.nonce(), pooled);
    }
    let mut object = Object::new(out);
    for (name, half) in [("pending", pending), ("queued", queued)] {
        let mut senders = Object::new(object.key(name));
        for (sender, by_nonce) in &half {
            write_by_nonce(senders.key(&sender.to_checksum(None)), by_nonce, &write);
        }
        senders.end();
    }
    object.end();
}

fn write_by_nonce(out: &mut Vec<u8>, by_nonce: &ByNonce, write: impl Fn(&mut Vec<u8>, &PooledTransaction)) {
    let mut object = Object::new(out);
    for (nonce, pooled) in by_nonce {
        write(object.key(&nonce.to_string()), pooled);
    }
    object.end();
}

/// A transaction in one line, as geth has it.
fn summary(transaction: &TxEnvelope) -> String {
    let (value, gas) = (transaction.value(), transaction.gas_limit());
    let price = transaction.max_fee_per_gas();
    match transaction.to() {
        Some(to) => format!("{}: {value} wei + {gas} gas × {price} wei", to.to_checksum(None)),
        None => format!("contract creation: {value} wei + {gas} gas × {price} wei"),
    }
}
