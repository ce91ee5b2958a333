//! How a block gets its seal: one trait, an implementation per consensus engine.

use crate::config::SealerChoice;
use alloy_primitives::B256;
use futures::FutureExt;
use futures::future::BoxFuture;
use quintet_miner_api::SealerKind;
use quintet_types::Block;
use std::sync::Arc;

/// A seal could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SealError(pub String);

/// Seals blocks.
pub trait Sealer: Send + Sync {
    /// Which kind of seal it makes.
    fn kind(&self) -> SealerKind;

    /// The block with its seal. `seal_hash` is what the seal is over. Dropping the future gives the seal up, and
    /// must end the work for it.
    fn seal(&self, block: Arc<Block>, seal_hash: B256) -> BoxFuture<'static, Result<Block, SealError>>;

    /// Hashes a second; 0 where nothing is searched.
    fn hashrate(&self) -> u64 {
        0
    }
}

/// Development networks after the merge: the header needs no seal, so the block is sealed as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Instant;

impl Sealer for Instant {
    fn kind(&self) -> SealerKind {
        SealerKind::Instant
    }

    fn seal(&self, block: Arc<Block>, _seal_hash: B256) -> BoxFuture<'static, Result<Block, SealError>> {
        std::future::ready(Ok(Arc::unwrap_or_clone(block))).boxed()
    }
}

/// The configured sealer.
pub(crate) fn make(choice: SealerChoice) -> Arc<dyn Sealer> {
    match choice {
        SealerChoice::Instant => Arc::new(Instant),
    }
}
