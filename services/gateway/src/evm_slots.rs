//! Runs EVM calls, and searches through many blocks, on the runtime's own threads: how many at once, for how long,
//! and how other requests stay served meanwhile.
//!
//! Most calls take microseconds, and moving one to another thread would cost more than it. So a call runs where it
//! came in, as long as another worker is free to serve connections; when none would be, the worker hands its
//! queue over first (`block_in_place`). A call that exceeds its time is cancelled by [`EvmSlots::watch`].

use crate::error::RpcError;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Calls at once for each worker thread; more wait for their turn.
const SLOTS_PER_WORKER: usize = 8;
/// How often overdue calls are looked for.
const TICK: Duration = Duration::from_millis(25);

/// Where calls run.
#[derive(Debug)]
pub(crate) struct EvmSlots {
    slots: Vec<Slot>,
    free: Mutex<Vec<usize>>,
    permits: Semaphore,
    /// Workers that may run a call without handing their queue over; the rest keep serving.
    inline: AtomicUsize,
    can_hand_over: bool,
    timeout: Duration,
    started: Instant,
}

#[derive(Debug, Default)]
struct Slot {
    /// Milliseconds since the start; zero while no call has the slot or none is limited.
    deadline: AtomicU64,
    cancel: AtomicBool,
}

impl EvmSlots {
    /// Slots for the current runtime. `timeout` is the most that a call may take, zero for no limit.
    pub(crate) fn new(timeout: Duration) -> Self {
        let handle = Handle::current();
        let workers = handle.metrics().num_workers().max(1);
        let can_hand_over = handle.runtime_flavor() == RuntimeFlavor::MultiThread;
        let count = workers * SLOTS_PER_WORKER;
        Self {
            slots: (0..count).map(|_| Slot::default()).collect(),
            free: Mutex::new((0..count).collect()),
            permits: Semaphore::new(count),
            inline: AtomicUsize::new(if can_hand_over { workers - 1 } else { usize::MAX / 2 }),
            can_hand_over,
            timeout,
            started: Instant::now(),
        }
    }

    /// Runs `call` when there is a slot, with a flag that is set once its time is over.
    pub(crate) async fn run<T>(&self, call: impl FnOnce(&AtomicBool) -> T) -> Result<T, RpcError> {
        self.run_for(self.timeout, call).await
    }

    /// As [`Self::run`], with another limit; zero for none.
    pub(crate) async fn run_for<T>(
        &self,
        timeout: Duration,
        call: impl FnOnce(&AtomicBool) -> T,
    ) -> Result<T, RpcError> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => self.permits.acquire().await,
        };
        let _permit = permit.map_err(|_| RpcError::Internal)?;
        let index = self.free.lock().pop().ok_or(RpcError::Internal)?;
        let slot = self.slots.get(index).ok_or(RpcError::Internal)?;
        let _taken = Taken { slots: self, index, slot };
        slot.cancel.store(false, Ordering::Relaxed);
        if !timeout.is_zero() {
            slot.deadline.store(self.now() + millis(timeout), Ordering::Release);
        }
        if !self.can_hand_over {
            return Ok(call(&slot.cancel));
        }
        let Some(_inline) = Inline::take(&self.inline) else {
            return Ok(tokio::task::block_in_place(|| call(&slot.cancel)));
        };
        Ok(call(&slot.cancel))
    }

    /// The most that a call may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Cancels calls that take too long, until `token` is cancelled.
    pub(crate) async fn watch(&self, token: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            let now = self.now();
            for slot in &self.slots {
                let deadline = slot.deadline.load(Ordering::Acquire);
                if deadline != 0 && deadline <= now {
                    slot.cancel.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    fn now(&self) -> u64 {
        // One, so that a deadline is never the zero that means none.
        millis(self.started.elapsed()) + 1
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

/// A slot in use.
struct Taken<'a> {
    slots: &'a EvmSlots,
    index: usize,
    slot: &'a Slot,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.slot.deadline.store(0, Ordering::Release);
        self.slots.free.lock().push(self.index);
    }
}

/// The right to run a call without handing the worker's queue over.
struct Inline<'a>(&'a AtomicUsize);

impl<'a> Inline<'a> {
    fn take(free: &'a AtomicUsize) -> Option<Self> {
        free.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |free| free.checked_sub(1)).ok()?;
        Some(Self(free))
    }
}

impl Drop for Inline<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn overdue_calls_are_cancelled_and_others_run_on() {
        let slots = Arc::new(EvmSlots::new(Duration::from_millis(60)));
        let token = CancellationToken::new();
        let watching = Arc::clone(&slots);
        let stop = token.clone();
        let watch = tokio::spawn(async move { watching.watch(stop).await });
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
        // More than there are workers: the runtime must still run the watch.
        let calls: Vec<_> = (0..6).map(|_| tokio::spawn(spin(Arc::clone(&slots)))).collect();
        for call in calls {
            let took = call.await.expect("ran").expect("slot");
            assert!(took < Duration::from_secs(10), "{took:?}");
        }
        assert_eq!(slots.run(|cancel| cancel.load(Ordering::Relaxed)).await, Ok(false));
        token.cancel();
        watch.await.expect("ended");
    }
}
