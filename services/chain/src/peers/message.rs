//! What a peer's messages do: answers go to who asked, gossip to whom it concerns.
//!
//! What must hold: nothing large is decoded that was not asked for and is no gossip; a message that breaks the protocol
//! costs its sender, and ends its connection as it does in geth.

use super::allowance::Allowance;
use super::inbox::Lane;
use super::peer::{Peer, PeerHead};
use super::pending::{Answer, Expected};
use super::rate::RequestKind;
use super::reply::Reply;
use super::{PeerChange, Peers, gossip, penalty, wire};
use quintet_chain_api::{LinkCommand, PeerMessage, Traced, WireProtocol};
use quintet_eth_wire::{
    BlockHashNumber, EthMessage, EthMessageId, Malformed, NewBlock, SnapMessageId, WireError, message_name,
    request_id, snap_request_id,
};
use quintet_service::propagation;
use quintet_types::TraceContext;
use std::sync::Arc;
use std::time::Instant;
use tracing::{Instrument, Span, info_span};

/// Announcements of blocks that a peer may send at once (geth's `hashLimit`), and a second.
const ANNOUNCEMENTS: (u32, u32) = (256, 64);
/// Whole blocks that a peer may send at once (geth's `blockLimit`), and a second.
const BLOCKS: (u32, u32) = (64, 32);
/// From so many bytes on a message is decoded off the async threads.
const LARGE: usize = 64 << 10;

