//! The blocks that a consensus engine may look back at.

use crate::{Header, StateError};
use alloy_primitives::B256;

/// Blocks by hash, canonical or not: those of the store, and those that are on their way into it.
pub trait Ancestry: Send + Sync {
    /// The header of a block; `None` if it is not held.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn header(&self, hash: &B256) -> Result<Option<Header>, StateError>;

    /// The uncles of a block, in its body's order; `None` if it is not held.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn uncles(&self, hash: &B256) -> Result<Option<Vec<Header>>, StateError>;
}
