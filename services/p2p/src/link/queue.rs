//! What waits to be told to `chain`, and what `chain` must know when it is back: a synchronous struct.
//!
//! What must hold: what waits is bounded, for each peer and for all; a peer's messages come after its `Up` and before its
//! `Down`, on every link; a new link first hears of every peer that is connected. While `chain` is away, what would
//! only have a meaning to the one that went, answers to its requests, is not kept.

use alloy_primitives::B256;
use quintet_chain_api::{LinkFrame, PeerMessage, PeerUp, Traced, WireProtocol};
use quintet_eth_wire::{EthMessageId, EthVersion};
use std::collections::{HashMap, VecDeque};

/// What a message takes beside its payload.
const OVERHEAD: usize = 256;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It waits for `chain`.
    Taken,
    /// There is no room now; `chain` is there and makes some.
    Full(Traced<PeerMessage>),
    /// It is gone: `chain` is away, and there is no room or no use.
    Dropped,
}

/// The next frame of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    /// A frame.
    Frame(Traced<LinkFrame>),
    /// Nothing yet.
    Empty,
    /// Another link has taken over.
    Ended,
}

#[derive(Debug)]
struct UpPeer {
    frame: PeerUp,
    /// Bytes of its messages in the queue.
    bytes: usize,
}

/// The queue towards `chain`.
#[derive(Debug)]
pub(crate) struct LinkQueue {
    peer_limit: usize,
    limit: usize,
    generation: u64,
    connected: bool,
    up: HashMap<B256, UpPeer>,
    queue: VecDeque<Traced<LinkFrame>>,
    bytes: usize,
}

impl LinkQueue {
    /// A queue of at most `limit` bytes of messages, and `peer_limit` of any one peer.
    pub(crate) fn new(peer_limit: usize, limit: usize) -> Self {
        let (up, queue) = (HashMap::new(), VecDeque::new());
        Self { peer_limit, limit, generation: 0, connected: false, up, queue, bytes: 0 }
    }

    /// Begins a link: frames are for it alone from now on, and come once [`Self::connect`] is called.
    pub(crate) fn begin(&mut self) -> u64 {
        self.disconnect();
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// `chain` is there: it hears of every peer first.
    pub(crate) fn connect(&mut self) {
        self.connected = true;
        for peer in self.up.values() {
            self.queue.push_front(Traced::untraced(LinkFrame::Up(peer.frame.clone())));
        }
    }

    /// `chain` is away. Of what waits, only what it can use when it is back is kept.
    pub(crate) fn disconnect(&mut self) {
        self.connected = false;
        self.retain(|frame| matches!(frame, LinkFrame::Message(message) if !is_answer(message)));
    }

    /// A peer is past its handshakes.
    pub(crate) fn up(&mut self, frame: PeerUp) {
        if self.connected {
            self.queue.push_back(Traced::untraced(LinkFrame::Up(frame.clone())));
        }
        self.up.insert(frame.peer, UpPeer { frame, bytes: 0 });
    }

    /// A peer is gone, and with it what waits of it.
    pub(crate) fn down(&mut self, peer: B256, reason: u32) {
        if self.up.remove(&peer).is_none() {
            return;
        }
        let mut unheard = false;
        self.retain(|frame| match frame {
            LinkFrame::Up(up) if up.peer == peer => {
                unheard = true;
                false
            }
            LinkFrame::Message(message) => message.peer != peer,
            _ => true,
        });
        // Of whom `chain` has not heard, it need not hear that it is gone.
        if self.connected && !unheard {
            self.queue.push_back(Traced::untraced(LinkFrame::Down { peer, reason }));
        }
    }

    /// Adds a message of a peer that is up.
    pub(crate) fn offer(&mut self, message: Traced<PeerMessage>) -> Offered {
        let Some(peer) = self.up.get_mut(&message.value.peer) else { return Offered::Dropped };
        if !self.connected && is_answer(&message.value) {
            return Offered::Dropped;
        }
        let size = message.value.payload.len().saturating_add(OVERHEAD);
        let (of_peer, of_all) = (peer.bytes.saturating_add(size), self.bytes.saturating_add(size));
        // One message of a peer may be larger than its share.
        let has_room = of_all <= self.limit && (of_peer <= self.peer_limit || peer.bytes == 0);
        if !has_room && self.connected {
            return Offered::Full(message);
        }
        if !has_room {
            return Offered::Dropped;
        }
        (peer.bytes, self.bytes) = (of_peer, of_all);
        self.queue.push_back(Traced { trace: message.trace, value: LinkFrame::Message(message.value) });
        Offered::Taken
    }

    /// Takes the next frame for the link that [`Self::begin`] gave this number.
    pub(crate) fn pop(&mut self, generation: u64) -> Popped {
        if generation != self.generation {
            return Popped::Ended;
        }
        if !self.connected {
            return Popped::Empty;
        }
        let Some(frame) = self.queue.pop_front() else {
            // A burst must not be remembered in memory.
            self.queue.shrink_to(64);
            return Popped::Empty;
        };
        self.release(&frame.value);
        Popped::Frame(frame)
    }

    /// Bytes that wait.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn release(&mut self, frame: &LinkFrame) {
        let LinkFrame::Message(message) = frame else { return };
        let size = message.payload.len().saturating_add(OVERHEAD);
        self.bytes = self.bytes.saturating_sub(size);
        if let Some(peer) = self.up.get_mut(&message.peer) {
            peer.bytes = peer.bytes.saturating_sub(size);
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&LinkFrame) -> bool) {
        for frame in std::mem::take(&mut self.queue) {
            if keep(&frame.value) {
                self.queue.push_back(frame);
            } else {
                self.release(&frame.value);
            }
        }
    }
}

