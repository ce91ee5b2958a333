//! The link to `chain`: dialled until it stands, and again whenever it is lost.
//!
//! What must hold: peers outlive the link. While it is away their messages wait, within bounds; when it is back, `chain`
//! hears of every peer first. The node's identity is what `chain` gave last.

mod queue;

use crate::forks::ForkRules;
use crate::hub::Hub;
use crate::metrics;
use crate::outbox::Pushed;
use alloy_primitives::B256;
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use queue::{LinkQueue, Offered, Popped};
use quintet_chain_api::{
    ChainClient, ChainError, LinkCommand, LinkCommands, LinkFrame, LinkHello, LinkStatus, PeerLinkClient,
    PeerMessage, PeerUp, SendMessage, Traced,
};
use quintet_chainspec::ChainSpec;
use quintet_rlpx::DisconnectReason;
use quintet_service::grpc::Transport;
use quintet_service::{Check, info, propagation};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    /// `chain` cannot be reached, or breaks the contract.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It does not say what comes first.
    #[error("chain did not say its status within {0:?}")]
    NoStatus(std::time::Duration),
    /// It said something else first.
    #[error("the first command of chain is not its status")]
    NotStatus,
    /// It ended the link.
    #[error("chain ended the link")]
    Closed,
}

/// The link, to everyone in the service.
pub(crate) struct Link {
    client: PeerLinkClient,
    chain: ChainClient,
    instance: [u8; 16],
    queue: Mutex<LinkQueue>,
    /// Frames may be taken.
    filled: Notify,
    /// Messages may be added.
    room: Notify,
    status: watch::Sender<Option<LinkStatus>>,
    rules: Mutex<Option<Arc<ForkRules>>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Link").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}

impl Link {
    /// A link over `transport`, which is not dialled yet.
    pub(crate) fn new(transport: Transport, peer_limit: usize, limit: usize) -> Self {
        Self {
            client: PeerLinkClient::new(transport.clone()),
            chain: ChainClient::new(transport),
            instance: rand::random(),
            queue: Mutex::new(LinkQueue::new(peer_limit, limit)),
            filled: Notify::new(),
            room: Notify::new(),
            status: watch::Sender::new(None),
            rules: Mutex::default(),
        }
    }

    /// What `chain` said last; `None` before it said anything.
    pub(crate) fn status(&self) -> Option<LinkStatus> {
        *self.status.borrow()
    }

    /// The same, as it changes.
    pub(crate) fn statuses(&self) -> watch::Receiver<Option<LinkStatus>> {
        self.status.subscribe()
    }

    /// The network's forks, where `chain` tells them.
    pub(crate) fn rules(&self) -> Option<Arc<ForkRules>> {
        self.rules.lock().clone()
    }

    /// Tells how much waits for `chain`.
    pub(crate) fn measure(&self) {
        metrics::link_queue(self.queue.lock().bytes());
    }

    /// A peer is past its handshakes.
    pub(crate) fn up(&self, peer: PeerUp) {
        self.queue.lock().up(peer);
        self.filled.notify_waiters();
    }

    /// A peer is gone.
    pub(crate) fn down(&self, peer: B256, reason: DisconnectReason) {
        self.queue.lock().down(peer, reason.code().into());
        self.filled.notify_waiters();
        self.room.notify_waiters();
    }

    /// Tells `chain` of a message; waits until `deadline` for room while `chain` is there. False when it was dropped.
    pub(crate) async fn forward(&self, message: Traced<PeerMessage>, deadline: Instant) -> bool {
        let mut message = message;
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            match self.queue.lock().offer(message) {
                Offered::Taken => break,
                Offered::Dropped => return false,
                Offered::Full(back) => message = back,
            }
            if tokio::time::timeout_at(deadline, room).await.is_err() {
                return false;
            }
        }
        self.filled.notify_waiters();
        true
    }

    /// Frames of one link, once it stands; ends when another begins.
    fn frames(self: Arc<Self>, generation: u64) -> impl Stream<Item = Traced<LinkFrame>> + Send {
        stream::unfold(self, move |link| async move {
            loop {
                let mut filled = pin!(link.filled.notified());
                filled.as_mut().enable();
                let popped = link.queue.lock().pop(generation);
                match popped {
                    Popped::Frame(frame) => {
                        link.room.notify_waiters();
                        return Some((frame, Arc::clone(&link)));
                    }
                    Popped::Ended => return None,
                    Popped::Empty => filled.await,
                }
            }
        })
    }

