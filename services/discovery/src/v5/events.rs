//! Takes the events of discovery v5 right where they come about.
//!
//! The crate puts events, among them every packet that is not its own, into a queue of a hundred, and drops what does not fit
//! without a word. A task that reads that queue may get its turn too late. So its tasks are run here in a way that
//! empties the queue after each of their turns, and that gives them no turn long enough to fill it.

use discv5::{Event, Executor};
use parking_lot::Mutex;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Context;
use tokio::sync::mpsc;
use tokio::task::coop::consume_budget;

/// Of the 128 things that a task may do in one turn, those that are taken from it beforehand.
const TAKEN: usize = 64;

/// A queue of events, and what is done with them.
type Listener = (mpsc::Receiver<Event>, Box<dyn Fn(Event) + Send>);

/// Where events go. Clones are the same place.
#[derive(Clone, Default)]
pub(super) struct Events {
    listener: Arc<Mutex<Option<Listener>>>,
}

impl Events {
    /// Gives all events of this queue to `handler` from now on.
    pub(super) fn listen(&self, events: mpsc::Receiver<Event>, handler: Box<dyn Fn(Event) + Send>) {
        *self.listener.lock() = Some((events, handler));
    }

    /// Gives events to nobody any more.
    pub(super) fn close(&self) {
        let listener = self.listener.lock().take();
        // What it holds may end tasks, which may be here again.
        drop(listener);
    }

    fn take_all(&self) {
        // Whoever has it is about to take them.
        let Some(mut listener) = self.listener.try_lock() else { return };
        let Some((events, handler)) = &mut *listener else { return };
        while let Ok(event) = events.try_recv() {
            handler(event);
        }
    }
}

impl Executor for Events {
    fn spawn(&self, mut task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let events = self.clone();
        tokio::spawn(poll_fn(move |context| {
            shorten_turn(context);
            let polled = task.as_mut().poll(context);
            events.take_all();
            polled
        }));
    }
}

/// Uses a part of what the running task may do in this turn.
fn shorten_turn(context: &mut Context<'_>) {
    for _ in 0..TAKEN {
        if pin!(consume_budget()).poll(context).is_pending() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Events;
    use discv5::{Event, Executor};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn nothing_is_lost_however_much_a_task_has_to_do() {
        const COUNT: usize = 10_000;
        let (work, mut to_do) = mpsc::channel(COUNT);
        (0..COUNT).for_each(|_| work.try_send(()).expect("room"));
        drop(work);
        let (queue, stream) = mpsc::channel(100);
        let events = Events::default();
        let (taken, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&taken);
        events.listen(
            stream,
            Box::new(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            }),
        );
        let drops = Arc::clone(&lost);
        events.spawn(Box::pin(async move {
            while to_do.recv().await.is_some() {
                // As the crate does.
                if queue.try_send(Event::SessionsExpired(Vec::new())).is_err() {
                    drops.fetch_add(1, Ordering::SeqCst);
                }
            }
        }));
        let done = async {
            while taken.load(Ordering::SeqCst) + lost.load(Ordering::SeqCst) < COUNT {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), done).await.expect("in time");
        assert_eq!(lost.load(Ordering::SeqCst), 0);
    }
}
