//! What waits to be added to the streams, and what of it was dropped. No IO.
//!
//! What must hold: chain events leave in the order they came; when one was dropped, nothing behind it leaves before an
//! entry that names the head, at which every reader sees that it missed something.

use super::{CHAIN_QUEUE, POOL_WAITING, QUEUE_BYTES};
use crate::{Event, HISTORY};
use alloy_consensus::{ReceiptEnvelope, Transaction as _};
use alloy_primitives::B256;
use alloy_rlp::Encodable as _;
use quintet_types::{BlockRef, ChainEvent, PoolEvent, PoolTransaction};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many chain events are sent at once.
const CHAIN_BATCH: usize = 64;
/// How many pool events are sent at once.
const POOL_BATCH: usize = 256;
/// Estimated bytes that are sent at once, unless one event alone has more.
const BATCH_BYTES: usize = 8 << 20;

/// Something to be added to a stream.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A chain event, and the heads between which it leads.
    Chain {
        /// The event.
        event: ChainEvent,
        /// The head before it.
        from: Option<BlockRef>,
        /// The head behind it, if known.
        to: Option<BlockRef>,
    },
    /// Where the head is.
    Head(Option<BlockRef>),
    /// A pending transaction and its number.
    Pool(Arc<PoolTransaction>, u64),
}

/// Why an event was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Redis is away: why.
    Away(Arc<str>),
    /// Too much waits already.
    Full,
}

/// How many events were dropped since the last time somebody asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) chain: u64,
    pub(super) pool: u64,
}

/// The queue between who publishes and the task that writes to Redis.
#[derive(Debug)]
pub(super) struct Queue {
    chain: VecDeque<(Item, usize)>,
    chain_bytes: usize,
    pool: VecDeque<(Item, usize)>,
    pool_bytes: usize,
    lineage: Lineage,
    /// Chain events were dropped that no head entry stands for yet.
    missed: bool,
    /// Why Redis is away; nothing is taken then.
    away: Option<Arc<str>>,
    sequence: u64,
    dropped: Dropped,
}

impl Queue {
    /// An empty queue, whose pool events are numbered from `sequence` on.
    pub(super) fn new(sequence: u64) -> Self {
        Self {
            chain: VecDeque::new(),
            chain_bytes: 0,
            pool: VecDeque::new(),
            pool_bytes: 0,
            lineage: Lineage::default(),
            missed: false,
            away: None,
            sequence,
            dropped: Dropped::default(),
        }
    }

    /// Takes an event, of which `bytes` is the [`weight`].
    pub(super) fn push(&mut self, event: Event, bytes: usize) -> Result<(), Refused> {
        match event {
            Event::Chain(event) => self.push_chain(event, bytes),
            Event::Pool(PoolEvent::Pending(transaction)) => self.push_pool(transaction, bytes),
        }
    }

    fn push_chain(&mut self, event: ChainEvent, bytes: usize) -> Result<(), Refused> {
        let before = self.lineage.head;
        let (from, to) = self.lineage.apply(&event);
        let full = self.chain.len() >= CHAIN_QUEUE || self.chain_bytes.saturating_add(bytes) > QUEUE_BYTES;
        let refused = match &self.away {
            Some(reason) => Some(Refused::Away(Arc::clone(reason))),
            None => (full && !self.chain.is_empty()).then_some(Refused::Full),
        };
        if let Some(refused) = refused {
            self.missed = true;
            self.dropped.chain += 1;
            return Err(refused);
        }
        if std::mem::take(&mut self.missed) {
            self.chain.push_back((Item::Head(before), 0));
        }
        self.chain.push_back((Item::Chain { event, from, to }, bytes));
        self.chain_bytes += bytes;
        Ok(())
    }

    /// Pool events are hints: when too many wait, the oldest are dropped.
    fn push_pool(&mut self, transaction: Arc<PoolTransaction>, bytes: usize) -> Result<(), Refused> {
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(reason) = &self.away {
            self.dropped.pool += 1;
            return Err(Refused::Away(Arc::clone(reason)));
        }
        self.pool.push_back((Item::Pool(transaction, sequence), bytes));
        self.pool_bytes += bytes;
        while self.pool.len() > POOL_WAITING || (self.pool_bytes > QUEUE_BYTES && self.pool.len() > 1) {
            self.pool_bytes -= self.pool.pop_front().map_or(0, |(_, bytes)| bytes);
            self.dropped.pool += 1;
        }
        Ok(())
    }

