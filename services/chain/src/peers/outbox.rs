//! The commands that wait for one link: bounded by number and by bytes.
//!
//! What must hold: gossip is dropped when the link is slow, since it is a hint; answers and requests wait, so a peer's own
//! requests are slowed down with it; and the few words that steer (status, penalty, disconnect) have room of their own.

use parking_lot::Mutex;
use quintet_chain_api::{LinkCommand, Traced};
use std::collections::VecDeque;
use tokio::sync::Notify;

/// Commands that may wait.
const MAX_COMMANDS: usize = 4096;
/// Bytes of payloads that may wait before gossip is dropped.
const GOSSIP_BYTES: usize = 16 << 20;
/// Bytes of payloads that may wait before answers and requests do.
const MAX_BYTES: usize = 32 << 20;
/// Steering commands beyond the others.
const MAX_STEERING: usize = 4096;

/// A link's outgoing commands.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    drained: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    commands: VecDeque<Traced<LinkCommand>>,
    bytes: usize,
    closed: bool,
}

/// The link is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Outbox {
    /// Adds gossip, unless the link is behind; says whether it did.
    pub(crate) fn gossip(&self, command: Traced<LinkCommand>) -> bool {
        self.add(command, MAX_COMMANDS, GOSSIP_BYTES).is_ok()
    }

    /// Adds an answer or a request once there is room. The caller has the deadline.
    pub(crate) async fn push(&self, mut command: Traced<LinkCommand>) -> Result<(), Closed> {
        loop {
            let room = self.drained.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            command = match self.add(command, MAX_COMMANDS, MAX_BYTES) {
                Ok(()) => return Ok(()),
                Err(None) => return Err(Closed),
                Err(Some(command)) => *command,
            };
            room.await;
        }
    }

    /// Adds a word that steers. A status takes the place of the one that waits.
    pub(crate) fn steer(&self, command: Traced<LinkCommand>) -> bool {
        if matches!(command.value, LinkCommand::Status(_)) {
            let mut queue = self.queue.lock();
            let mut waiting = queue.commands.iter_mut();
            if let Some(old) = waiting.find(|old| matches!(old.value, LinkCommand::Status(_))) {
                *old = command;
                return true;
            }
        }
        self.add(command, MAX_COMMANDS + MAX_STEERING, usize::MAX).is_ok()
    }

    /// The command back when there is no room, nothing when the link is closed.
    fn add(
        &self,
        command: Traced<LinkCommand>,
        most: usize,
        most_bytes: usize,
    ) -> Result<(), Option<Box<Traced<LinkCommand>>>> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(None);
        }
        // One that is larger than all the room there is goes alone.
        let size = weight(&command.value);
        if queue.commands.len() >= most || (queue.bytes > 0 && queue.bytes.saturating_add(size) > most_bytes)
        {
            return Err(Some(Box::new(command)));
        }
        queue.bytes = queue.bytes.saturating_add(size);
        queue.commands.push_back(command);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// The next command; `None` once the link is closed. For one reader.
    pub(crate) async fn next(&self) -> Option<Traced<LinkCommand>> {
        loop {
            {
                let mut queue = self.queue.lock();
                if let Some(command) = queue.commands.pop_front() {
                    queue.bytes = queue.bytes.saturating_sub(weight(&command.value));
                    drop(queue);
                    self.drained.notify_waiters();
                    return Some(command);
                }
                if queue.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Ends the link: nothing is added any more, and what waits is dropped.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.commands.clear();
        queue.bytes = 0;
        drop(queue);
        self.filled.notify_one();
        self.drained.notify_waiters();
    }
}

fn weight(command: &LinkCommand) -> usize {
    match command {
        LinkCommand::Send(send) => send.payload.len().saturating_add(send.peers.len().saturating_mul(32)),
        LinkCommand::Status(_) | LinkCommand::Penalise { .. } | LinkCommand::Disconnect { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{GOSSIP_BYTES, MAX_COMMANDS, Outbox};
    use alloy_primitives::B256;
    use quintet_chain_api::{LinkCommand, SendMessage, Traced, WireProtocol};
    use std::sync::Arc;
    use std::time::Duration;

    fn message(bytes: usize) -> Traced<LinkCommand> {
        let (peers, payload) = (vec![B256::ZERO], vec![0; bytes].into());
        let protocol = WireProtocol::Eth(68);
        Traced::untraced(LinkCommand::Send(SendMessage { peers, protocol, code: 1, payload }))
    }

    fn penalty() -> Traced<LinkCommand> {
        Traced::untraced(LinkCommand::Penalise { peer: B256::ZERO, weight: 1, reason: "test".to_owned() })
    }

    #[tokio::test]
    async fn gossip_is_dropped_and_steering_is_not() {
        let outbox = Outbox::default();
        let added = (0..2 * MAX_COMMANDS).filter(|_| outbox.gossip(message(1))).count();
        assert_eq!(added, MAX_COMMANDS);
        assert!(outbox.steer(penalty()));
        let steered = (0..100_000).filter(|_| outbox.steer(penalty())).count();
        assert!(steered < 10_000, "{steered}");
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_who_waits_goes_on() {
        let outbox = Arc::new(Outbox::default());
        assert!(outbox.gossip(message(2 * GOSSIP_BYTES)), "one alone");
        assert!(!outbox.gossip(message(1)));
        let waits = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move { outbox.push(message(GOSSIP_BYTES)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        outbox.next().await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), waits).await.unwrap().unwrap().unwrap();
        outbox.close();
        assert_eq!(outbox.next().await, None);
        assert!(outbox.push(message(1)).await.is_err() && !outbox.gossip(message(1)));
    }
}
