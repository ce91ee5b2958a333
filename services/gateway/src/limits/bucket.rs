//! The token bucket, without a clock: who asks says what time it is.
//!
//! A cost above the burst is paid by debt, not refused for ever: it goes through once the bucket is full, and those
//! that follow wait until it is paid off. So over any time the costs let through are at most what flowed in, the
//! burst, and one cost more.

use std::time::Duration;

/// How much a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    /// Requests a second.
    pub(crate) per_second: f64,
    /// Requests at once.
    pub(crate) burst: f64,
}

impl Rate {
    /// A rate, with a burst of two seconds' worth if it is not given. `None` when there is no limit.
    pub(crate) fn new(per_second: f64, burst: u32) -> Option<Self> {
        let burst = if burst == 0 { (per_second * 2.0).max(1.0) } else { f64::from(burst) };
        (per_second > 0.0).then_some(Self { per_second, burst })
    }

    /// How long this many tokens take to flow in.
    fn time_for(&self, tokens: f64) -> Duration {
        Duration::try_from_secs_f64(tokens / self.per_second).unwrap_or(Duration::MAX)
    }
}

/// What a client has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: f64,
    /// When it held them.
    at: Duration,
}

impl Bucket {
    /// A full one, at `now` since some start.
    pub(crate) const fn full(rate: &Rate, now: Duration) -> Self {
        Self { tokens: rate.burst, at: now }
    }

    /// Takes `cost` tokens; else says how long to wait until they can be had. Times may come out of order.
    pub(crate) fn take(&mut self, rate: &Rate, cost: u32, now: Duration) -> Result<(), Duration> {
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = elapsed.mul_add(rate.per_second, self.tokens).min(rate.burst);
        self.at = self.at.max(now);
        let cost = f64::from(cost);
        let needed = cost.min(rate.burst);
        // What floating point lost on the way must not make a client wait for nothing.
        if self.tokens + 1e-6 < needed {
            return Err(rate.time_for(needed - self.tokens));
        }
        self.tokens -= cost;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate::new(10.0, 3).expect("a limit");
        let mut bucket = Bucket::full(&rate, Duration::ZERO);
        for _ in 0..3 {
            assert_eq!(bucket.take(&rate, 1, Duration::ZERO), Ok(()));
        }
        let wait = bucket.take(&rate, 1, Duration::ZERO).expect_err("empty");
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(bucket.take(&rate, 1, wait), Ok(()));
        assert!(bucket.take(&rate, 1, wait).is_err());
        assert_eq!(Rate::new(0.0, 5), None);
        assert_eq!(Rate::new(5.0, 0).map(|rate| rate.burst), Some(10.0));
    }

    #[test]
    fn what_costs_more_than_the_burst_is_paid_off_later() {
        let rate = Rate::new(10.0, 5).expect("a limit");
        let mut bucket = Bucket::full(&rate, Duration::ZERO);
        assert_eq!(bucket.take(&rate, 25, Duration::ZERO), Ok(()));
        assert_eq!(bucket.take(&rate, 1, Duration::ZERO), Err(Duration::from_millis(2100)));
        assert_eq!(bucket.take(&rate, 1, Duration::from_millis(2100)), Ok(()));
    }

    proptest! {
        /// In every stretch of time no more goes through than flowed in, the burst and one cost; and whoever waits
        /// as long as told gets through.
        #[test]
        fn no_stretch_of_time_lets_more_through(
            per_second in 0.5f64..2000.0,
            burst in 1u32..200,
            steps in prop::collection::vec((0u64..400_000, 1u32..40), 1..200),
        ) {
            let rate = Rate { per_second, burst: f64::from(burst) };
            let mut bucket = Bucket::full(&rate, Duration::ZERO);
            let mut now = Duration::ZERO;
            let mut passed: Vec<(Duration, u32)> = Vec::new();
            for (step, cost) in steps {
                now += Duration::from_micros(step);
                match bucket.take(&rate, cost, now) {
                    Ok(()) => passed.push((now, cost)),
                    Err(wait) => {
                        let mut later = bucket;
                        let then = now + wait + Duration::from_micros(1);
                        prop_assert_eq!(later.take(&rate, cost, then), Ok(()), "after {:?}", wait);
                    }
                }
            }
            for (first, (start, _)) in passed.iter().enumerate() {
                let mut sum = 0.0;
                for (at, cost) in &passed[first..] {
                    let allowed = at.saturating_sub(*start).as_secs_f64() * per_second + rate.burst;
                    // Before the last one, which may be more than the burst.
                    prop_assert!(sum <= allowed + 1e-3, "{sum} in {:?}", at.saturating_sub(*start));
                    sum += f64::from(*cost);
                }
            }
        }

        /// A clock that jumps back gives nobody more.
        #[test]
        fn time_that_runs_backwards_gives_nothing(times in prop::collection::vec(0u64..1000, 1..100)) {
            let rate = Rate { per_second: 1.0, burst: 2.0 };
            let mut bucket = Bucket::full(&rate, Duration::ZERO);
            let most = times.iter().copied().max().unwrap_or_default();
            let passed =
                times.iter().filter(|at| bucket.take(&rate, 1, Duration::from_millis(**at)).is_ok()).count();
            prop_assert!(passed <= 2 + usize::try_from(most / 1000).expect("small") + 1);
        }
    }
}
