//! How much gossip a peer may send: so much at once, and so much a second. No clock: times are told.

use std::time::Instant;

/// What is left of an allowance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    burst: f64,
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    /// So many at once, and so many more each second.
    pub(crate) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self { burst: burst.into(), per_second: per_second.into(), left: burst.into(), at: now }
    }

    /// Takes one, if one is left.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = elapsed.mul_add(self.per_second, self.left).min(self.burst);
        self.at = now;
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Allowance;
    use std::time::{Duration, Instant};

    #[test]
    fn what_is_used_up_comes_back_with_time() {
        let start = Instant::now();
        let mut allowance = Allowance::new(5, 2, start);
        assert_eq!((0..100).filter(|_| allowance.take(start)).count(), 5);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| allowance.take(later)).count(), 2);
        let much_later = start + Duration::from_hours(1);
        assert_eq!((0..100).filter(|_| allowance.take(much_later)).count(), 5);
    }
}
