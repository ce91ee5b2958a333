//! What readiness says of the store and of the event bus while the service runs.

use crate::chain::Chain;
use crate::error::ChainError;
use quintet_service::Check;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the store may take to answer before that is told.
const DEADLINE: Duration = Duration::from_secs(3);

/// Says whether the store answers; after a failed commit also brings the chain in line with it once it does.
///
/// # Errors
/// When somebody else has written to the store: this process must not go on.
pub(crate) async fn watch_store(
    chain: Arc<Chain>,
    check: Check,
    token: CancellationToken,
) -> Result<(), ChainError> {
    while token.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        let chain = Arc::clone(&chain);
        let mut probe = tokio::task::spawn_blocking(move || chain.probe());
        let outcome = loop {
            let answer = tokio::time::timeout(DEADLINE, &mut probe);
            match token.run_until_cancelled(answer).await {
                None => return Ok(()),
                Some(Ok(joined)) => break joined?,
                Some(Err(_)) => check.fail(format!("the store does not answer within {DEADLINE:?}")),
            }
        };
        match outcome {
            Ok(()) => check.ok(),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => check.fail(error.to_string()),
        }
    }
    Ok(())
}

/// Says whether the event bus can be reached. Without it gateways and the miner look into the store.
pub(crate) async fn watch_events(
    chain: Arc<Chain>,
    check: Check,
    token: CancellationToken,
) -> Result<(), ChainError> {
    let mut ticks = tokio::time::interval(INTERVAL);
    while token.run_until_cancelled(ticks.tick()).await.is_some() {
        match chain.bus.trouble() {
            None => check.ok(),
            Some(reason) => check.degraded(reason.as_ref()),
        }
    }
    Ok(())
}
