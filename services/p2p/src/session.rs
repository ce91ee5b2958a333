//! A session with a peer, from its connection to its end.
//!
//! What must hold: every wait has a deadline; a peer costs no more memory than one message as it comes in, its share of
//! the queue to `chain`, and its outbox; whatever it sends, pings are answered and the session ends in order: it is
//! told why, `chain` hears that it is gone, and whoever broke the protocol loses reputation.

use crate::connection::{Connection, Failure};
use crate::head::Head;
use crate::hub::{Hub, Own};
use crate::metrics;
use crate::outbox::Outbox;
use crate::peer::{Peer, Protocols};
use crate::session_io::{Ended, Reader, Writer};
use crate::status::{self, StatusError};
use parking_lot::Mutex;
use quintet_chain_api::PeerUp;
use quintet_enode::Enode;
use quintet_rlpx::{DisconnectReason, Hello, base, shared_capabilities};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

/// The oldest version of the base protocol that is spoken; its messages are not compressed.
const OLDEST_BASE_VERSION: u64 = 4;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A session with a node that dialled us. `slot` is given back when its handshakes are done.
pub(crate) async fn inbound(hub: Arc<Hub>, stream: TcpStream, slot: OwnedSemaphorePermit) {
    let Some(address) = stream.peer_addr().ok().map(|address| address.ip()) else { return };
    match establish(&hub, stream, None).await {
        Ok((connection, peer)) => {
            drop(slot);
            run(hub, connection, peer).await;
        }
        Err((failure, id)) => {
            tracing::trace!(%address, %failure, "inbound handshake failed");
            hub.handshake_failed((address, id), true, &failure);
        }
    }
}

/// A session with a node that we dialled.
///
/// # Errors
/// When it does not become a peer.
pub(crate) async fn outbound(
    hub: &Arc<Hub>,
    stream: TcpStream,
    node: Enode,
) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    match establish(hub, stream, Some(node)).await {
        Ok((connection, peer)) => Ok(run(Arc::clone(hub), connection, peer)),
        Err((failure, _)) => {
            hub.handshake_failed((node.ip, Some(node.node_id())), false, &failure);
            if matches!(failure, Failure::Refused(DisconnectReason::UselessPeer)) {
                hub.unsuited(node.node_id(), std::time::Instant::now());
            }
            Err(failure)
        }
    }
}

/// Handshake and hello; a peer that is added to the hub, or why not, with its id as soon as that is known.
async fn establish(
    hub: &Arc<Hub>,
    stream: TcpStream,
    dialled: Option<Enode>,
) -> Result<(Connection, Arc<Peer>), (Failure, Option<alloy_primitives::B256>)> {
    let inbound = dialled.is_none();
    let result = try_establish(hub, stream, dialled).await;
    metrics::handshake(inbound, result.as_ref().map_or_else(|(failure, _)| failure.name(), |_| "ok"));
    result
}

async fn try_establish(
    hub: &Arc<Hub>,
    stream: TcpStream,
    dialled: Option<Enode>,
) -> Result<(Connection, Arc<Peer>), (Failure, Option<alloy_primitives::B256>)> {
    let deadline = Instant::now() + hub.settings.limits.handshake;
    let own = hub.own().ok_or((Failure::Refused(DisconnectReason::Quitting), None))?;
    // Small messages must not wait for each other. A socket that cannot do this works all the same.
    let _ = stream.set_nodelay(true);
    let handshake = async {
        match dialled {
            None => Connection::accept(stream, own.keys()).await,
            Some(node) => Connection::initiate(stream, &own.key, node.public_key).await,
        }
    };
    let late = |_| Failure::Timeout("handshake");
    let connection = timeout_at(deadline, handshake).await.map_err(late).flatten();
    let mut connection = connection.map_err(|failure| (failure, None))?;
    let id = quintet_enode::node_id(&connection.remote);
    let introduced = timeout_at(deadline, introduce(hub, &own, &mut connection, dialled)).await;
    match introduced.map_err(late).flatten() {
        Ok(peer) => Ok((connection, peer)),
        Err(failure) => {
            if let Some(reason) = failure.tell() {
                farewell(hub, connection, reason).await;
            }
            Err((failure, Some(id)))
        }
    }
}

/// Hellos, and the place among the peers.
async fn introduce(
    hub: &Hub,
    own: &Own,
    connection: &mut Connection,
    dialled: Option<Enode>,
) -> Result<Arc<Peer>, Failure> {
    let id = quintet_enode::node_id(&connection.remote);
    hub.check(&id, dialled.is_none(), std::time::Instant::now()).map_err(Failure::Refused)?;
    let hello = connection.greet(&own.hello(connection.local)).await?;
    let peer = Arc::new(peer(hub, own, connection, dialled, hello)?);
    hub.add(&peer, std::time::Instant::now()).map_err(Failure::Refused)?;
    Ok(peer)
}

