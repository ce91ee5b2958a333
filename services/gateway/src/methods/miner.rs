//! `miner_*`: what operators tell the miner.

use super::context::Output;
use super::network::unavailable;
use crate::decode;
use crate::error::RpcError;
use crate::json;
use crate::params::Params;
use crate::shared::Shared;
use alloy_primitives::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

/// `miner_start`. The number of threads may be left out.
pub(super) fn start<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let threads = params.optional(threads)?.unwrap_or_default();
        params.end()?;
        shared.miner.start(threads).await.map_err(unavailable)?;
        json::null(&mut out.json);
        Ok(())
    }
    .boxed()
}

/// A Go `int`, of which what is below zero turns searching off, as zero threads cannot.
fn threads(raw: &str) -> Result<u32, String> {
    let number: i64 = raw.parse().map_err(|_| decode::cannot_unmarshal("value", "int"))?;
    u32::try_from(number).map_err(|_| format!("{number} threads cannot search"))
}

/// `miner_stop`.
pub(super) fn stop<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        shared.miner.stop().await.map_err(unavailable)?;
        json::null(&mut out.json);
        Ok(())
    }
    .boxed()
}

/// `miner_setEtherbase`.
pub(super) fn set_etherbase<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let address = params.required(decode::address)?;
        params.end()?;
        shared.miner.set_etherbase(address).await.map_err(unavailable)?;
        json::boolean(&mut out.json, true);
        Ok(())
    }
    .boxed()
}

/// `miner_setExtra`: the text's bytes.
pub(super) fn set_extra<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let extra = params.required(decode::string)?;
        params.end()?;
        shared.miner.set_extra(Bytes::from(extra.into_bytes())).await.map_err(unavailable)?;
        json::boolean(&mut out.json, true);
        Ok(())
    }
    .boxed()
}

/// `miner_setGasPrice`: the smallest tip, in wei per gas.
pub(super) fn set_gas_price<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let price = params.required(decode::big)?;
        params.end()?;
        shared.miner.set_gas_price(price).await.map_err(unavailable)?;
        json::boolean(&mut out.json, true);
        Ok(())
    }
    .boxed()
}

/// `miner_setGasLimit`.
pub(super) fn set_gas_limit<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let limit = params.required(decode::uint64)?;
        params.end()?;
        shared.miner.set_gas_limit(limit).await.map_err(unavailable)?;
        json::boolean(&mut out.json, true);
        Ok(())
    }
    .boxed()
}
