//! `eth_subscribe`, `admin_subscribe` and what they lead to.

use super::alive::Alive;
use crate::auth::Caller;
use crate::decode;
use crate::dispatch::Dispatcher;
use crate::envelope::{self, Kind, Message};
use crate::error::RpcError;
use crate::filters::random_id;
use crate::json::{self, Object};
use crate::methods::{Handler, LogFilter, block_logs};
use crate::notice::{BlockNotice, Notice};
use crate::params::Params;
use crate::render;
use alloy_primitives::hex;
use quintet_chain_api::SyncProgress;
use quintet_p2p_api::{PeerEvent, PeerEventKind};
use quintet_rlpx::DisconnectReason;
use quintet_types::{PoolTransaction, TraceContext};
use std::collections::BTreeMap;

/// Subscriptions of one connection.
const MOST: usize = 1024;

/// What a client wants to be told of.
#[derive(Clone, Debug)]
enum Topic {
    NewHeads,
    Logs(Box<LogFilter>),
    PendingTransactions {
        full: bool,
    },
    Syncing,
    /// What happens to peers (`admin_peerEvents`).
    PeerEvents,
}

/// The namespaces that have subscriptions.
const ETH: &str = "eth";
const ADMIN: &str = "admin";

impl Topic {
    const fn name(&self) -> &'static str {
        match self {
            Self::NewHeads => "newHeads",
            Self::Logs(_) => "logs",
            Self::PendingTransactions { .. } => "newPendingTransactions",
            Self::Syncing => "syncing",
            Self::PeerEvents => "peerEvents",
        }
    }
}

/// The subscriptions of one connection, by id.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_id: BTreeMap<String, (Topic, Alive)>,
    /// Whether the node was syncing when it was last looked at.
    was_syncing: Option<bool>,
}

/// Whether a message is a single request to subscribe or unsubscribe. Cheap, and wrong at most for a request that
/// mentions it elsewhere, which is answered all the same.
pub(super) fn is_subscription(body: &[u8]) -> bool {
    let needle = b"subscribe\"";
    body.windows(needle.len()).any(|window| window == needle)
}

impl Subscriptions {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether one is for the sync status.
    pub(super) fn has_syncing(&self) -> bool {
        self.by_id.values().any(|(topic, _)| matches!(topic, Topic::Syncing))
    }

    /// Whether one is for what happens to peers.
    pub(super) fn has_peer_events(&self) -> bool {
        self.by_id.values().any(|(topic, _)| matches!(topic, Topic::PeerEvents))
    }

    /// Answers a message that may hold subscription requests.
    pub(super) async fn answer(&mut self, dispatcher: &Dispatcher, caller: &Caller, body: &[u8]) -> Vec<u8> {
        let Ok(Message::Single(request)) = envelope::parse(body) else {
            return dispatcher.answer(body, None, caller).await.json;
        };
        let Kind::Call { id, method } = request.kind() else {
            return dispatcher.answer(body, None, caller).await.json;
        };
        let is_offered = dispatcher
            .methods
            .get(&method)
            .is_some_and(|method| matches!(method.handler, Handler::Subscription));
        if !is_offered {
            let out = dispatcher.answer(body, None, caller).await;
            return match out.spliced {
                None => out.json,
                Some((at, middle)) => splice(out.json, at, &middle),
            };
        }
        let mut out = Vec::with_capacity(128);
        let admitted = dispatcher.admit(caller, 1).await.and_then(|()| caller.check_method(&method));
        let answer = admitted.and_then(|()| Params::new(request.params())).and_then(|params| {
            match method.split_once('_') {
                Some((ADMIN, "subscribe")) => self.subscribe(ADMIN, params),
                Some((_, "subscribe")) => self.subscribe(ETH, params),
                _ => self.unsubscribe(params),
            }
        });
        match answer {
            Ok(result) => {
                envelope::open_result(&mut out, id);
                out.extend_from_slice(&result);
                out.push(b'}');
            }
            Err(error) => envelope::error(&mut out, id, &error),
        }
        out
    }

