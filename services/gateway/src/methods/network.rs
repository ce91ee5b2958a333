//! What the node is and how it stands in its network.

use super::context::{Context, Output, Stop};
use crate::decode;
use crate::error::RpcError;
use crate::json;
use crate::params::Params;
use crate::render;
use crate::shared::Shared;
use alloy_primitives::keccak256;
use futures::FutureExt;
use futures::future::BoxFuture;
use quintet_service::grpc::ErrorKind;

/// What the node calls itself, in the form of other clients.
const CLIENT_VERSION: &str = concat!(
    "Quintet/v",
    env!("CARGO_PKG_VERSION"),
    "/",
    "linux-amd64",
    "/rustc",
    env!("CARGO_PKG_RUST_VERSION")
);

/// A failed call to another service, as a caller may see it.
pub(super) fn unavailable(error: quintet_service::grpc::RpcError) -> RpcError {
    match error.kind {
        ErrorKind::Internal => RpcError::internal(&error),
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => RpcError::Unavailable(error.message),
        _ => RpcError::Server(error.message),
    }
}

/// `eth_chainId`.
pub(super) fn chain_id(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    json::quantity(&mut out.json, context.shared.spec.chain_id());
    Ok(())
}

/// `net_version`: the network's id, in decimal.
pub(super) fn net_version(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    json::string(&mut out.json, &context.shared.network_id.to_string());
    Ok(())
}

/// `web3_clientVersion`.
pub(super) fn client_version(
    _: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    json::string(&mut out.json, CLIENT_VERSION);
    Ok(())
}

/// `web3_sha3`: Keccak-256.
pub(super) fn sha3(_: &mut Context<'_>, params: &mut Params<'_>, out: &mut Output) -> Result<(), Stop> {
    let input = params.required(decode::bytes)?;
    params.end()?;
    json::data(&mut out.json, keccak256(&input).as_slice());
    Ok(())
}

/// `eth_syncing`.
pub(super) fn syncing<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        match shared.chain.sync_status().await? {
            None => json::boolean(&mut out.json, false),
            Some(progress) => render::write_sync_progress(&mut out.json, &progress),
        }
        Ok(())
    }
    .boxed()
}

/// `net_listening`.
pub(super) fn listening<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        let node = shared.p2p.local_node().await;
        let listening = match node {
            Ok(node) => node.listening,
            // A node that has no network part listens to nobody.
            Err(error) if error.kind == ErrorKind::Unimplemented => false,
            Err(error) => return Err(unavailable(error)),
        };
        json::boolean(&mut out.json, listening);
        Ok(())
    }
    .boxed()
}

/// `net_peerCount`.
pub(super) fn peer_count<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        let peers = match shared.p2p.peers().await {
            Ok(peers) => peers.len(),
            Err(error) if error.kind == ErrorKind::Unimplemented => 0,
            Err(error) => return Err(unavailable(error)),
        };
        json::quantity(&mut out.json, peers as u64);
        Ok(())
    }
    .boxed()
}

/// `eth_coinbase`.
pub(super) fn coinbase<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        let status = shared.miner.status().await.map_err(unavailable)?;
        let etherbase = status.etherbase;
        let etherbase =
            etherbase.ok_or_else(|| RpcError::server("etherbase must be explicitly specified"))?;
        json::data(&mut out.json, etherbase.as_slice());
        Ok(())
    }
    .boxed()
}

/// `eth_mining`.
pub(super) fn mining<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        let status = shared.miner.status().await.map_err(unavailable)?;
        json::boolean(&mut out.json, status.sealing);
        Ok(())
    }
    .boxed()
}

/// `eth_hashrate`.
pub(super) fn hashrate<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        let status = shared.miner.status().await.map_err(unavailable)?;
        json::quantity(&mut out.json, status.hashrate);
        Ok(())
    }
    .boxed()
}
