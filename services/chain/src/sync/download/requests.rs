//! What a download asks of whom.

use super::{Answer, Done, Download, Goal};
use crate::history::RootedReceipts;
use crate::sync::SyncError;
use crate::sync::ancestor::SealedHeader;
use crate::sync::context::{limited, sealed};
use crate::sync::headers::Ask;
use crate::sync::network::{Kind, PeerId, RequestError, Start};
use crate::sync::parts::{Part, with_roots};
use futures::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Bodies of one request (geth's `MaxBlockFetch`).
const MAX_BODIES: usize = 128;
/// Blocks whose receipts one request is for (geth's `MaxReceiptFetch`).
const MAX_RECEIPTS: usize = 256;
/// What a request is sized to take.
const TARGET_ROUND_TRIP: Duration = Duration::from_secs(2);

impl Download<'_> {
    /// Asks whoever is free for what is wanted.
    pub(super) fn send_requests(&mut self) -> Result<(), SyncError> {
        let network = Arc::clone(&self.context.network);
        let mut peers: Vec<PeerId> = network.peers().iter().map(|peer| peer.id).collect();
        if !peers.contains(&self.master.id) {
            return Err(SyncError::Gone(self.master.id));
        }
        let room = self.header_bytes() < self.context.options.header_bytes;
        if room && let Some(ask) = self.headers.ask_master() {
            self.ask_for_headers(self.master.id, ask);
        }
        // Who was silent is asked once the others have no more to give.
        peers.sort_by_cached_key(|peer| {
            let capacity = network.capacity(*peer, Kind::Bodies, TARGET_ROUND_TRIP);
            (self.slots.strikes(*peer), std::cmp::Reverse(capacity))
        });
        let (now, mut busy) = (Instant::now(), false);
        for peer in peers {
            let silent = self.slots.strikes(peer) > 0;
            if self.slots.is_excluded(peer) || (silent && busy) {
                continue;
            }
            while self.slots.free(peer, Kind::Headers, now) > 0
                && let Some(ask) = self.headers.ask_fill(peer, !room)
            {
                self.slots.ask(peer, Kind::Headers);
                self.ask_for_headers(peer, ask);
            }
            while self.slots.free(peer, Kind::Bodies, now) > 0 && self.ask_for_bodies(peer) {}
            while self.slots.free(peer, Kind::Receipts, now) > 0 && self.ask_for_receipts(peer) {}
            busy |= !silent && self.slots.is_busy(peer);
        }
        Ok(())
    }

    /// Bytes of headers ahead of the import.
    fn header_bytes(&self) -> usize {
        let receipts = match &self.goal {
            Goal::Head => 0,
            Goal::History { receipts, .. } => receipts.header_weight(),
        };
        self.headers.weight().saturating_add(self.bodies.header_weight()).saturating_add(receipts)
    }

    fn ask_for_headers(&self, peer: PeerId, ask: Ask) {
        let network = Arc::clone(&self.context.network);
        let (Ask::Skeleton(request) | Ask::Tail(request) | Ask::Fill(request)) = ask;
        let patience = self.patience;
        let task = async move {
            let result = limited("headers", patience, network.headers(peer, request)).await.map(sealed);
            match (ask, request.start) {
                (Ask::Fill(_), Start::Number(from)) => Done::Fill { peer, from, result },
                (Ask::Skeleton(_), _) => Done::Skeleton(result),
                _ => Done::Tail(result),
            }
        };
        self.tasks.push(task.boxed());
    }

    /// Asks a peer for the next bodies; says whether there was something to ask.
    fn ask_for_bodies(&mut self, peer: PeerId) -> bool {
        let most = self.most(peer, Kind::Bodies).min(MAX_BODIES);
        let asked = self.bodies.reserve(peer, most);
        if asked.is_empty() {
            return false;
        }
        self.slots.ask(peer, Kind::Bodies);
        let (network, patience) = (Arc::clone(&self.context.network), self.patience);
        let hashes = asked.iter().map(SealedHeader::hash).collect();
        let task = async move {
            let bodies = limited("bodies", patience, network.bodies(peer, hashes)).await;
            Done::Bodies(answered(peer, asked, bodies, |body| body).await)
        };
        self.tasks.push(task.boxed());
        true
    }

    /// The same for receipts.
    fn ask_for_receipts(&mut self, peer: PeerId) -> bool {
        let most = self.most(peer, Kind::Receipts).min(MAX_RECEIPTS);
        let Goal::History { receipts, .. } = &mut self.goal else { return false };
        let asked = receipts.reserve(peer, most);
        if asked.is_empty() {
            return false;
        }
        self.slots.ask(peer, Kind::Receipts);
        let (network, patience) = (Arc::clone(&self.context.network), self.patience);
        let hashes = asked.iter().map(SealedHeader::hash).collect();
        let task = async move {
            let receipts = limited("receipts", patience, network.receipts(peer, hashes)).await;
            Done::Receipts(answered(peer, asked, receipts, RootedReceipts::new).await)
        };
        self.tasks.push(task.boxed());
        true
    }

    /// How many parts of a kind to ask a peer for.
    fn most(&self, peer: PeerId, kind: Kind) -> usize {
        if self.slots.strikes(peer) > 0 {
            return 1;
        }
        self.context.network.capacity(peer, kind, TARGET_ROUND_TRIP).max(1)
    }
}

/// An answer with the roots of what came.
async fn answered<T: Send + 'static, P: Part>(
    peer: PeerId,
    asked: Vec<SealedHeader>,
    came: Result<Vec<T>, RequestError>,
    part: fn(T) -> P,
) -> Answer<P> {
    let result = match came {
        Ok(came) => with_roots(came, part).await,
        Err(error) => Err(error),
    };
    Answer { peer, asked, result }
}
