//! What a method is given, and where its result goes.

use crate::decode::{BlockId, BlockTag};
use crate::error::RpcError;
use crate::read::{StateAt, View};
use crate::shared::{Pending, Shared};
use bytes::Bytes;
use quintet_types::{BlockRef, Header, RecoveredBlock, StateError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A result longer than this goes to the socket without being copied.
const SPLICE: usize = 8192;

/// Why a read has no result.
pub(crate) enum Stop {
    /// It failed.
    Failed(RpcError),
    /// It needs the pending block, which only `chain` has: to be run again with it.
    NeedsPending,
}

impl Stop {
    /// The error that is left when the pending block was there.
    pub(crate) fn into_error(self) -> RpcError {
        match self {
            Self::Failed(error) => error,
            Self::NeedsPending => RpcError::server("pending block is not available"),
        }
    }
}

impl<E: Into<RpcError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Where the answer is written.
pub(crate) struct Output {
    /// The answer's JSON.
    pub(crate) json: Vec<u8>,
    /// Serialised bytes that belong at this place of `json`.
    pub(crate) spliced: Option<(usize, Bytes)>,
    /// The number of the block that the answer is about.
    pub(crate) block: u64,
    /// The answer is copied into a batch's.
    pub(crate) in_batch: bool,
    /// The answer is that the client asked for too much, and how long it is to wait.
    pub(crate) retry_after: Option<Duration>,
}

impl Output {
    /// An empty answer.
    pub(crate) fn new(block: u64) -> Self {
        Self { json: Vec::with_capacity(512), spliced: None, block, in_batch: false, retry_after: None }
    }

    /// Appends a value that is serialised already.
    pub(crate) fn splice(&mut self, json: &Bytes) {
        if self.in_batch || json.len() < SPLICE {
            self.json.extend_from_slice(json);
        } else {
            self.spliced = Some((self.json.len(), json.clone()));
        }
    }

    /// Takes everything back.
    pub(crate) fn clear(&mut self) {
        self.json.clear();
        self.spliced = None;
    }
}

/// What a read works on: one view of the chain, from its beginning to its end.
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) view: Arc<View>,
    /// The pending block, once the read has asked for it.
    pub(crate) pending: Option<Arc<Pending>>,
    /// Set when an EVM call is out of time.
    pub(crate) cancel: Option<&'a AtomicBool>,
}

/// A block that a call is made in or a state is read after.
pub(crate) struct At<'a> {
    /// The state after the block.
    pub(crate) state: StateAt<'a>,
    /// The block's header.
    pub(crate) header: Arc<Header>,
}

impl<'a> Context<'a> {
    /// Fails once the request is out of time. For loops over blocks.
    pub(crate) fn check_time(&self) -> Result<(), RpcError> {
        match self.cancel {
            Some(cancel) if cancel.load(Ordering::Relaxed) => Err(RpcError::Timeout),
            _ => Ok(()),
        }
    }

    /// The pending block.
    pub(crate) fn pending(&self) -> Result<&Arc<Pending>, Stop> {
        self.pending.as_ref().ok_or(Stop::NeedsPending)
    }

    /// The state that a block parameter means; the head's when there is none.
    pub(crate) fn state(&self, id: Option<BlockId>) -> Result<StateAt<'a>, Stop> {
        let reads = &self.shared.reads;
        match id {
            None | Some(BlockId::Tag(BlockTag::Latest)) => Ok(reads.state_at_head(&self.view)),
            Some(BlockId::Tag(BlockTag::Pending)) => {
                let diff = Arc::clone(&self.pending()?.executed.diff);
                Ok(reads.pending_state(&self.view, diff))
            }
            Some(id) => {
                let block = reads.resolve_state(&self.view, id)?;
                Ok(reads.state_at(&self.view, block))
            }
        }
    }

    /// The state and the header that a block parameter means.
    pub(crate) fn at(&self, id: Option<BlockId>) -> Result<At<'a>, Stop> {
        let state = self.state(id)?;
        let header = if id == Some(BlockId::Tag(BlockTag::Pending)) {
            Arc::new(self.pending()?.block().header().clone())
        } else {
            let header = self.shared.reads.header(&self.view, &state.block().hash)?;
            header.ok_or_else(|| RpcError::server("header not found"))?
        };
        Ok(At { state, header })
    }

    /// The canonical block of a tag that is not `pending`; `None` when there is no such block.
    pub(crate) fn canonical(&self, tag: BlockTag) -> Result<Option<BlockRef>, Stop> {
        if tag == BlockTag::Pending {
            return Err(Stop::NeedsPending);
        }
        Ok(self.shared.reads.resolve_tag(&self.view, tag)?)
    }

    /// Any block held, whole.
    pub(crate) fn block(&self, hash: &alloy_primitives::B256) -> Result<Option<Arc<RecoveredBlock>>, Stop> {
        Ok(self.shared.reads.block(&self.view, hash)?)
    }

    /// The block of a tag, whole.
    pub(crate) fn block_at(&self, tag: BlockTag) -> Result<Option<Arc<RecoveredBlock>>, Stop> {
        if tag == BlockTag::Pending {
            return Ok(Some(Arc::clone(&self.pending()?.executed.block)));
        }
        match self.canonical(tag)? {
            Some(block) => self.block(&block.hash),
            None => Ok(None),
        }
    }
}

/// A failed state read as a method's error.
pub(crate) fn state_error(error: StateError) -> Stop {
    Stop::Failed(error.into())
}
