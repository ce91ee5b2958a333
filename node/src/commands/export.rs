//! `quintet export`: the canonical chain as a file, as geth's `export` does it.
//!
//! Without a range all blocks are written, the genesis block too, and the file is made anew. With one, its blocks are
//! appended to what the file holds.

use super::to_its_end;
use crate::chainfile::ExportFile;
use crate::cli::ExportArgs;
use crate::error::NodeError;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use alloy_primitives::B256;
use quintet_chain::ChainError;
use quintet_store::Store;
use quintet_types::Block;
use std::ops::RangeInclusive;
use std::time::Instant;

/// Exports blocks.
///
/// # Errors
/// When there are no such blocks, or the file cannot be written: it is as it was before then.
pub(crate) fn export(args: &ExportArgs) -> Result<(), NodeError> {
    to_its_end(&args.logging, |interrupt| {
        let start = Instant::now();
        let store = args.data.open_to_read()?;
        let head = store.head()?.ok_or(ChainError::Uninitialised)?;
        let (first, last) = (args.first.unwrap_or(0), args.last.unwrap_or(head.number));
        if first > last {
            return Err(NodeError::Range { first, last });
        }
        if last > head.number {
            return Err(NodeError::AboveHead { number: last, head: head.number });
        }
        let mut file = ExportFile::create(&args.file, args.first.is_some())?;
        write(store.as_ref(), first..=last, &mut file, interrupt)?;
        file.finish()?;
        println!(
            "Exported blocks {first} to {last} to {} in {:.3} s",
            args.file.display(),
            start.elapsed().as_secs_f64()
        );
        Ok(())
    })
}

fn write(
    store: &dyn Store,
    range: RangeInclusive<u64>,
    file: &mut ExportFile,
    interrupt: &Interrupt,
) -> Result<(), NodeError> {
    let mut progress = Progress::blocks("Exporting", *range.start(), *range.end());
    let mut previous: Option<B256> = None;
    for number in range {
        if interrupt.requested() {
            return Err(NodeError::Interrupted);
        }
        let hash = store.canonical_hash(number)?.ok_or(NodeError::Gap { number })?;
        let missing =
            || NodeError::Damaged { number, hash, what: "its header or body is missing".to_owned() };
        let header = store.header(&hash)?.ok_or_else(missing)?;
        let body = store.body(&hash)?.ok_or_else(missing)?;
        // A node that runs meanwhile may replace the newest blocks.
        if previous.is_some_and(|previous| previous != header.parent_hash) {
            return Err(NodeError::Reorganised { number });
        }
        previous = Some(hash);
        file.write(&alloy_rlp::encode(Block { header, body }))?;
        progress.at_block(number);
    }
    Ok(())
}
