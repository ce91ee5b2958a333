//! The queues between the stages of an import: bounded by weight, ended by either side.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

/// A queue that one thread fills and another empties.
///
/// Closed by the one that fills it, it gives out what it holds and then ends. Abandoned by the one that
/// empties it, it takes nothing more, so that a thread that waits for room ends too.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    limit: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    weight: usize,
    closed: bool,
}

/// The other side is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl<T> Queue<T> {
    /// A queue that holds items up to this weight, and always one.
    pub(super) fn new(limit: usize) -> Self {
        let state = State { items: VecDeque::new(), weight: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), limit }
    }

    /// Adds an item once there is room.
    pub(super) fn push(&self, item: T, weight: usize) -> Result<(), Closed> {
        let weight = weight.max(1);
        let mut state = self.state.lock();
        while !state.closed && !state.items.is_empty() && state.weight.saturating_add(weight) > self.limit {
            self.changed.wait(&mut state);
        }
        if state.closed {
            return Err(Closed);
        }
        state.items.push_back((item, weight));
        state.weight = state.weight.saturating_add(weight);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// The next item once there is one; `None` at the end.
    pub(super) fn pop(&self) -> Option<T> {
        self.pop_up_to(0).into_iter().next()
    }

    /// The next items, at least one and others up to this weight in all; none at the end.
    pub(super) fn pop_up_to(&self, limit: usize) -> Vec<T> {
        let mut state = self.state.lock();
        while state.items.is_empty() && !state.closed {
            self.changed.wait(&mut state);
        }
        let (mut taken, mut sum) = (Vec::new(), 0_usize);
        while let Some((_, weight)) = state.items.front()
            && (taken.is_empty() || sum.saturating_add(*weight) <= limit)
        {
            let Some((item, weight)) = state.items.pop_front() else { break };
            sum = sum.saturating_add(weight);
            state.weight = state.weight.saturating_sub(weight);
            taken.push(item);
        }
        drop(state);
        self.changed.notify_all();
        taken
    }

    /// Nothing more will be added.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Nothing more will be taken: what is held is dropped.
    pub(super) fn abandon(&self) {
        let items = {
            let mut state = self.state.lock();
            state.closed = true;
            state.weight = 0;
            std::mem::take(&mut state.items)
        };
        self.changed.notify_all();
        drop(items);
    }
}

/// Ends a stage's queues when the stage ends, however it does.
pub(super) struct Ends<'a, I, O> {
    pub(super) input: Option<&'a Queue<I>>,
    pub(super) output: Option<&'a Queue<O>>,
}

impl<I, O> Drop for Ends<'_, I, O> {
    fn drop(&mut self) {
        if let Some(input) = self.input {
            input.abandon();
        }
        if let Some(output) = self.output {
            output.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_was_pushed_comes_out_in_order_and_then_the_end() {
        let queue = Queue::new(10);
        thread::scope(|scope| {
            scope.spawn(|| {
                for item in 0..100 {
                    queue.push(item, 3).unwrap();
                }
                queue.close();
            });
            let mut all = Vec::new();
            while let Some(item) = queue.pop() {
                all.push(item);
            }
            assert_eq!(all, (0..100).collect::<Vec<_>>());
        });
    }

    #[test]
    fn one_item_of_any_weight_fits_and_several_come_at_once() {
        let queue = Queue::new(10);
        queue.push('a', 1000).unwrap();
        assert_eq!(queue.pop(), Some('a'));
        for item in ['a', 'b', 'c'] {
            queue.push(item, 3).unwrap();
        }
        assert_eq!(queue.pop_up_to(6), ['a', 'b']);
        queue.close();
        assert_eq!(queue.pop_up_to(6), ['c']);
        assert!(queue.pop_up_to(6).is_empty());
        assert_eq!(queue.push('d', 1), Err(Closed));
    }

    #[test]
    fn an_abandoned_queue_frees_who_waits_for_room() {
        let queue = Queue::new(1);
        queue.push(1, 1).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.push(2, 1));
            queue.abandon();
            assert_eq!(waiting.join().unwrap(), Err(Closed));
        });
        assert_eq!(queue.pop(), None);
    }
}
