//! What happens to peers, for those who listen (`admin_peerEvents`).
//!
//! What must hold: nobody waits for a listener; one that is too slow misses events. Without listeners an event costs next to
//! nothing.

use alloy_primitives::B256;
use quintet_chain_api::WireProtocol;
use quintet_p2p_api::{Message, PeerEvent, PeerEventKind};
use quintet_rlpx::DisconnectReason;
use tokio::sync::broadcast;

/// Events that a listener may be behind.
const BACKLOG: usize = 1024;

/// Where events go.
#[derive(Debug)]
pub(crate) struct Events(broadcast::Sender<PeerEvent>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Events {
    /// Listens from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<PeerEvent> {
        self.0.subscribe()
    }

    /// A peer connected.
    pub(crate) fn added(&self, peer: B256) {
        self.send(PeerEvent { peer, kind: PeerEventKind::Added });
    }

    /// A peer disconnected.
    pub(crate) fn dropped(&self, peer: B256, reason: DisconnectReason) {
        self.send(PeerEvent { peer, kind: PeerEventKind::Dropped(reason.code().into()) });
    }

    /// A message was sent or came.
    pub(crate) fn message(&self, peer: B256, protocol: WireProtocol, code: u64, size: usize, sent: bool) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let message = Message { capability: protocol.to_string(), code, size: size as u64 };
        let kind = if sent { PeerEventKind::Sent(message) } else { PeerEventKind::Received(message) };
        self.send(PeerEvent { peer, kind });
    }

    fn send(&self, event: PeerEvent) {
        // It fails only where nobody listens.
        let _ = self.0.send(event);
    }
}
