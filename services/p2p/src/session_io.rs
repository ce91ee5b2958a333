//! The two halves of a session that stands: one reads, the other writes.

use crate::connection::{Failure, read_more};
use crate::hub::Hub;
use crate::metrics::{self, Meter};
use crate::outbox::Next;
use crate::peer::Peer;
use crate::reputation::Offence;
use crate::status::StatusError;
use bytes::BytesMut;
use quintet_chain_api::{PeerMessage, Traced, WireProtocol};
use quintet_eth_wire::{EthMessageId, EthVersion, MAX_MESSAGE_SIZE, SnapMessageId};
use quintet_rlpx::base::{DISCONNECT, EMPTY, LENGTH, PING, PONG};
use quintet_rlpx::{Decoder, DisconnectReason, Encoder, Message};
use quintet_service::propagation;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};

/// Small messages are sent together up to so many bytes.
const BATCH: usize = 32 << 10;
/// An output buffer that grew beyond this is given back once it is empty.
const WRITE_KEEP: usize = 64 << 10;

/// How a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// We ended it.
    #[error("{0}")]
    Local(DisconnectReason),
    /// The peer ended it.
    #[error("{0} (said by the peer)")]
    Remote(DisconnectReason),
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Nothing came for too long.
    #[error("no message within {0:?}")]
    Silent(Duration),
    /// The peer does not read.
    #[error("the peer did not take a message within {0:?}")]
    Stuck(Duration),
    /// A frame that cannot be.
    #[error("{0}")]
    Rlpx(#[from] quintet_rlpx::Error),
    /// A message that must not be.
    #[error("{what} (code {code:#x})")]
    Breach {
        /// What is wrong.
        what: &'static str,
        /// The message's code, with its offset.
        code: u64,
    },
    /// The two are of different chains, or the status was none.
    #[error("{0}")]
    Status(StatusError),
}

impl Ended {
    /// The reason, in devp2p's terms.
    pub(crate) fn reason(&self) -> DisconnectReason {
        match self {
            Self::Local(reason) | Self::Remote(reason) => *reason,
            Self::Io(_) | Self::Stuck(_) => DisconnectReason::NetworkError,
            Self::Silent(_) => DisconnectReason::ReadTimeout,
            Self::Rlpx(error) => error.disconnect_reason(),
            Self::Breach { .. } => DisconnectReason::SubprotocolError,
            Self::Status(error) => error.tell().unwrap_or(DisconnectReason::NetworkError),
        }
    }

    /// What to tell the peer.
    pub(crate) fn tell(&self) -> Option<DisconnectReason> {
        match self {
            Self::Remote(_) | Self::Io(_) | Self::Stuck(_) | Self::Status(_) => None,
            Self::Local(_) | Self::Silent(_) | Self::Rlpx(_) | Self::Breach { .. } => Some(self.reason()),
        }
    }

    /// What it costs the peer.
    pub(crate) const fn offence(&self) -> Option<Offence> {
        match self {
            Self::Rlpx(_) => Some(Offence::BadFrame),
            Self::Breach { .. } => Some(Offence::Breach),
            Self::Stuck(_) => Some(Offence::Flood),
            Self::Status(StatusError::Connection(Failure::Timeout(_))) => Some(Offence::BadHandshake),
            Self::Status(error) if error.is_breach() => Some(Offence::Breach),
            _ => None,
        }
    }

    /// Whether the peer ended it.
    pub(crate) const fn is_by_peer(&self) -> bool {
        matches!(self, Self::Remote(_) | Self::Io(_))
    }
}

/// The half that reads.
pub(crate) struct Reader {
    hub: Arc<Hub>,
    peer: Arc<Peer>,
    stream: OwnedReadHalf,
    decoder: Decoder,
    input: BytesMut,
    meter: Meter,
}

impl Reader {
    pub(crate) fn new(
        hub: Arc<Hub>,
        peer: Arc<Peer>,
        stream: OwnedReadHalf,
        mut decoder: Decoder,
        input: BytesMut,
    ) -> Self {
        // What `eth` and `snap` allow; more is not decompressed.
        decoder.set_limit(MAX_MESSAGE_SIZE);
        Self { hub, peer, stream, decoder, input, meter: Meter::default() }
    }

    /// Reads until the session ends.
    pub(crate) async fn run(&mut self) -> Ended {
        loop {
            // Whoever does not read its answers is not asked for more questions, for a while.
            if self.peer.outbox.is_over() {
                let _ = timeout(self.hub.settings.limits.stall, self.peer.outbox.has_room()).await;
            }
            let message = match self.next().await {
                Ok(message) => message,
                Err(ended) => return ended,
            };
            if let Err(ended) = self.take(message).await {
                return ended;
            }
        }
    }

