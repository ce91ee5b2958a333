//! What the gateway says of itself on `/readyz`: the store that it reads, the chain service that it sends to, and the
//! events that it follows.

use crate::chain_link::{ChainLink, Network};
use crate::read::Reads;
use quintet_events::EventBus;
use quintet_service::{Check, Readiness};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often store and events are looked at.
const GLANCE: Duration = Duration::from_millis(250);
/// How often the chain service is asked which network it is.
const QUESTION: Duration = Duration::from_secs(1);

/// The checks.
#[derive(Clone, Debug)]
pub(crate) struct Checks {
    pub(crate) store: Check,
    chain: Check,
    events: Check,
}

impl Checks {
    /// Registers them; they fail until told otherwise.
    pub(crate) fn register(readiness: &Readiness) -> Self {
        Self {
            store: readiness.register("store"),
            chain: readiness.register("chain"),
            events: readiness.register("events"),
        }
    }

    /// Keeps them true until `token` is cancelled.
    pub(crate) async fn run(
        &self,
        reads: &Reads,
        chain: &ChainLink,
        events: &Arc<dyn EventBus>,
        token: &CancellationToken,
    ) {
        let glance = async {
            let mut ticks = tokio::time::interval(GLANCE);
            loop {
                ticks.tick().await;
                match reads.health().away() {
                    Some(away) => self.store.degraded(away.report()),
                    None => self.store.ok(),
                }
                match events.trouble() {
                    Some(trouble) => self.events.degraded(format!("{trouble}; the store is polled")),
                    None => self.events.ok(),
                }
            }
        };
        let question = async {
            let mut ticks = tokio::time::interval(QUESTION);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match chain.verify().await {
                    Network::Same => self.chain.ok(),
                    Network::Other(reason) => self.chain.fail(reason),
                    Network::Unknown(reason) => {
                        self.chain.degraded(format!("{reason}; reads go on, transactions are refused"));
                    }
                }
            }
        };
        token.run_until_cancelled(async { tokio::join!(glance, question) }).await;
    }
}