    /// Sets the head, and has it told.
    pub(super) fn announce(&mut self, head: BlockRef) {
        self.lineage.head = Some(head);
        if self.away.is_none() && self.chain.len() < CHAIN_QUEUE {
            self.missed = false;
            self.chain.push_back((Item::Head(Some(head)), 0));
        } else {
            self.missed = true;
        }
    }

    /// Has the head told, if there is one: what was in the stream before is gone.
    pub(super) fn emptied(&mut self) {
        if let Some(head) = self.lineage.head {
            self.announce(head);
        }
    }

    /// What is to be sent now: chain events, then only pool events.
    pub(super) fn take(&mut self) -> Vec<Item> {
        let (queue, total, most) = if self.chain.is_empty() && !self.missed {
            (&mut self.pool, &mut self.pool_bytes, POOL_BATCH)
        } else {
            (&mut self.chain, &mut self.chain_bytes, CHAIN_BATCH)
        };
        let mut items = Vec::new();
        let mut taken = 0_usize;
        while let Some((_, bytes)) = queue.front() {
            let fits = taken.saturating_add(*bytes) <= BATCH_BYTES || items.is_empty();
            if items.len() >= most || !fits {
                return items;
            }
            if let Some((item, bytes)) = queue.pop_front() {
                taken = taken.saturating_add(bytes);
                *total -= bytes;
                items.push(item);
            }
        }
        // Everything that came before the dropped events has left.
        if self.away.is_none() && std::mem::take(&mut self.missed) {
            items.push(Item::Head(self.lineage.head));
        }
        items
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.chain.is_empty() && self.pool.is_empty() && !self.missed
    }

    /// Redis is away: `items`, which may not have got there, and all that waits are dropped.
    pub(super) fn fail(&mut self, items: &[Item], reason: Arc<str>) {
        self.away = Some(reason);
        let waiting = self.chain.drain(..).chain(self.pool.drain(..)).map(|(item, _)| item);
        for item in waiting.chain(items.iter().cloned()) {
            match item {
                Item::Chain { .. } => {
                    self.missed = true;
                    self.dropped.chain += 1;
                }
                Item::Head(_) => self.missed = true,
                Item::Pool(..) => self.dropped.pool += 1,
            }
        }
        self.chain_bytes = 0;
        self.pool_bytes = 0;
    }

    /// Redis is back.
    pub(super) fn back(&mut self) {
        self.away = None;
    }

    /// What was dropped since the last call.
    pub(super) fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }
}

/// About how many bytes an event has once encoded: cheap, and for bounds only.
pub(super) fn weight(event: &Event) -> usize {
    match event {
        Event::Chain(ChainEvent::Block(delta)) => {
            let executed = &delta.executed;
            let logs = executed.receipts.iter().flat_map(ReceiptEnvelope::logs);
            let logs: usize = logs.map(|log| 160 + log.data.data.len()).sum();
            let changes: usize =
                executed.diff.accounts.values().map(|change| 200 + 64 * change.storage.len()).sum();
            let code: usize = executed.diff.code.values().map(|code| 40 + code.len()).sum();
            executed.block.block.length() + 300 * executed.receipts.len() + logs + changes + code
        }
        Event::Chain(ChainEvent::Reverted(blocks)) => 48 * blocks.len(),
        Event::Pool(PoolEvent::Pending(transaction)) => {
            let sidecar = transaction.transaction.blob_versioned_hashes().map_or(0, <[B256]>::len);
            // A blob and its commitment and proofs.
            300 + transaction.transaction.input().len() + sidecar * (1 << 17)
        }
    }
}

/// The newest blocks, to tell where a revert leads.
#[derive(Debug, Default)]
struct Lineage {
    head: Option<BlockRef>,
    // Oldest first, each with its parent's hash.
    blocks: VecDeque<(BlockRef, B256)>,
}