fn peer(
    hub: &Hub,
    own: &Own,
    connection: &Connection,
    dialled: Option<Enode>,
    hello: Hello,
) -> Result<Peer, Failure> {
    if hello.version < OLDEST_BASE_VERSION {
        return Err(Failure::Refused(DisconnectReason::IncompatibleVersion));
    }
    let shared = shared_capabilities(&own.capabilities, &hello.capabilities);
    let protocols = Protocols::new(shared).ok_or(Failure::Refused(DisconnectReason::UselessPeer))?;
    let limits = &hub.settings.limits;
    Ok(Peer {
        id: quintet_enode::node_id(&connection.remote),
        public_key: connection.remote,
        name: hello.client,
        capabilities: hello.capabilities.iter().map(ToString::to_string).collect(),
        protocols,
        local: connection.stream.local_addr()?,
        remote: connection.stream.peer_addr()?,
        dialled,
        trusted: AtomicBool::new(false),
        outbox: Outbox::new(limits.send_queue, limits.most_send_queue),
        head: Mutex::default(),
    })
}

/// A peer's session: its status, its messages, its end. Not cancelled: a peer that was added is always removed.
async fn run(hub: Arc<Hub>, connection: Connection, peer: Arc<Peer>) {
    tracing::debug!(peer = %peer.id, name = peer.name, address = %peer.remote, inbound = peer.is_inbound(),
        protocols = peer.protocols.names().join(","), "peer connected");
    let ended = converse(&hub, connection, &peer).await;
    let reason = ended.reason();
    // Nobody pushes any more.
    peer.disconnect(reason);
    hub.remove(&peer, reason);
    if let Some(offence) = ended.offence() {
        hub.punish(&peer, offence, std::time::Instant::now());
    }
    metrics::disconnected(reason, ended.is_by_peer());
    tracing::debug!(peer = %peer.id, name = peer.name, reason = %ended, "peer disconnected");
}

async fn converse(hub: &Arc<Hub>, mut connection: Connection, peer: &Arc<Peer>) -> Ended {
    let Some(chain) = hub.link.status() else { return Ended::Local(DisconnectReason::Quitting) };
    let rules = hub.link.rules();
    let exchange = status::exchange(&mut connection, peer, &chain, rules.as_deref());
    let exchanged = tokio::select! {
        exchanged = timeout(hub.settings.limits.status, exchange) => {
            exchanged.unwrap_or_else(|_| Err(Failure::Timeout("status").into()))
        }
        reason = peer.outbox.closed() => {
            farewell(hub, connection, reason).await;
            return Ended::Local(reason);
        }
    };
    let (theirs, bytes) = match exchanged {
        Ok(exchanged) => exchanged,
        Err(StatusError::Connection(Failure::Disconnected(reason))) => return Ended::Remote(reason),
        Err(error) => {
            if error.is_lasting() {
                hub.unsuited(peer.id, std::time::Instant::now());
            }
            if let Some(reason) = error.tell() {
                farewell(hub, connection, reason).await;
            }
            return Ended::Status(error);
        }
    };
    *peer.head.lock() = Some(Head::of(&theirs));
    hub.link.up(PeerUp {
        peer: peer.id,
        protocols: peer.protocols.for_chain(),
        name: peer.name.clone(),
        status: bytes.0,
        inbound: peer.is_inbound(),
        trusted: peer.is_trusted(),
    });
    exchange_messages(hub, connection, peer).await
}

async fn exchange_messages(hub: &Arc<Hub>, connection: Connection, peer: &Arc<Peer>) -> Ended {
    let Connection { stream, codec, input, .. } = connection;
    let (encoder, decoder) = codec.into_parts();
    let (read, write) = stream.into_split();
    let mut reader = Reader::new(Arc::clone(hub), Arc::clone(peer), read, decoder, input);
    let mut writer = Writer::new(Arc::clone(hub), Arc::clone(peer), write, encoder);
    let ended = tokio::select! {
        ended = reader.run() => ended,
        ended = writer.run() => ended,
        // The writer may be in a frame that the peer does not take.
        reason = peer.outbox.closed() => Ended::Local(reason),
    };
    if let Some(reason) = ended.tell()
        && timeout(FAREWELL, writer.farewell(reason)).await.is_ok_and(|sent| sent.is_ok())
    {
        hub.lingering.take(reader.into_stream());
    }
    ended
}

/// Tells a peer why. The socket lingers, so that it hears that.
async fn farewell(hub: &Hub, mut connection: Connection, reason: DisconnectReason) {
    let told = async {
        connection.send(base::DISCONNECT, &reason.encode()).await?;
        Ok::<_, Failure>(connection.stream.shutdown().await?)
    };
    if timeout(FAREWELL, told).await.is_ok_and(|told| told.is_ok()) {
        hub.lingering.take(connection.stream);
    }
}
