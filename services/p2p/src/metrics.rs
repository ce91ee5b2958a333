//! The service's metrics: one function for each, so that names and labels are in one place.

use crate::reputation::Offence;
use metrics::{Counter, counter, gauge};
use quintet_chain_api::WireProtocol;
use quintet_rlpx::DisconnectReason;
use std::collections::HashMap;

/// A message's name in its protocol.
pub(crate) fn message_name(protocol: WireProtocol, code: u64) -> &'static str {
    quintet_eth_wire::message_name(protocol.name(), protocol.version().into(), code)
}

/// Connected peers.
pub(crate) fn peers(inbound: usize, outbound: usize) {
    gauge!("quintet_p2p_peers", "direction" => "inbound").set(inbound as f64);
    gauge!("quintet_p2p_peers", "direction" => "outbound").set(outbound as f64);
}

/// Dials and lookups under way.
pub(crate) fn dialing(count: usize) {
    gauge!("quintet_p2p_dials_active").set(count as f64);
}

/// A dial that ended before a handshake.
pub(crate) fn dial(outcome: &'static str) {
    counter!("quintet_p2p_dials_total", "outcome" => outcome).increment(1);
}

/// A connection that was not taken.
pub(crate) fn rejected(reason: &'static str) {
    counter!("quintet_p2p_connections_rejected_total", "reason" => reason).increment(1);
}

/// A handshake that ended.
pub(crate) fn handshake(inbound: bool, outcome: &'static str) {
    counter!("quintet_p2p_handshakes_total", "direction" => direction(inbound), "outcome" => outcome)
        .increment(1);
}

/// A session that ended.
pub(crate) fn disconnected(reason: DisconnectReason, by_peer: bool) {
    let side = if by_peer { "remote" } else { "local" };
    // Unknown reasons are the peer's to invent: they are one.
    let reason = match reason {
        DisconnectReason::Other(_) => "other".to_owned(),
        reason => reason.to_string(),
    };
    counter!("quintet_p2p_disconnects_total", "reason" => reason, "side" => side).increment(1);
}

/// Points taken.
pub(crate) fn offence(offence: Offence) {
    counter!("quintet_p2p_penalties_total", "offence" => offence.name()).increment(1);
    counter!("quintet_p2p_penalty_points_total", "offence" => offence.name())
        .increment(offence.points().into());
}

/// Someone was banned.
pub(crate) fn ban(kind: &'static str) {
    counter!("quintet_p2p_bans_total", "kind" => kind).increment(1);
}

/// Who is banned now.
pub(crate) fn banned(nodes: usize, addresses: usize) {
    gauge!("quintet_p2p_banned", "kind" => "node").set(nodes as f64);
    gauge!("quintet_p2p_banned", "kind" => "address").set(addresses as f64);
}

/// A message that was not passed on.
pub(crate) fn dropped(direction: &'static str, reason: &'static str) {
    counter!("quintet_p2p_messages_dropped_total", "direction" => direction, "reason" => reason).increment(1);
}

/// Whether `chain` is there.
pub(crate) fn link_up(up: bool) {
    gauge!("quintet_p2p_link_up").set(if up { 1.0 } else { 0.0 });
}

/// Bytes that wait for `chain`.
pub(crate) fn link_queue(bytes: usize) {
    gauge!("quintet_p2p_link_queue_bytes").set(bytes as f64);
}

const fn direction(inbound: bool) -> &'static str {
    if inbound { "inbound" } else { "outbound" }
}

/// Counts one direction of one session's messages: the counters are looked up once for each kind of message.
#[derive(Default)]
pub(crate) struct Meter {
    counters: HashMap<(WireProtocol, u64), [Counter; 2]>,
}

impl Meter {
    /// Counts a message that has so many bytes in its frame.
    pub(crate) fn count(&mut self, received: bool, protocol: WireProtocol, code: u64, bytes: usize) {
        let [messages, size] = self.counters.entry((protocol, code)).or_insert_with(|| {
            let labels = [
                ("protocol", protocol.name().to_owned()),
                ("version", protocol.version().to_string()),
                ("code", message_name(protocol, code).to_owned()),
                ("direction", if received { "in" } else { "out" }.to_owned()),
            ];
            [
                counter!("quintet_p2p_messages_total", &labels),
                counter!("quintet_p2p_message_bytes_total", &labels),
            ]
        });
        messages.increment(1);
        size.increment(bytes as u64);
    }
}