    fn subscribe(&mut self, namespace: &'static str, mut params: Params<'_>) -> Result<Vec<u8>, RpcError> {
        let name = params.required(decode::string)?;
        let topic = match (namespace, name.as_str()) {
            (ADMIN, "peerEvents") => Topic::PeerEvents,
            (ETH, "newHeads") => Topic::NewHeads,
            (ETH, "syncing") => Topic::Syncing,
            (ETH, "newPendingTransactions") => {
                Topic::PendingTransactions { full: params.optional(decode::boolean)?.unwrap_or_default() }
            }
            (ETH, "logs") => {
                let filter = params.optional(LogFilter::decode)?.unwrap_or_default();
                filter.check()?;
                Topic::Logs(Box::new(filter))
            }
            _ => return Err(RpcError::NoSubscription { name, namespace }),
        };
        params.end()?;
        if self.by_id.len() >= MOST {
            return Err(RpcError::server("too many subscriptions on one connection"));
        }
        let id = random_id();
        let mut out = Vec::new();
        json::string(&mut out, &id);
        let alive = Alive::subscription(topic.name());
        self.by_id.insert(id, (topic, alive));
        Ok(out)
    }

    fn unsubscribe(&mut self, mut params: Params<'_>) -> Result<Vec<u8>, RpcError> {
        let id = params.required(decode::string)?;
        params.end()?;
        self.by_id.remove(&id).ok_or_else(|| RpcError::server("subscription not found"))?;
        Ok(b"true".to_vec())
    }

    /// The messages that a notice leads to.
    pub(super) fn notifications(&self, notice: &Notice) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        for (id, (topic, _)) in &self.by_id {
            match (topic, notice) {
                (Topic::NewHeads, Notice::Block(notice)) => {
                    messages.push(traced(topic, &notice.trace, || new_head(id, notice)));
                }
                (Topic::Logs(filter), Notice::Block(notice)) => {
                    messages.extend(logs(id, topic, filter, notice, false));
                }
                (Topic::Logs(filter), Notice::Reverted(notice)) => {
                    messages.extend(logs(id, topic, filter, notice, true));
                }
                (Topic::PendingTransactions { full }, Notice::Pending(transaction)) => {
                    messages.push(traced(topic, &transaction.trace, || pending(id, transaction, *full)));
                }
                _ => {}
            }
        }
        messages
    }

    /// The messages that tell of a change of the sync status.
    pub(super) fn sync_notifications(&mut self, progress: Option<SyncProgress>) -> Vec<Vec<u8>> {
        let is_syncing = progress.is_some();
        let was_syncing = self.was_syncing.replace(is_syncing);
        if was_syncing.unwrap_or_default() == is_syncing {
            return Vec::new();
        }
        let ids = self.by_id.iter().filter(|(_, (topic, _))| matches!(topic, Topic::Syncing));
        ids.map(|(id, _)| notification(id, |out| write_sync(out, progress))).collect()
    }

    /// The messages that tell of what happened to a peer.
    pub(super) fn peer_notifications(&self, event: &PeerEvent) -> Vec<Vec<u8>> {
        let ids = self.by_id.iter().filter(|(_, (topic, _))| matches!(topic, Topic::PeerEvents));
        ids.map(|(id, _)| notification_of(ADMIN, id, |out| write_peer_event(out, event))).collect()
    }
}

fn splice(mut json: Vec<u8>, at: usize, middle: &[u8]) -> Vec<u8> {
    let after = json.split_off(at.min(json.len()));
    json.extend_from_slice(middle);
    json.extend_from_slice(&after);
    json
}

fn notification(id: &str, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    notification_of(ETH, id, write)
}

fn notification_of(namespace: &str, id: &str, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    envelope::open_notification(&mut out, namespace, id);
    write(&mut out);
    envelope::close_notification(&mut out);
    out
}

/// Writes a notification in a span that is a child of what caused it.
fn traced<T>(topic: &Topic, cause: &TraceContext, write: impl FnOnce() -> T) -> T {
    let span = tracing::info_span!(
        target: "quintet_gateway",
        "notify",
        otel.name = "eth_subscription",
        otel.kind = "producer",
        rpc.system = "jsonrpc",
        rpc.method = "eth_subscription",
        rpc.jsonrpc.version = "2.0",
        quintet.subscription = topic.name(),
    );
    if span.is_disabled() {
        return write();
    }
    quintet_service::propagation::set_parent(&span, cause);
    span.in_scope(write)
}

