//! `quintet import --chain.url`: the files' blocks into a chain service that runs.

use super::import::{End, Report, Run, Source, SourceError, Track};
use crate::error::NodeError;
use bytes::Bytes;
use futures::stream;
use quintet_chain::{StageTimes, Summary};
use quintet_chain_api::{ChainClient, ImportFailure};
use quintet_service::Service;
use quintet_service::grpc::Transport;
use quintet_types::{Block, BlockRef};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Blocks on their way to the service; when it is full, the files are not read on.
const QUEUE: usize = 64;
/// How long an import may take: whether the service is there is looked after by keepalives of the connection.
const IMPORT_DEADLINE: Duration = Duration::from_hours(24 * 30);
/// How long the service may take to say where it stands.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Imports `source` into the chain service at `url`.
///
/// # Errors
/// When the address is none, or the service cannot be reached. What ended the import is in the outcome.
pub(super) fn run(
    url: &str,
    source: Source<'_>,
    check_work: bool,
    runtime: &Handle,
) -> Result<Run, NodeError> {
    let transport = Transport::remote(Service::Chain, url, IMPORT_DEADLINE).map_err(NodeError::ChainUrl)?;
    let client = ChainClient::new(transport);
    let start = Instant::now();
    let track = Arc::clone(&source.track);
    track.set_known(head(&client, runtime)?.number);
    let report = Report::new(Arc::clone(&track), source.size);
    let (queue, queued) = mpsc::channel::<Bytes>(QUEUE);
    let blocks = stream::unfold(queued, |mut queued| async { Some((queued.recv().await?, queued)) });
    let importing = client.clone();
    let answer = runtime.spawn(async move { importing.import_blocks(blocks, check_work).await });
    let (sent, ended) = thread::scope(|scope| {
        let reporter = scope.spawn(|| report.until_done());
        let _end = End::of(&report, &reporter);
        feed(source, &queue, &report, start)
    });
    drop(queue);
    let answer = runtime.block_on(answer).map_err(|error| NodeError::Runtime(error.into()))?;
    let head = head(&client, runtime)?;
    let done = sent.map(|sent| Summary { head, elapsed: start.elapsed(), ..sent });
    let done = match &answer {
        Ok(summary) => {
            done.map(|done| Summary { blocks: summary.imported, skipped: summary.skipped, ..done })
        }
        Err(_) => done,
    };
    let outcome = match (answer, ended) {
        (Err(failure), _) => Err(refused(failure, &track)),
        (Ok(_), Some(SourceError::File(error))) => Err(error.into()),
        (Ok(_), Some(SourceError::Interrupted)) => Err(NodeError::Interrupted),
        (Ok(_), None) => Ok(()),
    };
    Ok(Run { done, head, elapsed: start.elapsed(), outcome })
}

fn head(client: &ChainClient, runtime: &Handle) -> Result<BlockRef, NodeError> {
    let answer = runtime.block_on(async { tokio::time::timeout(ANSWER_DEADLINE, client.head()).await });
    let answer = answer.map_err(|_| NodeError::ChainSilent { deadline: ANSWER_DEADLINE })?;
    Ok(answer?.head)
}

/// Sends blocks until the source or the service ends it. Says what was sent of blocks that were not there, and why the
/// source ended before its time.
fn feed(
    mut source: Source<'_>,
    queue: &mpsc::Sender<Bytes>,
    report: &Report,
    start: Instant,
) -> (Option<Summary>, Option<SourceError>) {
    let mut sent = None;
    while let Some(next) = source.next_raw() {
        let (block, rlp) = match next {
            Ok(next) => next,
            Err(error) => return (sent, Some(error)),
        };
        if queue.blocking_send(rlp.into()).is_err() {
            break;
        }
        if !source.track.is_known(block.header.number) {
            sent = Some(add(sent, &source.track, &block, start));
            report.set_newest(sent);
        }
    }
    (sent, None)
}

fn add(sent: Option<Summary>, track: &Track, block: &Block, start: Instant) -> Summary {
    let nothing = BlockRef { number: 0, hash: alloy_primitives::B256::ZERO };
    let sent = sent.unwrap_or(Summary {
        blocks: 0,
        skipped: 0,
        transactions: 0,
        gas: 0,
        elapsed: Duration::ZERO,
        head: nothing,
        stages: StageTimes::default(),
    });
    Summary {
        blocks: sent.blocks + 1,
        transactions: sent.transactions + block.body.transactions.len() as u64,
        gas: sent.gas + block.header.gas_used,
        elapsed: start.elapsed(),
        head: BlockRef { number: block.header.number, hash: track.newest_hash() },
        ..sent
    }
}

/// The error, with the place of the block that it is about.
fn refused(failure: ImportFailure, track: &Track) -> NodeError {
    let place = failure.block.and_then(|hash| track.place_of(&hash));
    match place {
        Some(place) => NodeError::ImportRefused { place, source: failure.error },
        None => failure.error.into(),
    }
}
