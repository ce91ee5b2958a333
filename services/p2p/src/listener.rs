//! Takes connections from nodes that dial us.
//!
//! What must hold: no more handshakes are under way than there are slots, and none is done in the loop that takes
//! connections; an address that comes again and again, or is banned, costs next to nothing.

use crate::hub::Hub;
use crate::{metrics, session};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// After an error of the system, such as too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(200);

/// Takes connections until shutdown, from the moment at which the node has an identity.
pub(crate) async fn run(
    hub: Arc<Hub>,
    listener: TcpListener,
    sessions: TaskTracker,
    token: CancellationToken,
) -> Result<(), Infallible> {
    let mut own = hub.owns();
    let identified = own.wait_for(Option::is_some);
    if token.run_until_cancelled(identified).await.is_none() {
        return Ok(());
    }
    let slots = Arc::new(Semaphore::new(hub.settings.max_pending));
    loop {
        let next = async {
            // The semaphore is never closed.
            let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
            Some((slot, listener.accept().await))
        };
        let Some(Some((slot, accepted))) = token.run_until_cancelled(next).await else { return Ok(()) };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection of a peer could not be taken");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        if let Err(reason) = hub.admit(address.ip(), Instant::now()) {
            tracing::trace!(%address, reason, "connection rejected");
            metrics::rejected(reason);
            continue;
        }
        sessions.spawn(session::inbound(Arc::clone(&hub), stream, slot));
    }
}
