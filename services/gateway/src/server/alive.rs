//! Gauges of what is there: each thing counts while it lives.

use metrics::Gauge;

/// One more, until it is dropped.
pub(super) struct Alive(Gauge);

impl Alive {
    /// One more connection that speaks this protocol.
    pub(super) fn connection(protocol: &'static str) -> Self {
        Self::of(metrics::gauge!("quintet_gateway_connections", "protocol" => protocol))
    }

    /// One more subscription to this topic.
    pub(super) fn subscription(topic: &'static str) -> Self {
        Self::of(metrics::gauge!("quintet_gateway_subscriptions", "topic" => topic))
    }

    fn of(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl std::fmt::Debug for Alive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alive")
    }
}
