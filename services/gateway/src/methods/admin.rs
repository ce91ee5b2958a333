//! `admin_*`: the node's peers, and what it is to them.

use super::context::Output;
use super::network::unavailable;
use crate::decode;
use crate::error::RpcError;
use crate::json::{self, Object};
use crate::params::Params;
use crate::shared::Shared;
use alloy_primitives::{Bytes, hex};
use futures::FutureExt;
use futures::future::BoxFuture;
use quintet_enode::{Enode, Record};
use quintet_p2p_api::{LocalNode, NodeRecord, Peer};

/// A node, by its `enode://` URL or its record's text (`enr:`).
fn node(params: &mut Params<'_>) -> Result<NodeRecord, RpcError> {
    let text = params.required(decode::string)?;
    params.end()?;
    let invalid = |error: &dyn std::fmt::Display| RpcError::server(format!("invalid enode: {error}"));
    if text.starts_with("enr:") {
        let record = text.parse::<Record>().map_err(|error| invalid(&error))?;
        let url = record.to_enode().map(|enode| enode.to_string()).unwrap_or_default();
        return Ok(NodeRecord { enr: Bytes::copy_from_slice(record.encode()), enode: url });
    }
    let enode = text.parse::<Enode>().map_err(|error| invalid(&error))?;
    Ok(NodeRecord { enr: Bytes::new(), enode: enode.to_string() })
}

type Done<'a> = BoxFuture<'a, Result<(), RpcError>>;

/// What is to become of a node.
#[derive(Clone, Copy)]
enum Change {
    Add,
    Remove,
    Trust,
    Distrust,
}

async fn change(
    shared: &Shared,
    mut params: Params<'_>,
    out: &mut Output,
    change: Change,
) -> Result<(), RpcError> {
    let (node, p2p) = (node(&mut params)?, &shared.p2p);
    let changed = match change {
        Change::Add => p2p.add_peer(node).await,
        Change::Remove => p2p.remove_peer(node).await,
        Change::Trust => p2p.add_trusted_peer(node).await,
        Change::Distrust => p2p.remove_trusted_peer(node).await,
    };
    changed.map_err(unavailable)?;
    json::boolean(&mut out.json, true);
    Ok(())
}

/// `admin_addPeer`: a node to be connected with from now on.
pub(super) fn add_peer<'a>(shared: &'a Shared, params: Params<'a>, out: &'a mut Output) -> Done<'a> {
    change(shared, params, out, Change::Add).boxed()
}

/// `admin_removePeer`: not any more.
pub(super) fn remove_peer<'a>(shared: &'a Shared, params: Params<'a>, out: &'a mut Output) -> Done<'a> {
    change(shared, params, out, Change::Remove).boxed()
}

/// `admin_addTrustedPeer`: a node that may connect beyond the limit of peers.
pub(super) fn add_trusted_peer<'a>(shared: &'a Shared, params: Params<'a>, out: &'a mut Output) -> Done<'a> {
    change(shared, params, out, Change::Trust).boxed()
}

/// `admin_removeTrustedPeer`: it stays connected.
pub(super) fn remove_trusted_peer<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> Done<'a> {
    change(shared, params, out, Change::Distrust).boxed()
}

/// `admin_peers`.
pub(super) fn peers<'a>(shared: &'a Shared, params: Params<'a>, out: &'a mut Output) -> Done<'a> {
    async move {
        params.end()?;
        let peers = shared.p2p.peers().await.map_err(unavailable)?;
        json::array(&mut out.json, peers, |out, peer| write_peer(out, &peer));
        Ok(())
    }
    .boxed()
}