/// Whether a message answers a request.
fn is_answer(message: &PeerMessage) -> bool {
    match message.protocol {
        WireProtocol::Eth(version) => EthVersion::from_number(version.into())
            .and_then(|version| EthMessageId::from_code(version, message.code.into()))
            .is_some_and(EthMessageId::is_answer),
        // Each of its requests has the answer behind it.
        WireProtocol::Snap(_) => message.code % 2 == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{LinkQueue, OVERHEAD, Offered, Popped};
    use alloy_primitives::B256;
    use quintet_chain_api::{LinkFrame, PeerMessage, PeerUp, Traced, WireProtocol};

    const ONE: B256 = B256::repeat_byte(1);
    const TWO: B256 = B256::repeat_byte(2);
    const SIZE: usize = 1000;
    const GET_HEADERS: u32 = 3;
    const HEADERS: u32 = 4;

    fn up(peer: B256) -> PeerUp {
        let protocols = vec![WireProtocol::Eth(68)];
        let (name, status) = (String::new(), vec![0xc0].into());
        PeerUp { peer, protocols, name, status, inbound: true, trusted: false }
    }

    fn message(peer: B256, code: u32) -> Traced<PeerMessage> {
        let payload = vec![0; SIZE - OVERHEAD].into();
        Traced::untraced(PeerMessage { peer, protocol: WireProtocol::Eth(68), code, payload })
    }

    /// Frames in order, by their peer's first byte and kind.
    fn drain(queue: &mut LinkQueue, generation: u64) -> Vec<(u8, &'static str)> {
        let mut frames = Vec::new();
        while let Popped::Frame(frame) = queue.pop(generation) {
            frames.push(match frame.value {
                LinkFrame::Hello(_) => (0, "hello"),
                LinkFrame::Up(up) => (up.peer[0], "up"),
                LinkFrame::Message(message) if message.code == HEADERS => (message.peer[0], "answer"),
                LinkFrame::Message(message) => (message.peer[0], "request"),
                LinkFrame::Down { peer, .. } => (peer[0], "down"),
            });
        }
        frames
    }

    #[test]
    fn every_link_hears_of_every_peer_before_its_messages() {
        let mut queue = LinkQueue::new(10 * SIZE, 100 * SIZE);
        let first = queue.begin();
        queue.up(up(ONE));
        assert_eq!(queue.offer(message(ONE, GET_HEADERS)), Offered::Taken);
        assert_eq!(queue.offer(message(TWO, GET_HEADERS)), Offered::Dropped, "not up");
        assert_eq!(queue.pop(first), Popped::Empty, "the status has not come");
        queue.connect();
        queue.up(up(TWO));
        queue.offer(message(TWO, HEADERS));
        assert_eq!(drain(&mut queue, first), [(1, "up"), (1, "request"), (2, "up"), (2, "answer")]);

        // It is away with frames in the queue: answers and what was said of peers are gone.
        for code in [GET_HEADERS, HEADERS] {
            queue.offer(message(ONE, code));
        }
        queue.down(TWO, 8);
        let second = queue.begin();
        assert_eq!(queue.pop(first), Popped::Ended);
        assert_eq!(queue.offer(message(ONE, HEADERS)), Offered::Dropped);
        queue.up(up(TWO));
        queue.offer(message(TWO, GET_HEADERS));
        queue.connect();
        let mut frames = drain(&mut queue, second);
        frames[..2].sort_unstable();
        assert_eq!(frames, [(1, "up"), (2, "up"), (1, "request"), (2, "request")]);
        assert_eq!((queue.bytes(), queue.up[&ONE].bytes), (0, 0));
    }

    #[test]
    fn a_peer_takes_no_more_than_its_share() {
        let mut queue = LinkQueue::new(2 * SIZE, 3 * SIZE);
        let link = queue.begin();
        queue.connect();
        queue.up(up(ONE));
        queue.up(up(TWO));
        for _ in 0..2 {
            assert_eq!(queue.offer(message(ONE, GET_HEADERS)), Offered::Taken);
        }
        assert!(matches!(queue.offer(message(ONE, GET_HEADERS)), Offered::Full(_)));
        assert_eq!(queue.offer(message(TWO, GET_HEADERS)), Offered::Taken);
        assert!(matches!(queue.offer(message(TWO, GET_HEADERS)), Offered::Full(_)), "all is full");
        // Whoever is away makes no room.
        queue.disconnect();
        assert_eq!(queue.offer(message(TWO, GET_HEADERS)), Offered::Dropped);
        queue.connect();
        assert_eq!(drain(&mut queue, link).len(), 5);
        assert_eq!(queue.offer(message(TWO, GET_HEADERS)), Offered::Taken);
        assert_eq!(queue.bytes(), SIZE);
    }

    #[test]
    fn a_message_beyond_the_share_goes_alone() {
        let mut queue = LinkQueue::new(SIZE / 2, 10 * SIZE);
        queue.begin();
        queue.connect();
        queue.up(up(ONE));
        assert_eq!(queue.offer(message(ONE, GET_HEADERS)), Offered::Taken);
        assert!(matches!(queue.offer(message(ONE, GET_HEADERS)), Offered::Full(_)));
    }

    #[test]
    fn who_comes_and_goes_unheard_leaves_nothing() {
        let mut queue = LinkQueue::new(SIZE, SIZE);
        let link = queue.begin();
        queue.connect();
        for _ in 0..1000 {
            queue.up(up(ONE));
            queue.offer(message(ONE, GET_HEADERS));
            queue.down(ONE, 1);
            queue.down(ONE, 1);
        }
        assert_eq!((queue.queue.len(), queue.bytes()), (0, 0));
        queue.up(up(ONE));
        assert_eq!(drain(&mut queue, link), [(1, "up")]);
        queue.down(ONE, 1);
        assert_eq!(drain(&mut queue, link), [(1, "down")]);
    }
}
