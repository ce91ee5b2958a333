//! The service that p2p instances dial: any number of links, each with its peers.
//!
//! What must hold: the first frame is a hello, and the first command the status; a link's peers go with it; an instance
//! has one link at a time, the newest; and a frame that breaks the contract ends the link that it came on, nothing else.

use super::identity::LinkNumber;
use super::outbox::Outbox;
use super::session::Session;
use super::status::link_status;
use super::{PeerId, Peers, penalty, session};
use alloy_primitives::map::B256Map;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use quintet_chain_api::{LinkCommand, LinkFrame, LinkHello, MESSAGE_LIMIT, Traced};
use quintet_proto::chain::v1 as proto;
use quintet_proto::chain::v1::peer_link_service_server::{PeerLinkService, PeerLinkServiceServer};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How long an instance that opened a link may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The gRPC face of [`Peers`]: what p2p instances dial. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerLinkServer {
    peers: Peers,
    token: CancellationToken,
}

/// A link that is open.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) number: LinkNumber,
    pub(crate) identity: u32,
    pub(crate) outbox: Arc<Outbox>,
    /// Cancelled when the link ends, whichever end it was.
    ended: CancellationToken,
}

impl Link {
    pub(crate) fn new(number: LinkNumber, identity: u32) -> Self {
        Self { number, identity, outbox: Arc::default(), ended: CancellationToken::new() }
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.outbox.close();
        self.ended.cancel();
    }
}

impl PeerLinkServer {
    /// Serves links to `peers`; they end when `token` is cancelled.
    pub const fn new(peers: Peers, token: CancellationToken) -> Self {
        Self { peers, token }
    }

    /// The generated server: for a port, or for `Transport::local`.
    pub fn into_server(self) -> PeerLinkServiceServer<Self> {
        PeerLinkServiceServer::new(self)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }
}

type Frames = Streaming<proto::ConnectRequest>;

#[tonic::async_trait]
impl PeerLinkService for PeerLinkServer {
    type ConnectStream = BoxStream<'static, Result<proto::ConnectResponse, Status>>;

    async fn connect(&self, request: Request<Frames>) -> Result<Response<Self::ConnectStream>, Status> {
        let mut frames = request.into_inner();
        let hello = self.hello(&mut frames).await?;
        let link = self.peers.open_link(&hello);
        let end = EndOfLink { peers: self.peers.clone(), link: Arc::clone(&link) };
        tokio::spawn(read(self.peers.clone(), Arc::clone(&link), frames, self.token.clone()));
        let commands = stream::unfold(end, |end| async move {
            let command = end.link.outbox.next().await?;
            Some((Ok(command.into()), end))
        });
        Ok(Response::new(commands.take_until(self.token.clone().cancelled_owned()).boxed()))
    }
}

impl PeerLinkServer {
    async fn hello(&self, frames: &mut Frames) -> Result<LinkHello, Status> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, frames.message());
        let first = match self.token.run_until_cancelled(first).await {
            None => return Err(Status::unavailable("the chain service is shutting down")),
            Some(Err(_)) => {
                return Err(Status::deadline_exceeded(format!("no hello came within {HELLO_TIMEOUT:?}")));
            }
            Some(Ok(first)) => first?.ok_or_else(|| Status::invalid_argument("the link has no frames"))?,
        };
        match decode(first)?.value {
            LinkFrame::Hello(hello) => Ok(hello),
            _ => Err(Status::invalid_argument("the link's first frame is not a hello")),
        }
    }
}

/// Ends the link when the stream of commands is dropped: when p2p is gone.
struct EndOfLink {
    peers: Peers,
    link: Arc<Link>,
}

impl Drop for EndOfLink {
    fn drop(&mut self) {
        self.peers.close_link(&self.link);
    }
}