/// `admin_nodeInfo`.
pub(super) fn node_info<'a>(shared: &'a Shared, params: Params<'a>, out: &'a mut Output) -> Done<'a> {
    async move {
        params.end()?;
        let node = shared.p2p.local_node().await.map_err(unavailable)?;
        let head = shared.chain.head().await?;
        let config = shared.spec.genesis().config.as_ref().map(quintet_chainspec::config_to_json);
        let config = config.transpose().map_err(|error| RpcError::internal(&error))?;
        let mut object = Object::new(&mut out.json);
        object.string("id", &hex::encode(node.id));
        object.string("name", &node.name);
        write_place(&mut object, &node);
        object.string("listenAddr", &node.listen_address);
        let mut protocols = Object::new(object.key("protocols"));
        let mut eth = Object::new(protocols.key("eth"));
        eth.key("network").extend_from_slice(shared.network_id.to_string().as_bytes());
        eth.key("difficulty").extend_from_slice(head.total_difficulty.to_string().as_bytes());
        eth.data("genesis", shared.spec.genesis_hash().as_slice());
        if let Some(config) = config {
            eth.key("config").extend_from_slice(config.as_bytes());
        }
        eth.data("head", head.head.hash.as_slice());
        eth.end();
        Object::new(protocols.key("snap")).end();
        protocols.end();
        object.end();
        Ok(())
    }
    .boxed()
}

/// Where the node is to be found.
fn write_place(object: &mut Object<'_>, node: &LocalNode) {
    object.string("enode", &node.node.enode);
    object.string("enr", &record_text(&node.node));
    let enode = node.node.enode.parse::<Enode>().ok();
    let ip = enode.as_ref().map(|enode| enode.ip.to_string()).unwrap_or_default();
    object.string("ip", &ip);
    let (udp, tcp) = enode.map_or((0, 0), |enode| (enode.udp, enode.tcp));
    let mut ports = Object::new(object.key("ports"));
    ports.key("discovery").extend_from_slice(udp.to_string().as_bytes());
    ports.key("listener").extend_from_slice(tcp.to_string().as_bytes());
    ports.end();
}

/// `enr:…`, empty where there is no record.
fn record_text(node: &NodeRecord) -> String {
    Record::decode(&node.enr).map(|record| record.to_string()).unwrap_or_default()
}

fn write_peer(out: &mut Vec<u8>, peer: &Peer) {
    let mut object = Object::new(out);
    let record = record_text(&peer.node);
    if !record.is_empty() {
        object.string("enr", &record);
    }
    object.string("enode", &peer.node.enode);
    object.string("id", &hex::encode(peer.id));
    object.string("name", &peer.name);
    json::value(object.key("caps"), &peer.capabilities);
    let mut network = Object::new(object.key("network"));
    network.string("localAddress", &peer.local_address);
    network.string("remoteAddress", &peer.remote_address);
    json::boolean(network.key("inbound"), peer.inbound);
    json::boolean(network.key("trusted"), peer.trusted);
    json::boolean(network.key("static"), peer.static_node);
    network.end();
    let mut protocols = Object::new(object.key("protocols"));
    write_eth(protocols.key("eth"), peer);
    if peer.capabilities.iter().any(|capability| capability == "snap/1") {
        let mut snap = Object::new(protocols.key("snap"));
        snap.key("version").push(b'1');
        snap.end();
    }
    protocols.end();
    object.end();
}

/// What the peer has, as far as it said so. From eth/69 on there is no difficulty.
fn write_eth(out: &mut Vec<u8>, peer: &Peer) {
    let Some(status) = &peer.eth else { return json::string(out, "handshake") };
    let mut eth = Object::new(out);
    eth.key("version").extend_from_slice(status.version.to_string().as_bytes());
    if let Some(difficulty) = &status.total_difficulty {
        eth.key("difficulty").extend_from_slice(difficulty.to_string().as_bytes());
        eth.data("head", status.head.hash.as_slice());
    } else {
        let earliest = status.earliest.unwrap_or_default();
        eth.key("earliestBlock").extend_from_slice(earliest.to_string().as_bytes());
        eth.key("latestBlock").extend_from_slice(status.head.number.to_string().as_bytes());
        eth.data("latestBlockHash", status.head.hash.as_slice());
    }
    eth.end();
}

/// `admin_datadir`.
pub(super) fn datadir<'a>(shared: &'a Shared, params: Params<'a>, out: &'a mut Output) -> Done<'a> {
    async move {
        params.end()?;
        let Some(path) = &shared.datadir else {
            return Err(RpcError::server("this gateway has no data directory: its chain is in a database"));
        };
        json::string(&mut out.json, &path.to_string_lossy());
        Ok(())
    }
    .boxed()
}