    /// Keeps the link until shutdown. `check` says how it is with it.
    pub(crate) async fn run(self: Arc<Self>, hub: Arc<Hub>, check: Check, token: CancellationToken) {
        let [first, most] = hub.settings.limits.reconnect;
        let mut pause = first;
        while !token.is_cancelled() {
            let ended = tokio::select! {
                ended = self.serve(&hub, &check, &mut pause) => ended,
                () = token.cancelled() => break,
            };
            self.queue.lock().disconnect();
            self.room.notify_waiters();
            metrics::link_up(false);
            if self.status().is_some() {
                check.degraded(format!("chain is away: {ended}; peers are kept"));
            } else {
                check.fail(format!("chain is away: {ended}"));
            }
            tracing::debug!(error = %ended, retry = ?pause, "no link to chain");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = token.cancelled() => break,
            }
            pause = pause.saturating_mul(2).min(most).max(first);
        }
        // Nothing pops from the link of a service that is going.
        self.queue.lock().begin();
        self.filled.notify_waiters();
    }

    /// One link, to its end.
    async fn serve(
        self: &Arc<Self>,
        hub: &Arc<Hub>,
        check: &Check,
        pause: &mut std::time::Duration,
    ) -> LinkError {
        let (status, mut commands) = match self.open(hub).await {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        self.learn_rules(hub, &status).await;
        // The status comes first: with an identity, handshakes begin.
        self.status.send_replace(Some(status));
        hub.adopt(status.identity);
        self.queue.lock().connect();
        self.filled.notify_waiters();
        metrics::link_up(true);
        check.ok();
        [*pause, _] = hub.settings.limits.reconnect;
        tracing::info!(
            network = status.network_id,
            identity = status.identity,
            head = status.head.number,
            "linked to chain"
        );
        while let Some(command) = commands.next().await {
            match command {
                Ok(command) => self.obey(hub, command),
                Err(error) => return error.into(),
            }
        }
        LinkError::Closed
    }

    async fn open(self: &Arc<Self>, hub: &Hub) -> Result<(LinkStatus, LinkCommands), LinkError> {
        let patience = hub.settings.limits.link_status;
        let generation = self.queue.lock().begin();
        self.filled.notify_waiters();
        let hello = LinkFrame::Hello(LinkHello {
            instance: self.instance,
            contract_minor: info::CONTRACT_MINOR,
            held_identity: self.status().map(|status| status.identity),
        });
        let frames = stream::iter([Traced::untraced(hello)]).chain(Arc::clone(self).frames(generation));
        let opening = async {
            let mut commands = self.client.connect(frames).await?;
            match commands.next().await {
                Some(first) => match first?.value {
                    LinkCommand::Status(status) => Ok((status, commands)),
                    _ => Err(LinkError::NotStatus),
                },
                None => Err(LinkError::Closed),
            }
        };
        timeout(patience, opening).await.unwrap_or(Err(LinkError::NoStatus(patience)))
    }

    /// Asks for the network's forks. Without them `chain` alone judges fork ids, from the status that it is given.
    async fn learn_rules(&self, hub: &Hub, status: &LinkStatus) {
        if self.rules().is_some_and(|rules| rules.genesis() == status.genesis) {
            return;
        }
        *self.rules.lock() = None;
        let asked = timeout(hub.settings.limits.link_status, self.chain.chain_spec()).await;
        let Ok(Ok(network)) = asked else { return };
        if network.genesis != status.genesis {
            return tracing::warn!(
                "chain says two genesis blocks: {} and {}",
                network.genesis,
                status.genesis
            );
        }
        match ChainSpec::from_json(&network.genesis_json) {
            Ok(spec) => *self.rules.lock() = Some(Arc::new(ForkRules::new(&spec, network.genesis))),
            Err(error) => tracing::warn!(%error, "the network's configuration cannot be read"),
        }
    }

    fn obey(&self, hub: &Hub, command: Traced<LinkCommand>) {
        match command.value {
            LinkCommand::Status(status) => {
                self.status.send_replace(Some(status));
                hub.adopt(status.identity);
            }
            LinkCommand::Send(send) => {
                if command.trace.0.is_empty() {
                    return deliver(hub, &send);
                }
                let span = tracing::info_span!(
                    "message to peers",
                    otel.kind = "producer",
                    quintet.protocol = %send.protocol,
                    quintet.message = crate::metrics::message_name(send.protocol, send.code.into()),
                    quintet.peers = send.peers.len().cast_signed(),
                    size = send.payload.len().cast_signed(),
                );
                propagation::set_parent(&span, &command.trace);
                span.in_scope(|| deliver(hub, &send));
            }
            LinkCommand::Penalise { peer, weight, reason } => hub.report(&peer, weight, &reason),
            LinkCommand::Disconnect { peer, reason } => {
                let reason = u8::try_from(reason).unwrap_or(DisconnectReason::Requested.code());
                if let Some(peer) = hub.peer(&peer) {
                    peer.disconnect(DisconnectReason::from_code(reason));
                }
            }
        }
    }
}

/// Sends a message to each of its peers that is still there.
fn deliver(hub: &Hub, send: &SendMessage) {
    for id in &send.peers {
        let Some(peer) = hub.peer(id) else { continue };
        match peer.send(send.protocol, send.code, send.payload.clone()) {
            Pushed::Queued | Pushed::Closed => {}
            Pushed::Dropped => metrics::dropped("out", "slow_peer"),
            Pushed::Overflow => {
                metrics::dropped("out", "overflow");
                hub.flooded(&peer);
            }
        }
    }
}
