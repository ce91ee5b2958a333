//! Runs EVM calls, and searches through many blocks, on the runtime's own threads: how many at once, for how long,
//! and how other requests stay served meanwhile.
//!
//! Most calls take microseconds, and moving one to another thread would cost more than it. So a call first runs
//! where it came in. One that is not done after a few milliseconds is stopped and run again, after the worker
//! has handed its other connections over (`block_in_place`): the little that was done twice is small beside what
//! such a call takes. A thread of its own stops calls when their time is over, since every worker may be in one.

use crate::error::RpcError;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Calls at once for each worker thread; more wait for their turn.
const SLOTS_PER_WORKER: usize = 8;
/// How long a call may keep its worker from other connections.
const INLINE_LIMIT: Duration = Duration::from_millis(4);
/// How often overdue calls are looked for, while there are calls.
const TICK: Duration = Duration::from_millis(2);
/// Ticks without a call after which the watching thread sleeps until there is one.
const IDLE_TICKS: u32 = 100;

/// Where calls run.
#[derive(Debug)]
pub(crate) struct EvmSlots {
    shared: Arc<Shared>,
    permits: Semaphore,
    can_hand_over: bool,
    timeout: Duration,
    watcher: Thread,
}

/// What calls and the thread that watches them share.
#[derive(Debug)]
struct Shared {
    slots: Vec<Slot>,
    free: Mutex<Vec<usize>>,
    running: AtomicUsize,
    asleep: AtomicBool,
    started: Instant,
}

#[derive(Debug, Default)]
struct Slot {
    /// Microseconds since the start; zero while no call has the slot or none is limited.
    deadline: AtomicU64,
    cancel: AtomicBool,
}

impl EvmSlots {
    /// Slots for the current runtime. `timeout` is the most that a call may take, zero for no limit.
    ///
    /// # Errors
    /// When the thread that watches calls cannot be started.
    pub(crate) fn new(timeout: Duration) -> std::io::Result<Self> {
        let handle = Handle::current();
        let count = handle.metrics().num_workers().max(1) * SLOTS_PER_WORKER;
        let shared = Arc::new(Shared {
            slots: (0..count).map(|_| Slot::default()).collect(),
            free: Mutex::new((0..count).collect()),
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            started: Instant::now(),
        });
        let watched = Arc::downgrade(&shared);
        let watcher =
            std::thread::Builder::new().name("evm-watch".to_owned()).spawn(move || watch(&watched))?;
        Ok(Self {
            shared,
            permits: Semaphore::new(count),
            can_hand_over: handle.runtime_flavor() == RuntimeFlavor::MultiThread,
            timeout,
            watcher: watcher.thread().clone(),
        })
    }

    /// Runs `call` when there is a slot, with a flag that is set once its time is over. It may be run a second
    /// time from the start.
    pub(crate) async fn run<T>(&self, call: impl FnMut(&AtomicBool) -> T) -> Result<T, RpcError> {
        self.run_for(self.timeout, call).await
    }

    /// As [`Self::run`], with another limit; zero for none.
    pub(crate) async fn run_for<T>(
        &self,
        timeout: Duration,
        mut call: impl FnMut(&AtomicBool) -> T,
    ) -> Result<T, RpcError> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => self.permits.acquire().await,
        };
        let _permit = permit.map_err(|_| RpcError::Internal)?;
        let taken = self.take().ok_or(RpcError::Internal)?;
        if !self.can_hand_over {
            return Ok(taken.run(timeout, &mut call));
        }
        let inline = if timeout.is_zero() { INLINE_LIMIT } else { INLINE_LIMIT.min(timeout) };
        let outcome = taken.run(inline, &mut call);
        if !taken.slot.cancel.load(Ordering::Relaxed) || inline == timeout {
            return Ok(outcome);
        }
        Ok(tokio::task::block_in_place(|| taken.run(timeout, &mut call)))
    }

    /// The most that a call may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    fn take(&self) -> Option<Taken<'_>> {
        let shared = self.shared.as_ref();
        let index = shared.free.lock().pop()?;
        shared.running.fetch_add(1, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) {
            self.watcher.unpark();
        }
        Some(Taken { shared, index, slot: shared.slots.get(index)? })
    }
}

