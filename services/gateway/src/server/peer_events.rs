//! What happens to peers, for one connection that wants to know.

use crate::peers::PeerServices;
use futures::StreamExt;
use parking_lot::Mutex;
use quintet_p2p_api::{PeerEvent, PeerEventStream};
use std::time::Duration;

/// How long after a failure the p2p service is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long nobody says anything before instances that may have come are looked for.
const SILENCE: Duration = Duration::from_mins(1);

/// The stream of events, while somebody listens.
#[derive(Default)]
pub(super) struct PeerEvents {
    /// Behind a lock that nobody waits for, so that a connection may be looked at from any thread.
    stream: Mutex<Option<PeerEventStream>>,
}

impl PeerEvents {
    /// The next event; waits for the p2p service if it is away. May be dropped at any time without loss.
    pub(super) async fn next(&mut self, p2p: &PeerServices) -> PeerEvent {
        let held = self.stream.get_mut();
        loop {
            let Some(stream) = held else {
                match p2p.events().await {
                    Ok(stream) => *held = Some(stream),
                    Err(error) => {
                        tracing::debug!(target: "quintet_gateway", message = error.message, "no peer events");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                continue;
            };
            match tokio::time::timeout(SILENCE, stream.next()).await {
                Ok(Some(Ok(event))) => return event,
                Err(_) => *held = None,
                Ok(_) => {
                    *held = None;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
