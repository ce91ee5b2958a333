//! An RLPx connection before it is a peer: the handshake, and one message at a time.
//!
//! What must hold: the caller sets the deadline; whatever comes, no more is held than one message of the size that is
//! allowed at this point, and that only as it comes.

use bytes::BytesMut;
use quintet_enode::{NodeKey, PublicKey};
use quintet_rlpx::{Accepted, Codec, DisconnectReason, Hello, Initiator, Message, Recipient, base};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that are read at once, at first; a message that has more of them doubles it.
const READ_STEP: usize = 4096;
/// A read buffer that grew beyond this is given back once it is empty.
const READ_KEEP: usize = 64 << 10;

/// Why a connection does not become a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The deadline passed.
    #[error("{0} took too long")]
    Timeout(&'static str),
    /// The peer's bytes are refused.
    #[error("{0}")]
    Rlpx(#[from] quintet_rlpx::Error),
    /// The peer wants no session.
    #[error("{0} (said by the peer)")]
    Disconnected(DisconnectReason),
    /// We want no session.
    #[error("{0}")]
    Refused(DisconnectReason),
    /// The first message is no hello.
    #[error("expected a hello, got message {0:#x}")]
    NoHello(u64),
}

impl Failure {
    /// What to tell the peer, if anything can be.
    pub(crate) fn tell(&self) -> Option<DisconnectReason> {
        match self {
            Self::Io(_) | Self::Disconnected(_) => None,
            Self::Timeout(_) => Some(DisconnectReason::ReadTimeout),
            Self::Rlpx(error) => Some(error.disconnect_reason()),
            Self::Refused(reason) => Some(*reason),
            Self::NoHello(_) => Some(DisconnectReason::ProtocolError),
        }
    }

    /// Whether the peer broke the protocol. Who dials and then says nothing keeps a slot; who is dialled may be slow.
    pub(crate) const fn is_offence(&self, inbound: bool) -> bool {
        match self {
            Self::Rlpx(_) | Self::NoHello(_) => true,
            Self::Timeout(_) => inbound,
            Self::Io(_) | Self::Disconnected(_) | Self::Refused(_) => false,
        }
    }

    /// Its name in metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Io(_) => "network",
            Self::Timeout(_) => "timeout",
            Self::Rlpx(_) | Self::NoHello(_) => "invalid",
            Self::Disconnected(_) => "disconnected",
            Self::Refused(_) => "refused",
        }
    }
}

/// A connection whose secrets are agreed on.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket.
    pub(crate) stream: TcpStream,
    /// Frames. Its state is large, and a connection is handed on.
    pub(crate) codec: Box<Codec>,
    /// What came and is not decoded yet.
    pub(crate) input: BytesMut,
    /// Who it is with.
    pub(crate) remote: PublicKey,
    /// Who we are to them.
    pub(crate) local: PublicKey,
}

impl Connection {
    /// The handshake with a node that dialled us, under any of these keys.
    pub(crate) async fn accept(mut stream: TcpStream, keys: Vec<NodeKey>) -> Result<Self, Failure> {
        let mut input = BytesMut::new();
        let mut handshakes: Vec<_> =
            keys.iter().map(|key| (key.public(), Recipient::new(key.secret()))).collect();
        loop {
            read_more(&mut stream, &mut input).await?;
            let Some((local, accepted)) = answer(&mut handshakes, &mut input)? else { continue };
            stream.write_all(&accepted.ack).await?;
            let remote = *accepted.secrets.remote();
            return Ok(Self { stream, codec: Box::new(Codec::new(accepted.secrets)), input, remote, local });
        }
    }

    /// The handshake with a node that we dialled.
    pub(crate) async fn initiate(
        mut stream: TcpStream,
        key: &NodeKey,
        remote: PublicKey,
    ) -> Result<Self, Failure> {
        let mut handshake = Initiator::new(key.secret(), &remote)?;
        stream.write_all(handshake.auth()).await?;
        let mut input = BytesMut::new();
        loop {
            read_more(&mut stream, &mut input).await?;
            if let Some(secrets) = handshake.read_ack(&mut input)? {
                let local = key.public();
                return Ok(Self { stream, codec: Box::new(Codec::new(secrets)), input, remote, local });
            }
        }
    }

    /// Exchanges hellos; what follows is compressed if the peer can.
    pub(crate) async fn greet(&mut self, ours: &Hello) -> Result<Hello, Failure> {
        self.send(base::HELLO, &ours.encode()).await?;
        let message = self.receive().await?;
        let hello = match message.code {
            base::HELLO => Hello::decode(&message.payload)?,
            base::DISCONNECT => {
                return Err(Failure::Disconnected(DisconnectReason::decode(&message.payload)));
            }
            code => return Err(Failure::NoHello(code)),
        };
        hello.check_identity(&self.remote).map_err(Failure::Refused)?;
        self.codec.hello_received(hello.version);
        Ok(hello)
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(message) = self.codec.decode(&mut self.input)? {
                return Ok(message);
            }
            read_more(&mut self.stream, &mut self.input).await?;
        }
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, code: u64, payload: &[u8]) -> Result<(), Failure> {
        let mut frame = BytesMut::new();
        self.codec.encode(code, payload, &mut frame)?;
        Ok(self.stream.write_all(&frame).await?)
    }
}

/// Answers a packet under the key that it was made for, once it is there. A key that it was not made for is tried no more;
/// what came is left as it was for the next.
fn answer(
    handshakes: &mut Vec<(PublicKey, Recipient)>,
    input: &mut BytesMut,
) -> Result<Option<(PublicKey, Accepted)>, quintet_rlpx::Error> {
    loop {
        let Some((key, handshake)) = handshakes.last_mut() else { return Err(quintet_rlpx::Error::BadEcies) };
        match handshake.read_auth(input) {
            Ok(accepted) => return Ok(accepted.map(|accepted| (*key, accepted))),
            Err(quintet_rlpx::Error::BadEcies) if handshakes.len() > 1 => drop(handshakes.pop()),
            Err(error) => return Err(error),
        }
    }
}

/// Reads what is there.
pub(crate) async fn read_more(
    stream: &mut (impl AsyncReadExt + Unpin),
    input: &mut BytesMut,
) -> io::Result<()> {
    if input.is_empty() && input.capacity() > READ_KEEP {
        *input = BytesMut::new();
    }
    // As much again as has come: what a peer only announces takes no memory.
    input.reserve(input.len().clamp(READ_STEP, READ_KEEP));
    match stream.read_buf(input).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