impl Drop for EvmSlots {
    fn drop(&mut self) {
        self.watcher.unpark();
    }
}

impl Shared {
    fn now(&self) -> u64 {
        // One, so that a deadline is never the zero that means none.
        micros(self.started.elapsed()) + 1
    }

    fn cancel_overdue(&self) {
        let now = self.now();
        for slot in &self.slots {
            let deadline = slot.deadline.load(Ordering::Acquire);
            if deadline != 0 && deadline <= now {
                slot.cancel.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Cancels calls that take too long, until the slots are gone.
fn watch(watched: &Weak<Shared>) {
    let mut idle = 0;
    while let Some(shared) = watched.upgrade() {
        shared.cancel_overdue();
        idle = if shared.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        if idle < IDLE_TICKS {
            drop(shared);
            std::thread::sleep(TICK);
            continue;
        }
        shared.asleep.store(true, Ordering::SeqCst);
        // A call that came before it saw this thread asleep is seen here.
        let sleep = shared.running.load(Ordering::SeqCst) == 0;
        let still = Arc::downgrade(&shared);
        drop(shared);
        if sleep && still.strong_count() > 0 {
            std::thread::park();
        }
        if let Some(shared) = still.upgrade() {
            shared.asleep.store(false, Ordering::SeqCst);
        }
        idle = 0;
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2)
}

/// A slot in use.
struct Taken<'a> {
    shared: &'a Shared,
    index: usize,
    slot: &'a Slot,
}

impl Taken<'_> {
    fn run<T>(&self, limit: Duration, call: &mut impl FnMut(&AtomicBool) -> T) -> T {
        self.slot.deadline.store(0, Ordering::Release);
        self.slot.cancel.store(false, Ordering::Relaxed);
        if !limit.is_zero() {
            self.slot.deadline.store(self.shared.now() + micros(limit), Ordering::Release);
        }
        call(&self.slot.cancel)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.slot.deadline.store(0, Ordering::Release);
        self.shared.free.lock().push(self.index);
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn overdue_calls_are_cancelled_and_others_run_on() {
        let slots = Arc::new(EvmSlots::new(Duration::from_millis(60)).expect("a thread"));
        let spin = |slots: Arc<EvmSlots>| async move {
            slots
                .run(|cancel| {
                    let start = Instant::now();
                    while !cancel.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(20) {
                        std::hint::spin_loop();
                    }
                    start.elapsed()
                })
                .await
        };
        // More than there are workers: all of them are busy with calls at first.
        let calls: Vec<_> = (0..6).map(|_| tokio::spawn(spin(Arc::clone(&slots)))).collect();
        for call in calls {
            let took = call.await.expect("ran").expect("slot");
            assert!(took < Duration::from_secs(10), "{took:?}");
        }
        assert_eq!(slots.run(|cancel| cancel.load(Ordering::Relaxed)).await, Ok(false));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_long_call_lets_others_through_and_is_run_again() {
        let slots = Arc::new(EvmSlots::new(Duration::ZERO).expect("a thread"));
        // The watching thread goes to sleep, and has to wake up for the call.
        tokio::time::sleep(TICK * (IDLE_TICKS + 50)).await;
        let release = Arc::new(AtomicBool::new(false));
        let (held, released) = (Arc::clone(&slots), Arc::clone(&release));
        let long = tokio::spawn(async move {
            let mut runs = 0;
            held.run(|cancel| {
                runs += 1;
                while !cancel.load(Ordering::Relaxed) && !released.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                runs
            })
            .await
        });
        tokio::task::yield_now().await;
        // Only another task of the one worker can release it.
        tokio::spawn(async move { release.store(true, Ordering::Relaxed) }).await.expect("ran");
        assert_eq!(long.await.expect("ran"), Ok(2));
    }
}