fn new_head(id: &str, notice: &BlockNotice) -> Vec<u8> {
    notification(id, |out| render::write_header_object(out, notice.block.header(), notice.block.hash))
}

fn logs(id: &str, topic: &Topic, filter: &LogFilter, notice: &BlockNotice, removed: bool) -> Vec<Vec<u8>> {
    if !filter.may_be_in(&notice.block.header().logs_bloom) {
        return Vec::new();
    }
    traced(topic, &notice.trace, || {
        let mut messages = Vec::new();
        block_logs(filter, &notice.block, &notice.receipts, removed, |log, place| {
            messages.push(notification(id, |out| render::write_log(out, log, place)));
        });
        messages
    })
}

fn pending(id: &str, transaction: &PoolTransaction, full: bool) -> Vec<u8> {
    notification(id, |out| {
        if full {
            render::write_pending(out, &transaction.transaction, transaction.sender);
        } else {
            json::data(out, transaction.hash.as_slice());
        }
    })
}

fn write_sync(out: &mut Vec<u8>, progress: Option<SyncProgress>) {
    let Some(progress) = progress else { return json::boolean(out, false) };
    let mut object = Object::new(out);
    json::boolean(object.key("syncing"), true);
    render::write_sync_progress(object.key("status"), &progress);
    object.end();
}

/// As geth's `p2p.PeerEvent`.
fn write_peer_event(out: &mut Vec<u8>, event: &PeerEvent) {
    let name = match &event.kind {
        PeerEventKind::Added => "add",
        PeerEventKind::Dropped(_) => "drop",
        PeerEventKind::Sent(_) => "msgsend",
        PeerEventKind::Received(_) => "msgrecv",
    };
    let mut object = Object::new(out);
    object.string("type", name);
    object.string("peer", &hex::encode(event.peer));
    match &event.kind {
        PeerEventKind::Added => {}
        PeerEventKind::Dropped(reason) => {
            // Reasons have one byte.
            let reason = DisconnectReason::from_code(u8::try_from(*reason).unwrap_or(u8::MAX));
            object.string("error", &reason.to_string());
        }
        PeerEventKind::Sent(message) | PeerEventKind::Received(message) => {
            let protocol =
                message.capability.split_once('/').map_or(message.capability.as_str(), |(name, _)| name);
            object.string("protocol", protocol);
            object.key("msg_code").extend_from_slice(message.code.to_string().as_bytes());
            object.key("msg_size").extend_from_slice(message.size.to_string().as_bytes());
        }
    }
    object.end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_chain_api::StateProgress;
    use serde_json::{Value, json};

    #[test]
    fn a_sync_is_told_of_when_it_begins_and_when_it_ends() {
        let mut subscriptions = Subscriptions::default();
        let alive = Alive::subscription(Topic::Syncing.name());
        subscriptions.by_id.insert("0x1".to_owned(), (Topic::Syncing, alive));
        let mut told = |progress| -> Vec<Value> {
            let messages = subscriptions.sync_notifications(progress);
            messages.iter().map(|json| serde_json::from_slice(json).unwrap()).collect()
        };
        let state = StateProgress { accounts: 255, ..StateProgress::default() };
        let progress = SyncProgress { starting_block: 0, current_block: 7, highest_block: 90, state };
        assert!(told(None).is_empty(), "nothing changed");
        let began = told(Some(progress));
        assert_eq!(began.len(), 1);
        assert_eq!(began[0]["params"]["subscription"], "0x1");
        let result = &began[0]["params"]["result"];
        assert_eq!(result["syncing"], true);
        assert_eq!(result["status"]["currentBlock"], "0x7");
        assert_eq!(result["status"]["syncedAccounts"], "0xff");
        assert!(told(Some(progress)).is_empty());
        assert_eq!(told(None)[0]["params"]["result"], json!(false));
    }
}
