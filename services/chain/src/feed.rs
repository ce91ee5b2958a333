//! `ImportBlocks`: a stream of blocks, fed to the pipeline of bulk imports.

use crate::bulk::{BulkOptions, ImportError, Summary};
use crate::chain::Chain;
use crate::error::ChainError;
use crate::import::Seals;
use quintet_chain_api::{BLOCK_HASH_METADATA, block_from_bytes};
use quintet_proto::chain::v1::ImportBlocksRequest;
use quintet_types::Block;
use std::iter;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::{Status, Streaming};

/// Blocks between the stream and the pipeline, whose own queues are bounded by bytes. When it is full the stream is
/// not read on, and the sender waits.
const QUEUE: usize = 64;
/// How long the stream may stand still: nobody else can import meanwhile.
const STILLNESS: Duration = Duration::from_secs(30);

/// Imports a stream's blocks.
///
/// # Errors
/// What ended the import, with the block that it is about. Every block before is imported.
pub(crate) async fn import(
    chain: Arc<Chain>,
    mut blocks: Streaming<ImportBlocksRequest>,
    token: &CancellationToken,
) -> Result<Summary, Status> {
    let Some(first) = next(&mut blocks, token).await? else {
        return Err(ChainError::InvalidRequest("stream: no blocks").to_status());
    };
    let seals = if first.verify_seal { Seals::Checked } else { Seals::Trusted };
    let options = BulkOptions { seals, ..BulkOptions::default() };
    let (queue, mut queued) = mpsc::channel::<Result<Block, Status>>(QUEUE);
    let span = tracing::Span::current();
    let work = tokio::task::spawn_blocking(move || {
        let _entered = span.entered();
        chain.import_chain(iter::from_fn(|| queued.blocking_recv()), &options, &|_| {})
    });
    let mut next_block = Some(first);
    while let Some(request) = next_block {
        let block = block_from_bytes(&request.block)
            .map_err(|_| ChainError::InvalidRequest("block: not the RLP of one").to_status());
        let last = block.is_err();
        // The pipeline ends before the stream does when a block is refused.
        if queue.send(block).await.is_err() || last {
            break;
        }
        next_block = match next(&mut blocks, token).await {
            Ok(next) => next,
            Err(status) => {
                let _ = queue.send(Err(status)).await;
                break;
            }
        };
    }
    drop(queue);
    let imported = work.await.map_err(|error| ChainError::from(error).to_status())?;
    imported.map_err(|error| match error {
        ImportError::Source(status) => status,
        ImportError::Chain(error) => refused(&error),
    })
}

/// The stream's next block.
async fn next(
    blocks: &mut Streaming<ImportBlocksRequest>,
    token: &CancellationToken,
) -> Result<Option<ImportBlocksRequest>, Status> {
    match token.run_until_cancelled(tokio::time::timeout(STILLNESS, blocks.message())).await {
        None => Err(Status::unavailable("the chain service is shutting down")),
        Some(Err(_)) => Err(Status::deadline_exceeded(format!("no block came within {STILLNESS:?}"))),
        Some(Ok(message)) => message,
    }
}

/// The status, which names the block at fault.
fn refused(error: &ChainError) -> Status {
    let mut status = error.to_status();
    if let ChainError::InvalidBlock { hash, .. } | ChainError::UnknownAncestor { hash, .. } = error {
        status.metadata_mut().insert_bin(BLOCK_HASH_METADATA, MetadataValue::from_bytes(hash.as_slice()));
    }
    status
}