/// Why a peer's message is not taken, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Offence {
    /// It breaks the protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A message that this peer must not send.
    #[error("{0} out of order")]
    Disorder(&'static str),
    /// An answer that nobody asked for.
    #[error("answer for {} that nobody asked for", .0.name())]
    Unasked(RequestKind),
    /// An answer to another question.
    #[error("answer for {} where {} were asked for", got.name(), asked.name())]
    WrongKind {
        /// What came.
        got: RequestKind,
        /// What was asked for.
        asked: RequestKind,
    },
    /// More than was asked for.
    #[error("{items} {} where {most} were asked for", kind.name())]
    TooMany {
        /// What.
        kind: RequestKind,
        /// How many came.
        items: usize,
        /// How many were asked for.
        most: usize,
    },
    /// Too much gossip.
    #[error("too many {0}")]
    Flood(&'static str),
    /// A block that cannot be.
    #[error("{0}")]
    InsaneBlock(&'static str),
    /// Blobs that do not prove themselves.
    #[error("{0}")]
    InvalidBlobs(String),
}

impl Offence {
    /// Points that it costs.
    const fn weight(&self) -> u32 {
        match self {
            Self::Wire(_) | Self::Disorder(_) => penalty::MALFORMED,
            Self::Unasked(_) => penalty::UNASKED,
            Self::WrongKind { .. } | Self::TooMany { .. } => penalty::WRONG_ANSWER,
            Self::Flood(_) => penalty::FLOOD,
            Self::InsaneBlock(_) => penalty::INSANE_BLOCK,
            Self::InvalidBlobs(_) => penalty::INVALID_BLOBS,
        }
    }

    /// Whether the connection is ended as well, as geth does (`p2p/tracker` for answers). Not for an answer that nobody asked for:
    /// the process before this one may have.
    const fn ends_session(&self) -> bool {
        match self {
            Self::Wire(_)
            | Self::Disorder(_)
            | Self::WrongKind { .. }
            | Self::TooMany { .. }
            | Self::InvalidBlobs(_) => true,
            Self::Unasked(_) | Self::Flood(_) | Self::InsaneBlock(_) => false,
        }
    }
}

impl Peer {
    /// Has it pay for an offence.
    pub(crate) fn pay(&self, offence: &Offence) {
        self.penalise(offence.weight(), &offence.to_string());
        if offence.ends_session() {
            let command = LinkCommand::Disconnect { peer: self.id, reason: penalty::SUBPROTOCOL_ERROR };
            self.outbox.steer(Traced::untraced(command));
        }
    }
}

/// What a peer's messages are worked off with.
struct Receiver {
    peers: Peers,
    peer: Arc<Peer>,
    announcements: Allowance,
    blocks: Allowance,
}

/// Takes a peer's answers and gossip until it is gone.
pub(crate) async fn work_off(peers: Peers, peer: Arc<Peer>, lane: Arc<Lane<Traced<PeerMessage>>>) {
    let now = Instant::now();
    let allowance = |(burst, per_second)| Allowance::new(burst, per_second, now);
    let (announcements, blocks) = (allowance(ANNOUNCEMENTS), allowance(BLOCKS));
    let mut receiver = Receiver { peers, peer, announcements, blocks };
    gossip::greet(&receiver.peers, &receiver.peer).await;
    while let Some(Traced { trace, value }) = lane.next().await {
        let span = span_of(&receiver.peer, &value, &trace);
        let outcome = receiver.receive(value).instrument(span).await;
        if let Err(offence) = outcome {
            receiver.peer.pay(&offence);
        }
    }
}

/// The span of a message that is traced; it continues what p2p began.
pub(crate) fn span_of(peer: &Peer, message: &PeerMessage, trace: &TraceContext) -> Span {
    let name = name_of(message);
    metrics::counter!("quintet_chain_peer_messages_total", "message" => name).increment(1);
    metrics::counter!("quintet_chain_peer_message_bytes_total", "message" => name)
        .increment(message.payload.len() as u64);
    if trace.0.is_empty() {
        return Span::none();
    }
    let span = info_span!(
        "peer message",
        otel.name = name,
        otel.kind = "consumer",
        quintet.peer = %peer.id,
        quintet.protocol = %message.protocol,
        bytes = message.payload.len().cast_signed(),
    );
    propagation::set_parent(&span, trace);
    span
}

fn name_of(message: &PeerMessage) -> &'static str {
    message_name(message.protocol.name(), message.protocol.version().into(), message.code.into())
}

impl Receiver {
    async fn receive(&mut self, message: PeerMessage) -> Result<(), Offence> {
        match message.protocol {
            protocol if protocol == self.peer.eth() => self.receive_eth(message).await,
            wire::SNAP if self.peer.snap => self.receive_snap(message).await,
            WireProtocol::Eth(_) | WireProtocol::Snap(_) => Err(Offence::Disorder(name_of(&message))),
        }
    }

    async fn receive_snap(&self, message: PeerMessage) -> Result<(), Offence> {
        let code = u64::from(message.code);
        let kind = SnapMessageId::from_code(code).and_then(wire::snap_answers);
        let Some(kind) = kind else {
            // Requests have a lane of their own: this is a code that does not exist.
            return Err(Offence::Disorder("snap message"));
        };
        let id = snap_request_id(code, &message.payload);
        let payload = message.payload;
        self.answer(kind, id, payload.len(), move || wire::decode_snap_answer(code, &payload)).await
    }

    async fn receive_eth(&mut self, message: PeerMessage) -> Result<(), Offence> {
        let (version, code) = (self.peer.version, u64::from(message.code));
        let payload = message.payload;
        if let Some(kind) = EthMessageId::from_code(version, code).and_then(wire::answers) {
            let id = request_id(version, code, &payload);
            if version.has_request_ids() && id.is_none() {
                let reason = Malformed::Rlp(alloy_rlp::Error::Custom("no request id"));
                return Err(WireError::Malformed { message: kind.name(), reason }.into());
            }
            return self
                .answer(kind, id, payload.len(), move || wire::decode_answer(version, code, &payload))
                .await;
        }
        let message = decode(payload.len(), move || EthMessage::decode(version, code, &payload)).await?;
        match message {
            EthMessage::NewBlockHashes(blocks) => self.announced(&blocks),
            EthMessage::NewBlock(new) => self.propagated(new).await,
            EthMessage::Transactions(transactions) => {
                gossip::take_broadcast(&self.peers, &self.peer, transactions).await
            }
            EthMessage::NewPooledTransactionHashes(announced) => {
                gossip::take_announcement(&self.peers, &self.peer, &announced);
                Ok(())
            }
            EthMessage::BlockRangeUpdate(range) => {
                let (number, earliest) = (Some(range.latest), Some(range.earliest));
                self.moved(PeerHead { hash: range.latest_hash, number, total_difficulty: None, earliest });
                Ok(())
            }
            other => Err(Offence::Disorder(other.id().name())),
        }
    }

    /// An answer came. If nobody waits for it, it is decoded only to tell who has the wrong id from who sends no message
    /// at all: the latter is sent away, and does not leave its requests to time out.
    async fn answer(
        &self,
        kind: RequestKind,
        id: Option<u64>,
        size: usize,
        read: impl FnOnce() -> Result<Reply, WireError> + Send + 'static,
    ) -> Result<(), Offence> {
        let peer = &self.peer;
        let expected = peer.pending.lock().expects(kind, id, Instant::now());
        let reply = match expected {
            Expected::Unasked if size < LARGE => {
                read()?;
                return Err(Offence::Unasked(kind));
            }
            Expected::Unasked => return Err(Offence::Unasked(kind)),
            // It is of no use any more: only that it came is noted.
            Expected::Late => Ok(Reply::Malformed("late".to_owned())),
            Expected::Wanted => decode(size, read).await,
        };
        let items = reply.as_ref().map_or(0, Reply::items);
        let answer = peer.pending.lock().answer(kind, id, items, Instant::now());
        let (token, offence) = match (answer, reply) {
            (Answer::Wanted { token, elapsed }, Ok(reply)) => {
                peer.rate.lock().update(kind, elapsed, items);
                self.peers.tune();
                // Who asked may have gone meanwhile.
                let _ = token.send(reply);
                return Ok(());
            }
            (Answer::Wanted { token, .. }, Err(error)) => (token, error.into()),
            (Answer::TooMany { token, most }, _) => (token, Offence::TooMany { kind, items, most }),
            (Answer::WrongKind { token, asked }, _) => (token, Offence::WrongKind { got: kind, asked }),
            // The wait for it has ended while it was decoded.
            (Answer::Late | Answer::Unasked, _) => return Ok(()),
        };
        let _ = token.send(Reply::Malformed(offence.to_string()));
        Err(offence)
    }

    /// Blocks were announced.
    fn announced(&mut self, blocks: &[BlockHashNumber]) -> Result<(), Offence> {
        let now = Instant::now();
        let mut taken = Vec::new();
        {
            let mut known = self.peer.blocks.lock();
            for block in blocks {
                if !self.announcements.take(now) {
                    break;
                }
                known.insert(block.hash);
                taken.push((block.hash, block.number));
            }
        }
        let flood = taken.len() < blocks.len();
        if !taken.is_empty() {
            let traceparent = propagation::current_trace();
            self.peers.tell(PeerChange::Announced { peer: self.peer.id, blocks: taken, traceparent });
        }
        if flood { Err(Offence::Flood("announcements of blocks")) } else { Ok(()) }
    }

    /// A whole block came.
    async fn propagated(&mut self, new: Box<NewBlock>) -> Result<(), Offence> {
        if !self.blocks.take(Instant::now()) {
            return Err(Offence::Flood("blocks"));
        }
        let NewBlock { block, total_difficulty } = *new;
        let checked = off_thread(move || gossip::check_block(&block).map(|()| block)).await;
        let block = checked.map_err(Offence::InsaneBlock)?;
        let hash = block.header.hash_slow();
        self.peer.blocks.lock().insert(hash);
        let traceparent = propagation::current_trace();
        let (parent, number) = (block.header.parent_hash, block.header.number.saturating_sub(1));
        // The peer may not have imported the block itself yet, but it has its parent.
        let before = total_difficulty.saturating_sub(block.header.difficulty);
        let peer = self.peer.id;
        self.peers.tell(PeerChange::Block {
            peer,
            block: Arc::new(block),
            td: total_difficulty,
            traceparent,
        });
        let head = self.peer.head();
        let better = match head.total_difficulty {
            Some(difficulty) => before > difficulty,
            None => head.number.is_none_or(|head| number > head),
        };
        if better {
            let total_difficulty = head.total_difficulty.map(|_| before);
            self.moved(PeerHead { hash: parent, number: Some(number), total_difficulty, ..head });
        }
        Ok(())
    }

    fn moved(&self, head: PeerHead) {
        if self.peer.set_head(head) {
            self.peer.blocks.lock().insert(head.hash);
            self.peers.tell(PeerChange::Head(self.peer.id));
        }
    }
}

/// Decodes a message of `size` bytes, a large one off the async threads.
pub(crate) async fn decode<T: Send + 'static>(
    size: usize,
    read: impl FnOnce() -> Result<T, WireError> + Send + 'static,
) -> Result<T, WireError> {
    if size < LARGE { read() } else { off_thread(read).await }
}

/// Runs work that takes long off the async threads. A panic there is the task's own.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let span = Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only at shutdown: the runtime takes no more work, and will not poll this again.
        Err(_) => std::future::pending().await,
    }
}
