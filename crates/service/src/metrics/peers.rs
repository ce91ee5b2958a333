//! Metrics of what finds peers, what holds them, and what is made of what they say.

use super::catalogue::Kind::{Counter, Gauge, Histogram};
use super::catalogue::{CHAIN, Label, Metric, metric};
use crate::names::Service;

const DISCOVERY: &[Service] = &[Service::Discovery];
const P2P: &[Service] = &[Service::P2p];
const OUTCOME: Label = Label { name: "outcome", values: &[] };
const PACKET: Label = Label { name: "packet", values: &[] };
const REASON: Label = Label { name: "reason", values: &[] };
const MESSAGE: Label = Label { name: "message", values: &[] };
const REQUEST: Label = Label { name: "request", values: &[] };
const KIND: Label = Label { name: "kind", values: &[] };
const VERSION: Label = Label { name: "protocol", values: &["v4", "v5"] };
const DIRECTION: Label = Label { name: "direction", values: &["inbound", "outbound"] };
const WAY: Label = Label { name: "direction", values: &["in", "out"] };
const OFFENCE: Label =
    Label { name: "offence", values: &["bad_handshake", "bad_frame", "breach", "flood", "reported"] };
const BANNED: Label = Label { name: "kind", values: &["node", "address"] };

/// Them all.
pub(super) const PEERS: &[Metric] = &[
    // Discovery.
    metric(
        "quintet_discovery_received_packets_total",
        Counter,
        &[PACKET, OUTCOME],
        DISCOVERY,
        "Datagrams of discovery v4 that came, by what became of them.",
    ),
    metric(
        "quintet_discovery_sent_packets_total",
        Counter,
        &[PACKET, OUTCOME],
        DISCOVERY,
        "Datagrams of discovery v4 that were sent, or could not be.",
    ),
    metric(
        "quintet_discovery_table_nodes",
        Gauge,
        &[VERSION],
        DISCOVERY,
        "Nodes in the table of each protocol.",
    ),
    metric(
        "quintet_discovery_requests",
        Gauge,
        &[Label { name: "kind", values: &["request", "lookup"] }],
        DISCOVERY,
        "Requests and lookups of discovery v4 under way.",
    ),
    metric(
        "quintet_discovery_lookup_duration_seconds",
        Histogram,
        &[VERSION],
        DISCOVERY,
        "Lookups of the nodes closest to a target.",
    ),
    metric(
        "quintet_discovery_candidates_total",
        Counter,
        &[OUTCOME],
        DISCOVERY,
        "Nodes that were found while somebody wanted any, by whether they were passed on.",
    ),
    metric(
        "quintet_discovery_dns_queries_total",
        Counter,
        &[OUTCOME],
        DISCOVERY,
        "Queries of node lists in DNS.",
    ),
    metric(
        "quintet_discovery_database_nodes",
        Gauge,
        &[],
        DISCOVERY,
        "Nodes that are remembered over restarts.",
    ),
    // Sessions.
    metric("quintet_p2p_peers", Gauge, &[DIRECTION], P2P, "Peers, by who dialled."),
    metric("quintet_p2p_dials_active", Gauge, &[], P2P, "Dials and the lookups for them under way."),
    metric(
        "quintet_p2p_dials_total",
        Counter,
        &[Label { name: "outcome", values: &["connected", "unreachable"] }],
        P2P,
        "Dials that ended before a handshake.",
    ),
    metric(
        "quintet_p2p_connections_rejected_total",
        Counter,
        &[Label { name: "reason", values: &["netrestrict", "banned", "throttled"] }],
        P2P,
        "Inbound connections that were closed before a handshake.",
    ),
    metric(
        "quintet_p2p_handshakes_total",
        Counter,
        &[
            DIRECTION,
            Label {
                name: "outcome",
                values: &["ok", "network", "timeout", "invalid", "disconnected", "refused"],
            },
        ],
        P2P,
        "Handshakes (RLPx and hello) that ended.",
    ),
    metric(
        "quintet_p2p_disconnects_total",
        Counter,
        &[REASON, Label { name: "side", values: &["local", "remote"] }],
        P2P,
        "Sessions that ended, by devp2p's reason and by whose wish.",
    ),
    metric(
        "quintet_p2p_messages_total",
        Counter,
        &[
            Label { name: "protocol", values: &[] },
            Label { name: "version", values: &[] },
            Label { name: "code", values: &[] },
            WAY,
        ],
        P2P,
        "Messages from and to peers.",
    ),
    metric(
        "quintet_p2p_message_bytes_total",
        Counter,
        &[
            Label { name: "protocol", values: &[] },
            Label { name: "version", values: &[] },
            Label { name: "code", values: &[] },
            WAY,
        ],
        P2P,
        "Their bytes, compressed.",
    ),
    metric(
        "quintet_p2p_messages_dropped_total",
        Counter,
        &[WAY, Label { name: "reason", values: &["chain_busy_or_away", "slow_peer", "overflow"] }],
        P2P,
        "Messages that were not passed on.",
    ),
    metric("quintet_p2p_penalties_total", Counter, &[OFFENCE], P2P, "Offences of peers."),
    metric(
        "quintet_p2p_penalty_points_total",
        Counter,
        &[OFFENCE],
        P2P,
        "Points of reputation that they cost.",
    ),
    metric("quintet_p2p_bans_total", Counter, &[BANNED], P2P, "Times that a node or an address was banned."),
    metric("quintet_p2p_banned", Gauge, &[BANNED], P2P, "Nodes and addresses that are banned now."),
    metric("quintet_p2p_link_up", Gauge, &[], P2P, "1 where chain is linked, 0 where it is not."),
    metric("quintet_p2p_link_queue_bytes", Gauge, &[], P2P, "Bytes of messages that wait for chain."),
    // What peers say and ask.
    metric("quintet_chain_peer_links", Gauge, &[], CHAIN, "Instances of p2p that are linked."),
    metric("quintet_chain_peers", Gauge, &[], CHAIN, "Peers of all instances of p2p."),
    metric("quintet_chain_peer_messages_total", Counter, &[MESSAGE], CHAIN, "Messages of peers."),
    metric("quintet_chain_peer_message_bytes_total", Counter, &[MESSAGE], CHAIN, "Their bytes."),
    metric(
        "quintet_chain_peer_flooded_messages_total",
        Counter,
        &[],
        CHAIN,
        "Messages of peers who sent more than is looked at.",
    ),
    metric(
        "quintet_chain_peer_stray_messages_total",
        Counter,
        &[],
        CHAIN,
        "Messages of peers who are not known.",
    ),
    metric(
        "quintet_chain_peer_requests_total",
        Counter,
        &[KIND, OUTCOME],
        CHAIN,
        "Requests to peers, by what became of them.",
    ),
    metric("quintet_chain_peer_serve_duration_seconds", Histogram, &[REQUEST], CHAIN, "Answers to peers."),
    metric("quintet_chain_peer_served_bytes_total", Counter, &[REQUEST], CHAIN, "Bytes of answers to peers."),
    metric(
        "quintet_chain_peer_unserved_total",
        Counter,
        &[REQUEST],
        CHAIN,
        "Requests of peers that failed to be answered.",
    ),
    metric(
        "quintet_chain_peer_states_refused_total",
        Counter,
        &[],
        CHAIN,
        "Requests for a state whose trie would have cost too much to make.",
    ),
    metric(
        "quintet_chain_peer_gossip_total",
        Counter,
        &[KIND, OUTCOME],
        CHAIN,
        "Blocks and transactions told to peers.",
    ),
    metric(
        "quintet_chain_peer_unrelayed_transactions_total",
        Counter,
        &[],
        CHAIN,
        "Transactions that came faster than they could be told to peers.",
    ),
    metric(
        "quintet_chain_peer_transactions_total",
        Counter,
        &[OUTCOME],
        CHAIN,
        "Transactions of peers, by what the pool said.",
    ),
    metric(
        "quintet_chain_peer_announced_transactions",
        Gauge,
        &[],
        CHAIN,
        "Transactions that were announced and are not fetched yet.",
    ),
    metric(
        "quintet_chain_peer_refused_announcements_total",
        Counter,
        &[],
        CHAIN,
        "Announcements of transactions beyond what a peer may have open.",
    ),
    metric("quintet_chain_fetcher_announced_total", Counter, &[], CHAIN, "Blocks that were announced."),
    metric("quintet_chain_fetcher_blocks_total", Counter, &[], CHAIN, "Blocks that peers sent unasked."),
    metric(
        "quintet_chain_fetcher_dropped_total",
        Counter,
        &[REASON],
        CHAIN,
        "Blocks and announcements for which the block fetcher had no room.",
    ),
    // Sync.
    metric("quintet_chain_syncs_total", Counter, &[OUTCOME], CHAIN, "Syncs with a peer that ended."),
    metric("quintet_chain_sync_running", Gauge, &[], CHAIN, "1 while a sync runs, 0 otherwise."),
    metric("quintet_chain_sync_highest_block", Gauge, &[], CHAIN, "The block that the last sync was for."),
    metric(
        "quintet_chain_sync_headers_total",
        Counter,
        &[],
        CHAIN,
        "Headers that syncs fetched and checked.",
    ),
    metric("quintet_chain_sync_bodies_total", Counter, &[], CHAIN, "Bodies that syncs fetched."),
    metric("quintet_chain_sync_requests_total", Counter, &[KIND, OUTCOME], CHAIN, "Requests of syncs."),
    metric("quintet_chain_sync_receipts_total", Counter, &[], CHAIN, "Blocks whose receipts syncs fetched."),
    metric("quintet_chain_sync_pivot_block", Gauge, &[], CHAIN, "The block whose state is, or was, fetched."),
    metric(
        "quintet_chain_sync_state_items_total",
        Counter,
        &[KIND],
        CHAIN,
        "Accounts, slots, codes and trie nodes of a fetched state that were written.",
    ),
    metric(
        "quintet_chain_sync_faults_total",
        Counter,
        &[Label { name: "fault", values: &[] }],
        CHAIN,
        "What peers were found at fault for.",
    ),
];