    async fn next(&mut self) -> Result<Message, Ended> {
        let patience = self.hub.settings.limits.read;
        let deadline = Instant::now() + patience;
        loop {
            if let Some(message) = self.decoder.decode(&mut self.input)? {
                return Ok(message);
            }
            let read = read_more(&mut self.stream, &mut self.input);
            timeout_at(deadline, read).await.map_err(|_| Ended::Silent(patience))??;
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), Ended> {
        match message.code {
            PING => self.peer.outbox.pong(),
            DISCONNECT => return Err(Ended::Remote(DisconnectReason::decode(&message.payload))),
            // As in geth, others of the base protocol mean nothing here.
            code if code < LENGTH => {}
            code => {
                let breach = |what| Ended::Breach { what, code };
                let found = self.peer.protocols.find(code).ok_or(breach("message code out of range"))?;
                check_code(found.0, found.1).map_err(breach)?;
                self.forward(found.0, found.1, message).await;
            }
        }
        Ok(())
    }

    /// Tells `chain`. The trace of all that follows from the message begins here.
    async fn forward(&mut self, protocol: WireProtocol, code: u64, message: Message) {
        self.meter.count(true, protocol, code, message.wire_len);
        self.hub.events.message(self.peer.id, protocol, code, message.payload.len(), false);
        self.peer.learn(protocol, code, &message.payload);
        if !self.peer.protocols.reaches_chain(protocol) {
            return;
        }
        let span = tracing::info_span!(
            parent: None,
            "message from peer",
            otel.name = format_args!("{} from peer", metrics::message_name(protocol, code)),
            otel.kind = "consumer",
            quintet.peer = %self.peer.id,
            quintet.protocol = %protocol,
            network.peer.address = %self.peer.remote.ip(),
            size = message.payload.len().cast_signed(),
        );
        let message = Traced {
            trace: propagation::trace_of(&span),
            value: PeerMessage {
                peer: self.peer.id,
                protocol,
                code: u32::try_from(code).unwrap_or(u32::MAX),
                payload: message.payload.0,
            },
        };
        let deadline = Instant::now() + self.hub.settings.limits.link_wait;
        if !self.hub.link.forward(message, deadline).await {
            metrics::dropped("in", "chain_busy_or_away");
        }
        // The span lasts until the message is on its way.
        drop(span);
    }

    /// What is left once the session is over.
    pub(crate) fn into_stream(self) -> OwnedReadHalf {
        self.stream
    }
}

/// Whether a protocol has such a message after the handshake.
fn check_code(protocol: WireProtocol, code: u64) -> Result<(), &'static str> {
    let known = match protocol {
        WireProtocol::Eth(version) => EthVersion::from_number(version.into())
            .and_then(|version| EthMessageId::from_code(version, code))
            .map(|id| id != EthMessageId::Status),
        WireProtocol::Snap(_) => SnapMessageId::from_code(code).map(|_| true),
    };
    match known {
        Some(true) => Ok(()),
        Some(false) => Err("uncontrolled status message"),
        None => Err("invalid message code"),
    }
}

/// The half that writes.
pub(crate) struct Writer {
    hub: Arc<Hub>,
    peer: Arc<Peer>,
    stream: OwnedWriteHalf,
    encoder: Encoder,
    /// Frames on their way; whole ones once this is sent.
    output: BytesMut,
    meter: Meter,
}

impl Writer {
    pub(crate) fn new(hub: Arc<Hub>, peer: Arc<Peer>, stream: OwnedWriteHalf, encoder: Encoder) -> Self {
        Self { hub, peer, stream, encoder, output: BytesMut::new(), meter: Meter::default() }
    }

    /// Writes until the session ends.
    pub(crate) async fn run(&mut self) -> Ended {
        let interval = self.hub.settings.limits.ping;
        let mut pings = interval_at(Instant::now() + interval, interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                next = self.peer.outbox.next() => Some(next),
                _ = pings.tick() => None,
            };
            let filled = match next {
                Some(next) => self.fill(next),
                None => self.encode(PING, EMPTY),
            };
            if let Err(ended) = filled {
                return ended;
            }
            let patience = self.hub.settings.limits.write;
            match timeout(patience, self.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return Ended::Stuck(patience),
            }
        }
    }

    /// Encodes what is there, as far as it is sent together.
    fn fill(&mut self, first: Next) -> Result<(), Ended> {
        let mut next = Some(first);
        while let Some(work) = next {
            match work {
                Next::Close(reason) => return Err(Ended::Local(reason)),
                Next::Pong => self.encode(PONG, EMPTY)?,
                Next::Message(message) => {
                    let size = self.encoder.encode(message.code, &message.payload, &mut self.output)?;
                    if let Some((protocol, code)) = self.peer.protocols.find(message.code) {
                        self.meter.count(false, protocol, code, size);
                        let payload = message.payload.len();
                        self.hub.events.message(self.peer.id, protocol, code, payload, true);
                    }
                }
            }
            next = if self.output.len() < BATCH { self.peer.outbox.try_next() } else { None };
        }
        Ok(())
    }

    fn encode(&mut self, code: u64, payload: &[u8]) -> Result<(), Ended> {
        self.encoder.encode(code, payload, &mut self.output)?;
        Ok(())
    }

    /// Sends what is encoded. What was not sent when this is cancelled is sent next time.
    async fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            if self.stream.write_buf(&mut self.output).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        if self.output.capacity() > WRITE_KEEP {
            self.output = BytesMut::new();
        }
        Ok(())
    }

    /// Says why the session ends, after the frame that is on its way.
    pub(crate) async fn farewell(&mut self, reason: DisconnectReason) -> io::Result<()> {
        self.encoder
            .encode(DISCONNECT, &reason.encode(), &mut self.output)
            .map_err(|error| io::Error::other(error.to_string()))?;
        self.flush().await?;
        self.stream.shutdown().await
    }
}
