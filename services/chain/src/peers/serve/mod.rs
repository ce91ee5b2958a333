//! What peers are served: headers, bodies, receipts, transactions of the pool, and state.
//!
//! What must hold: an answer is bounded (2 MiB, softly) whatever is asked; reads run off the async threads, one at a time
//! for each peer and few for all together; who asks for more than its link takes waits.

mod blocks;
mod headers;
mod node_data;
mod pooled;
mod snap;
mod state;
mod walk;

pub(crate) use state::{StateViews, allowance_of_one};

use super::inbox::Lane;
use super::message::{Offence, decode, off_thread, span_of};
use super::peer::Peer;
use super::{Peers, wire};
use crate::chain::Chain;
use crate::error::ChainError;
use bytes::Bytes;
use quintet_chain_api::{PeerMessage, Traced, WireProtocol};
use quintet_eth_wire::{EthMessage, EthVersion, SnapMessage, WireError};
use quintet_service::propagation;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// Requests of all peers that are served at once.
pub(crate) const SERVED_AT_ONCE: usize = 4;
/// How long an answer may wait for room on its link.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves a peer's requests, one after the other, until it is gone.
pub(crate) async fn work_off(peers: Peers, peer: Arc<Peer>, lane: Arc<Lane<Traced<PeerMessage>>>) {
    while let Some(Traced { trace, value }) = lane.next().await {
        let span = span_of(&peer, &value, &trace);
        if let Err(offence) = serve(&peers, &peer, value).instrument(span).await {
            peer.pay(&offence);
        }
    }
}

/// A request, decoded.
enum Request {
    Eth(EthVersion, EthMessage),
    Snap(SnapMessage),
}

async fn serve(peers: &Peers, peer: &Arc<Peer>, message: PeerMessage) -> Result<(), Offence> {
    let start = Instant::now();
    let (version, code, payload) = (peer.version, u64::from(message.code), message.payload);
    let size = payload.len();
    let request = match message.protocol {
        protocol if protocol == peer.eth() => {
            let read = move || EthMessage::decode(version, code, &payload);
            Request::Eth(version, decode(size, read).await?)
        }
        wire::SNAP if peer.snap => {
            Request::Snap(decode(size, move || SnapMessage::decode(code, &payload)).await?)
        }
        WireProtocol::Eth(_) | WireProtocol::Snap(_) => return Err(Offence::Disorder("request")),
    };
    let name = request.name();
    // The semaphore is never closed.
    let slot = peers.shared.serve_slots.acquire().await;
    let shared = Arc::clone(&peers.shared);
    let asker = Arc::clone(peer);
    let answer = off_thread(move || request.answer(&shared.chain, &shared.states, &asker)).await;
    drop(slot);
    let (code, payload) = match answer {
        Ok(Some(answer)) => answer,
        Ok(None) => return Err(Offence::Disorder(name)),
        Err(Failure::Request(reason)) => return Err(WireError::Malformed { message: name, reason }.into()),
        Err(Failure::Node(error)) => {
            // The peer's request times out. It is not at fault.
            tracing::debug!(peer = %peer.id, request = name, %error, "A peer's request was not served");
            metrics::counter!("quintet_chain_peer_unserved_total", "request" => name).increment(1);
            return Ok(());
        }
    };
    metrics::histogram!("quintet_chain_peer_serve_duration_seconds", "request" => name)
        .record(start.elapsed());
    metrics::counter!("quintet_chain_peer_served_bytes_total", "request" => name)
        .increment(payload.len() as u64);
    let trace = propagation::current_trace();
    let value = peer.message(message.protocol, code, payload);
    let pushed = tokio::time::timeout(ANSWER_TIMEOUT, peer.outbox.push(Traced { trace, value })).await;
    if pushed.is_err() {
        tracing::debug!(peer = %peer.id, request = name, "An answer was dropped: the link is slow");
    }
    Ok(())
}

/// Why there is no answer.
enum Failure {
    /// The request's fault.
    Request(quintet_eth_wire::Malformed),
    /// The node's.
    Node(ChainError),
}

impl<E: Into<ChainError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Node(error.into())
    }
}

impl Request {
    const fn name(&self) -> &'static str {
        match self {
            Self::Eth(_, message) => message.id().name(),
            Self::Snap(message) => message.id().name(),
        }
    }

    /// The answer's code and RLP; `None` for what is no request. Blocking.
    fn answer(
        self,
        chain: &Chain,
        states: &StateViews,
        asker: &Peer,
    ) -> Result<Option<(u64, Bytes)>, Failure> {
        let (version, message) = match self {
            Self::Eth(version, message) => (version, message),
            Self::Snap(message) => return snap::answer(chain, states, asker, message),
        };
        let Some(code) = message.id().answer() else { return Ok(None) };
        let id = |id: u64| version.has_request_ids().then_some(id);
        let payload = match message {
            EthMessage::GetBlockHeaders(request) => {
                let headers =
                    headers::headers(chain.store.as_ref(), chain.head().block.number, &request.body)?;
                headers.finish_with_id(id(request.id))
            }
            EthMessage::GetBlockBodies(request) => {
                blocks::bodies(chain.store.as_ref(), &request.body)?.finish_with_id(id(request.id))
            }
            EthMessage::GetReceipts(request) => {
                blocks::receipts(chain.store.as_ref(), version, &request.body)?.finish_with_id(id(request.id))
            }
            EthMessage::GetPooledTransactions(request) => {
                pooled::transactions(&chain.pool, &request.body).finish_with_id(id(request.id))
            }
            EthMessage::GetNodeData(request) => {
                node_data::nodes_and_codes(chain, states, asker, &request.body)?
                    .finish_with_id(id(request.id))
            }
            _ => return Ok(None),
        };
        Ok(Some((code.code(), payload)))
    }
}
