//! The recommit interval and the back-off: how long to wait, from what happened before.

use std::time::Duration;

/// Renewing work more often than this costs more than it brings.
pub const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Work is renewed at least this often.
pub const MAX_INTERVAL: Duration = Duration::from_secs(15);
/// Weight of the newest observation.
const ADJUST_RATIO: f64 = 0.1;
/// Added to the target, so that the interval keeps moving near its bounds; seconds.
const ADJUST_BIAS: f64 = 0.2;
/// The smallest fill ratio that counts.
const MIN_FILL: f64 = 0.1;

/// The interval at which work is renewed. It grows when building cannot keep up, towards the time that a full
/// block would take, and shrinks back towards the configured interval when it can.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recommit {
    configured: Duration,
    interval: Duration,
}

impl Recommit {
    /// Starts at the configured interval, [`MIN_INTERVAL`] at least.
    pub(super) fn new(configured: Duration) -> Self {
        let configured = configured.clamp(MIN_INTERVAL, MAX_INTERVAL);
        Self { configured, interval: configured }
    }

    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// Building was cut short when `fill` (0 to 1) of the block's gas was used.
    pub(super) fn cut_short(&mut self, fill: f64) {
        let target = self.interval.as_secs_f64() / fill.clamp(MIN_FILL, 1.0);
        self.move_to(target + ADJUST_BIAS);
    }

    /// Building ended by itself.
    pub(super) fn in_time(&mut self) {
        self.move_to(self.configured.as_secs_f64() - ADJUST_BIAS);
    }

    fn move_to(&mut self, target: f64) {
        let next = self.interval.as_secs_f64() * (1.0 - ADJUST_RATIO) + target * ADJUST_RATIO;
        let next = Duration::try_from_secs_f64(next).unwrap_or(self.configured);
        self.interval = next.clamp(self.configured, MAX_INTERVAL);
    }
}

/// The first wait after a failure; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest wait.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Waits between failures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    /// Nothing is tried until the wait is over.
    pub(super) waiting: bool,
}

impl Backoff {
    /// Takes note of a failure; the wait that it calls for, unless one is under way.
    pub(super) fn failed(&mut self) -> Option<Duration> {
        if std::mem::replace(&mut self.waiting, true) {
            return None;
        }
        let wait = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        Some(wait.min(LAST_RETRY))
    }

    /// Things work again.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, MAX_INTERVAL, MIN_INTERVAL, Recommit};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_step_is_geths() {
        let mut recommit = Recommit::new(3 * SECOND);
        // 3 * 0.9 + 0.1 * (3 / 0.3 + 0.2)
        recommit.cut_short(0.3);
        assert_eq!(recommit.interval().as_millis(), 3720);
        // 3.72 * 0.9 + 0.1 * (3 - 0.2)
        recommit.in_time();
        assert_eq!(recommit.interval().as_millis(), 3628);
    }

    #[test]
    fn stays_within_its_bounds() {
        assert_eq!(Recommit::new(Duration::ZERO).interval(), MIN_INTERVAL);
        let mut recommit = Recommit::new(2 * SECOND);
        (0..100).for_each(|_| recommit.cut_short(0.0));
        assert_eq!(recommit.interval(), MAX_INTERVAL);
        (0..100).for_each(|_| recommit.in_time());
        assert_eq!(recommit.interval(), 2 * SECOND);
    }

    #[test]
    fn waits_double_up_to_a_bound_and_start_again() {
        let mut backoff = Backoff::default();
        let fail = |backoff: &mut Backoff| {
            backoff.waiting = false;
            backoff.failed().map(|wait| wait.as_millis())
        };
        let waits: Vec<_> = (0..8).filter_map(|_| fail(&mut backoff)).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.failed(), None, "a wait is under way");
        backoff.succeeded();
        assert_eq!(fail(&mut backoff), Some(100));
    }
}
