//! Files of blocks, as geth's `export` writes them: the RLP of one block after another with nothing between, plain or
//! packed by gzip.

mod read;
mod write;

pub(crate) use read::{ChainFile, ChainFileError, Place};
pub(crate) use write::{ExportError, ExportFile};