fn decode(request: proto::ConnectRequest) -> Result<Traced<LinkFrame>, Status> {
    Traced::try_from(request).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// Takes frames until the link ends.
async fn read(peers: Peers, link: Arc<Link>, mut frames: Frames, token: CancellationToken) {
    let mut sessions: B256Map<Session> = B256Map::default();
    loop {
        let frame = tokio::select! {
            () = token.cancelled() => break,
            () = link.ended.cancelled() => break,
            frame = frames.message() => frame,
        };
        let frame = match frame {
            Ok(Some(frame)) => decode(frame),
            Ok(None) => break,
            Err(status) => Err(status),
        };
        match frame {
            Ok(frame) => take(&peers, &link, &mut sessions, frame),
            Err(status) => {
                tracing::warn!(link = link.number, error = status.message(), "Peer link broke");
                break;
            }
        }
    }
    drop(sessions);
    peers.close_link(&link);
}

/// One frame. Never waits: it would be for all peers of the link.
fn take(peers: &Peers, link: &Arc<Link>, sessions: &mut B256Map<Session>, frame: Traced<LinkFrame>) {
    let Traced { trace, value } = frame;
    match value {
        // It has said who it is.
        LinkFrame::Hello(_) => {}
        LinkFrame::Up(up) => {
            let id = up.peer;
            // The old session first: what is said of the peer from now on is the new one's.
            sessions.remove(&id);
            match session::open(peers, link, &up) {
                Ok(session) => drop(sessions.insert(id, session)),
                Err(refusal) => refuse(link, id, &refusal),
            }
        }
        LinkFrame::Message(message) => match sessions.get(&message.peer) {
            Some(session) => session.receive(Traced { trace, value: message }),
            None => metrics::counter!("quintet_chain_peer_stray_messages_total").increment(1),
        },
        LinkFrame::Down { peer, reason } => {
            if sessions.remove(&peer).is_some() {
                tracing::debug!(%peer, reason, "Ethereum peer disconnected");
            }
        }
    }
}

fn refuse(link: &Link, peer: PeerId, refusal: &session::Refusal) {
    tracing::debug!(%peer, %refusal, "Ethereum peer refused");
    let reason = match refusal {
        session::Refusal::AlreadyConnected => penalty::ALREADY_CONNECTED,
        session::Refusal::NoProtocol | session::Refusal::Status(_) => penalty::BREACH,
    };
    link.outbox.steer(Traced::untraced(LinkCommand::Disconnect { peer, reason }));
}

impl Peers {
    /// An instance opens a link, which takes the place of the one that it has.
    pub(crate) fn open_link(&self, hello: &LinkHello) -> Arc<Link> {
        let mut links = self.shared.links.lock();
        let joined = links.instances.join(hello.instance, hello.held_identity);
        let link = Arc::new(Link::new(joined.link, joined.identity));
        let old = joined.replaces.and_then(|old| links.open.remove(&old));
        links.open.insert(link.number, Arc::clone(&link));
        let count = links.instances.len();
        // Under the lock, so that no newer status is overtaken by this one.
        let status = link_status(&self.shared.chain, &self.shared.chain.head(), link.identity);
        link.outbox.steer(Traced::untraced(LinkCommand::Status(status)));
        drop(links);
        if let Some(old) = &old {
            self.drop_link(old);
        }
        metrics::gauge!("quintet_chain_peer_links").set(count as f64);
        tracing::info!(
            link = link.number,
            identity = link.identity,
            replaced = old.is_some(),
            "Peer link opened"
        );
        link
    }

    /// A link has ended. Whoever finds out first.
    pub(crate) fn close_link(&self, link: &Link) {
        let mut links = self.shared.links.lock();
        let closed = links.open.remove(&link.number).is_some();
        links.instances.leave(link.number);
        let count = links.instances.len();
        drop(links);
        self.drop_link(link);
        if closed {
            metrics::gauge!("quintet_chain_peer_links").set(count as f64);
            tracing::info!(link = link.number, identity = link.identity, "Peer link closed");
        }
    }

    /// Its peers are gone.
    fn drop_link(&self, link: &Link) {
        link.end();
        let of_link: Vec<_> =
            self.list().into_iter().filter(|peer| Arc::ptr_eq(&peer.outbox, &link.outbox)).collect();
        for peer in of_link {
            self.remove(&peer);
        }
    }

    /// Tells all instances the chain's status.
    pub(crate) fn send_status(&self) {
        let links = self.shared.links.lock();
        let head = self.shared.chain.head();
        for link in links.open.values() {
            let status = link_status(&self.shared.chain, &head, link.identity);
            link.outbox.steer(Traced::untraced(LinkCommand::Status(status)));
        }
    }
}