impl Lineage {
    /// Goes on to the head behind `event`; returns the heads before and behind.
    fn apply(&mut self, event: &ChainEvent) -> (Option<BlockRef>, Option<BlockRef>) {
        let (from, to) = match event {
            ChainEvent::Block(delta) => {
                let block = delta.block_ref();
                let parent = delta.executed.block.header().parent_hash;
                self.blocks.push_back((block, parent));
                if self.blocks.len() > 2 * HISTORY {
                    self.blocks.pop_front();
                }
                (parent_of(block, parent), Some(block))
            }
            ChainEvent::Reverted(blocks) => {
                let oldest = blocks
                    .last()
                    .and_then(|oldest| self.blocks.iter().rev().find(|(block, _)| block == oldest).copied());
                let to = oldest.and_then(|(block, parent)| parent_of(block, parent));
                (blocks.first().copied(), to)
            }
        };
        self.head = to;
        (from, to)
    }
}

fn parent_of(block: BlockRef, parent: B256) -> Option<BlockRef> {
    Some(BlockRef { number: block.number.checked_sub(1)?, hash: parent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u64) -> BlockRef {
        BlockRef { number, hash: B256::with_last_byte(1) }
    }

    fn push(queue: &mut Queue, number: u64, bytes: usize) -> Result<(), Refused> {
        queue.push(ChainEvent::Reverted([block(number)].into()).into(), bytes)
    }

    /// What leaves: the number of a revert, or 0 for a head.
    fn drain(queue: &mut Queue) -> Vec<u64> {
        let mut all = Vec::new();
        while !queue.is_empty() {
            let items = queue.take();
            assert!(!items.is_empty() && items.len() <= CHAIN_BATCH + 1);
            all.extend(items.iter().map(|item| match item {
                Item::Chain { from, .. } => from.map_or(0, |from| from.number),
                Item::Head(_) => 0,
                Item::Pool(..) => panic!("no transaction was pushed"),
            }));
        }
        assert_eq!((queue.chain_bytes, queue.pool_bytes), (0, 0));
        all
    }

    #[test]
    fn a_full_queue_is_followed_by_the_head() {
        let mut queue = Queue::new(0);
        let most = CHAIN_QUEUE as u64;
        assert!((1..=most).all(|number| push(&mut queue, number, 1).is_ok()));
        assert_eq!(push(&mut queue, most + 1, 1), Err(Refused::Full));
        let mut expected: Vec<_> = (1..=most).chain([0]).collect();
        // With room again before all has left, the head comes before the next event.
        assert_eq!(queue.take().len(), CHAIN_BATCH);
        assert!(push(&mut queue, most + 2, 1).is_ok());
        expected.push(most + 2);
        assert_eq!(drain(&mut queue), expected[CHAIN_BATCH..]);
        assert_eq!(queue.take_dropped(), Dropped { chain: 1, pool: 0 });
        // With nothing behind, it comes all the same.
        assert!(push(&mut queue, 1, QUEUE_BYTES).is_ok());
        assert_eq!(push(&mut queue, 2, 1), Err(Refused::Full));
        assert_eq!(drain(&mut queue), [1, 0]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_waits_when_redis_goes_away_is_dropped() {
        let mut queue = Queue::new(0);
        queue.announce(block(5));
        push(&mut queue, 5, 1).unwrap();
        let items = queue.take();
        push(&mut queue, 4, 1).unwrap();
        queue.fail(&items, "gone".into());
        assert_eq!(push(&mut queue, 3, 1), Err(Refused::Away("gone".into())));
        queue.announce(block(7));
        assert_eq!(queue.take_dropped(), Dropped { chain: 3, pool: 0 });
        queue.back();
        assert!(matches!(queue.take().as_slice(), [Item::Head(Some(head))] if *head == block(7)));
        push(&mut queue, 7, 1).unwrap();
        assert_eq!(drain(&mut queue), [7]);
        // Nothing is said when nothing was lost.
        queue.fail(&[], "gone".into());
        queue.back();
        assert!(queue.is_empty());
    }
}
