//! The calls that the loop makes for the worker: to `chain` and to the sealer.

use crate::replica::Beat;
use crate::sealer::Sealer;
use crate::worker::{Event, Job};
use alloy_primitives::B256;
use quintet_chain_api::{BuildRequest, ChainClient, ChainError, ChainHead, MINING_WAITS};
use quintet_types::Block;
use std::sync::{Arc, Once};
use std::time::Duration;
use tokio::time::Instant;

/// How long `chain` may take to say that it is there.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);

/// What a finished call brought.
pub(crate) enum Call {
    /// Something for the worker.
    Worker(Event),
    /// The genesis block's hash, and the head.
    Head(Result<(B256, ChainHead), ChainError>),
    /// The same, asked to hear whether `chain` is there, and how many transactions wait.
    Look(Result<(B256, ChainHead), ChainError>, u64),
    /// An answer of Redis.
    Beat(Beat),
    /// `chain` refused something because of its token.
    Fenced {
        /// What the worker is to hear.
        event: Event,
        token: u64,
        /// The newest token that `chain` has seen.
        newest: u64,
    },
}

/// What a block is handed in under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    /// Fencing token; 0 where there is one miner.
    pub(crate) token: u64,
    /// From then on the lease may be another's.
    pub(crate) until: Option<Instant>,
}

pub(crate) async fn read_head(chain: ChainClient) -> Call {
    Call::Head(head(&chain).await)
}

/// Whether `chain` is there, where, and how many executable transactions wait for it.
pub(crate) async fn look(chain: ChainClient) -> Call {
    let look = async { Ok((head(&chain).await?, chain.pool_status().await?.pending)) };
    let late = |_| Err(ChainError::Unavailable(format!("no answer in {LOOK_DEADLINE:?}")));
    match tokio::time::timeout(LOOK_DEADLINE, look).await.unwrap_or_else(late) {
        Ok((head, pending)) => Call::Look(Ok(head), pending),
        Err(error) => Call::Look(Err(error), 0),
    }
}

async fn head(chain: &ChainClient) -> Result<(B256, ChainHead), ChainError> {
    Ok((chain.genesis().await?.hash, chain.head().await?))
}

/// Under a fencing token, or 0 where there is one miner.
pub(crate) async fn build(chain: ChainClient, token: u64, job: Job) -> Call {
    let id = job.id;
    let started = Instant::now();
    let answer = chain.build_block(build_request(job, token)).await;
    metrics::histogram!("quintet_miner_build_seconds").record(started.elapsed().as_secs_f64());
    Call::Worker(match answer {
        Ok(Some(work)) => {
            let header = &work.block.header;
            tracing::debug!(
                number = header.number, sealhash = %work.seal_hash, txs = work.transactions, gas = header.gas_used,
                fees = %work.fees, elapsed = ?started.elapsed(), "Commit new sealing work"
            );
            Event::Built { job: id, work }
        }
        Ok(None) => Event::NothingToBuild { job: id },
        Err(error) => {
            report(&error);
            let event = Event::BuildFailed { job: id };
            if let Some(newest) = error.newer_token() {
                return Call::Fenced { event, token, newest };
            }
            event
        }
    })
}

/// Says why there is no block. That the sync has to end first is said once, not at each try.
fn report(error: &ChainError) {
    static TOLD: Once = Once::new();
    if matches!(error, ChainError::Unavailable(text) if text.starts_with(MINING_WAITS)) {
        TOLD.call_once(|| tracing::info!(%error, "Mining aborted due to sync"));
        tracing::debug!(%error, "block not built");
    } else {
        tracing::warn!(%error, "block not built");
    }
}

fn build_request(job: Job, fencing_token: u64) -> BuildRequest {
    BuildRequest {
        parent_hash: Some(job.parent.hash),
        timestamp: job.timestamp,
        beneficiary: job.beneficiary,
        extra_data: job.extra_data,
        gas_limit_target: job.gas_limit,
        minimum_tip: job.gas_price,
        // No beacon chain gives these: contracts get real randomness, and a root that names no block.
        prev_randao: B256::random(),
        parent_beacon_block_root: Some(B256::ZERO),
        fill_budget: job.fill_budget,
        allow_empty: job.allow_empty,
        fencing_token,
    }
}

#[tracing::instrument(name = "seal", skip_all)]
pub(crate) async fn seal(sealer: Arc<dyn Sealer>, seal_hash: B256, block: Arc<Block>) -> Call {
    Call::Worker(match sealer.seal(block, seal_hash).await {
        Ok(block) => Event::Sealed { seal_hash, block },
        Err(error) => {
            tracing::warn!(%error, "Block sealing failed");
            Event::SealFailed { seal_hash }
        }
    })
}

pub(crate) async fn submit(chain: ChainClient, grant: Grant, seal_hash: B256, block: Arc<Block>) -> Call {
    let started = Instant::now();
    if grant.until.is_some_and(|until| started >= until) {
        // The process was held up since it was decided.
        return Call::Worker(Event::SubmitFailed { seal_hash, retry: true });
    }
    match chain.submit_block(&block, grant.token).await {
        Ok(submitted) => {
            let (number, hash) = (submitted.block.number, submitted.block.hash);
            tracing::info!(
                number, sealhash = %seal_hash, %hash, txs = block.body.transactions.len(), elapsed = ?started.elapsed(),
                "Successfully sealed new block"
            );
            let canonical = submitted.canonical;
            Call::Worker(Event::Submitted { seal_hash, block: submitted.block, canonical })
        }
        Err(error) => {
            let retry = error.is_passing();
            tracing::warn!(%error, retry, "sealed block not taken");
            let event = Event::SubmitFailed { seal_hash, retry };
            match error.newer_token() {
                Some(newest) => Call::Fenced { event, token: grant.token, newest },
                None => Call::Worker(event),
            }
        }
    }
}
