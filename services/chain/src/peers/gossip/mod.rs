//! What is told of one's own accord: blocks and transactions.

mod blocks;
mod choice;
mod fetching;
mod insane;
mod receive;
mod transactions;

#[cfg(test)]
mod simulation;

pub(crate) use fetching::fetch_announced;
pub(crate) use insane::check_block;
pub(crate) use receive::{take_announcement, take_broadcast};
pub(crate) use transactions::{greet, relay};

use crate::peers::outbox::Outbox;
use crate::peers::peer::{PeerId, message};
use bytes::Bytes;
use quintet_chain_api::{Traced, WireProtocol};
use quintet_eth_wire::EthMessageId;
use quintet_types::TraceContext;

/// Puts one message for these peers of a link into its outbox, if there is room, and counts them by what it is.
fn put(
    outbox: &Outbox,
    protocol: WireProtocol,
    ids: Vec<PeerId>,
    id: EthMessageId,
    payload: &Bytes,
    what: &'static str,
    trace: &TraceContext,
) {
    let recipients = ids.len() as u64;
    let value = message(ids, protocol, id.code(), payload.clone());
    let outcome = if outbox.gossip(Traced { trace: trace.clone(), value }) { "sent" } else { "dropped" };
    metrics::counter!("quintet_chain_peer_gossip_total", "kind" => what, "outcome" => outcome)
        .increment(recipients);
}
