//! The chain service's table of contents: each call decodes, makes one domain call, and encodes.

use crate::chain::Chain;
use crate::error::ChainError;
use crate::feed;
use crate::import::Imported;
use crate::peers::Peers;
use crate::sync::SyncStatus;
use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use quintet_chain_api::{
    BuildRequest, MINING_WAITS, PendingVersion, block_from_bytes, block_id, executed_to_proto,
    pooled_to_proto, quantity, rlp,
};
use quintet_chainspec::{Fork, Genesis};
use quintet_consensus::fork_of;
use quintet_events::{Event, Topics};
use quintet_proto::chain::v1 as proto;
use quintet_proto::chain::v1::chain_service_server::{ChainService, ChainServiceServer};
use quintet_proto::common::v1 as common;
use quintet_service::Service;
use quintet_txpool::Origin;
use quintet_types::{Block, BlockRef, ChainEvent, ExecutedBlock, PoolEvent, RecoveredBlock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;

/// The gRPC face of a [`Chain`]. Cheap to clone.
#[derive(Clone)]
pub struct ChainServer {
    chain: Arc<Chain>,
    /// The last pending block; callers that ask at the same time share one build.
    pending: Arc<Mutex<Option<(PendingVersion, ExecutedBlock)>>>,
    /// Who is told of blocks that are submitted.
    peers: Option<Peers>,
    /// Ends streams at shutdown.
    token: CancellationToken,
    /// How far a sync with peers is.
    sync: Arc<SyncStatus>,
}

impl ChainServer {
    /// Serves `chain`; streams end when `token` is cancelled.
    pub fn new(chain: Arc<Chain>, token: CancellationToken) -> Self {
        Self { chain, pending: Arc::default(), peers: None, token, sync: Arc::default() }
    }

    /// Tells peers of the blocks that are submitted.
    #[must_use]
    pub fn with_peers(self, peers: Peers) -> Self {
        Self { peers: Some(peers), ..self }
    }

    /// Tells of a sync, and lets mining wait for the first one.
    #[must_use]
    pub fn with_sync(self, sync: Arc<SyncStatus>) -> Self {
        Self { sync, ..self }
    }

    /// The generated server: for a port, or for `Transport::local`.
    pub fn into_server(self) -> ChainServiceServer<Self> {
        ChainServiceServer::new(self).max_decoding_message_size(quintet_chain_api::MESSAGE_LIMIT)
    }

    /// Runs blocking work of the chain off the async threads, within the caller's span.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Chain) -> Result<T, ChainError> + Send + 'static,
    ) -> Result<T, Status> {
        let chain = Arc::clone(&self.chain);
        let span = tracing::Span::current();
        let outcome = tokio::task::spawn_blocking(move || span.in_scope(|| work(&chain))).await;
        outcome.map_err(ChainError::from).and_then(|outcome| outcome).map_err(|error| error.to_status())
    }

    /// The pending block with its version; `None` when the caller's is still the one.
    async fn pending_block(
        &self,
        known: Option<PendingVersion>,
    ) -> Result<(PendingVersion, Option<ExecutedBlock>), Status> {
        let version = self.chain.pending_version();
        if known == Some(version) {
            return Ok((version, None));
        }
        let mut cached = self.pending.lock().await;
        // Who waited for another's build is served with it.
        let version = self.chain.pending_version();
        if let Some((_, block)) = cached.as_ref().filter(|(cached, _)| *cached == version) {
            return Ok((version, Some(block.clone())));
        }
        let block = self.blocking(Chain::pending).await?;
        *cached = Some((version, block.clone()));
        Ok((version, Some(block)))
    }
}

#[tonic::async_trait]
impl ChainService for ChainServer {
    type StreamEventsStream = BoxStream<'static, Result<proto::StreamEventsResponse, Status>>;

    async fn get_info(&self, _: Request<common::GetInfoRequest>) -> Answer<common::GetInfoResponse> {
        Ok(Response::new(quintet_service::info::get_info(Service::Chain)))
    }

    async fn get_head(&self, _: Request<proto::GetHeadRequest>) -> Answer<proto::GetHeadResponse> {
        let head = self.chain.head();
        let (safe, finalized) = self.blocking(Chain::finality).await?;
        Ok(Response::new(proto::GetHeadResponse {
            head: Some(block_id(head.block)),
            safe: safe.map(block_id),
            finalized: finalized.map(block_id),
            header: rlp(&head.header),
            total_difficulty: quantity(head.total_difficulty),
        }))
    }

    async fn get_chain_spec(
        &self,
        _: Request<proto::GetChainSpecRequest>,
    ) -> Answer<proto::GetChainSpecResponse> {
        let spec = &self.chain.spec;
        let genesis = Genesis { alloc: BTreeMap::default(), ..spec.genesis().clone() };
        let genesis_json = genesis.to_json().map_err(|error| ChainError::from(error).to_status())?;
        Ok(Response::new(proto::GetChainSpecResponse {
            genesis_json,
            genesis: Some(block_id(BlockRef { number: 0, hash: spec.genesis_hash() })),
            network_id: self.chain.config.network_id,
        }))
    }

    async fn get_sync_status(
        &self,
        _: Request<proto::GetSyncStatusRequest>,
    ) -> Answer<proto::GetSyncStatusResponse> {
        let progress = self.sync.progress(self.chain.head().block.number);
        let progress = progress.map(proto::SyncProgress::from);
        Ok(Response::new(proto::GetSyncStatusResponse { progress }))
    }

    async fn send_transaction(
        &self,
        request: Request<proto::SendTransactionRequest>,
    ) -> Answer<proto::SendTransactionResponse> {
        let request = request.into_inner();
        let origin = if request.local { Origin::Local } else { Origin::Remote };
        let sent = self.chain.pool.send(&request.transaction, origin, request.allow_unprotected).await;
        let outcome = if sent.is_ok() { "accepted" } else { "refused" };
        metrics::counter!("quintet_chain_pool_submissions_total", "outcome" => outcome).increment(1);
        let hash = sent.map_err(|error| error.to_status())?;
        Ok(Response::new(proto::SendTransactionResponse { hash: Bytes::copy_from_slice(hash.as_slice()) }))
    }

    async fn get_pool_transaction(
        &self,
        request: Request<proto::GetPoolTransactionRequest>,
    ) -> Answer<proto::GetPoolTransactionResponse> {
        let hash = hash(&request.get_ref().hash, "hash")?;
        let found = self.chain.pool.get(&hash);
        let transaction = found.map(|(tx, pending)| pooled_to_proto(&tx.transaction, tx.sender, pending));
        Ok(Response::new(proto::GetPoolTransactionResponse { transaction }))
    }

    async fn get_pool_content(
        &self,
        request: Request<proto::GetPoolContentRequest>,
    ) -> Answer<proto::GetPoolContentResponse> {
        let sender = &request.get_ref().sender;
        let (pending, queued) = if sender.is_empty() {
            let content = self.chain.pool.content();
            (
                content.pending.into_values().flatten().collect(),
                content.queued.into_values().flatten().collect(),
            )
        } else {
            self.chain.pool.content_from(&address(sender)?)
        };
        let encode = |list: Vec<Arc<quintet_types::PoolTransaction>>, pending| {
            list.into_iter().map(move |tx| pooled_to_proto(&tx.transaction, tx.sender, pending))
        };
        let transactions = encode(pending, true).chain(encode(queued, false)).collect();
        Ok(Response::new(proto::GetPoolContentResponse { transactions }))
    }

    async fn get_pool_status(
        &self,
        _: Request<proto::GetPoolStatusRequest>,
    ) -> Answer<proto::GetPoolStatusResponse> {
        let status = self.chain.pool.status();
        let (pending, queued) = (status.pending as u64, status.queued as u64);
        Ok(Response::new(proto::GetPoolStatusResponse { pending, queued }))
    }

    async fn get_pool_nonce(
        &self,
        request: Request<proto::GetPoolNonceRequest>,
    ) -> Answer<proto::GetPoolNonceResponse> {
        let address = address(&request.get_ref().address)?;
        let nonce = self.blocking(move |chain| chain.pool.nonce(&address)).await?;
        Ok(Response::new(proto::GetPoolNonceResponse { nonce }))
    }

    async fn set_pool_minimum_tip(
        &self,
        request: Request<proto::SetPoolMinimumTipRequest>,
    ) -> Answer<proto::SetPoolMinimumTipResponse> {
        self.chain.pool.set_minimum_tip(price(&request.get_ref().tip, "tip")?);
        Ok(Response::new(proto::SetPoolMinimumTipResponse {}))
    }

    async fn get_pending_block(
        &self,
        request: Request<proto::GetPendingBlockRequest>,
    ) -> Answer<proto::GetPendingBlockResponse> {
        let known = request.get_ref().known.as_ref().map(pending_version).transpose()?;
        let (version, block) = self.pending_block(known).await?;
        Ok(Response::new(proto::GetPendingBlockResponse {
            unchanged: block.is_none(),
            block: block.as_ref().map(executed_to_proto),
            version: Some(version.into()),
        }))
    }

    async fn build_block(
        &self,
        request: Request<proto::BuildBlockRequest>,
    ) -> Answer<proto::BuildBlockResponse> {
        if self.sync.holds_mining() || self.chain.is_fetching_state() {
            return Err(Status::unavailable(MINING_WAITS));
        }
        let request = build_request(request.into_inner())?;
        let Some(work) = self.blocking(move |chain| chain.build(&request)).await? else {
            return Ok(Response::new(proto::BuildBlockResponse::default()));
        };
        Ok(Response::new(proto::BuildBlockResponse {
            block: rlp(&work.block),
            seal_hash: Bytes::copy_from_slice(work.seal_hash.as_slice()),
            transactions: work.transactions,
            fees: quantity(work.fees),
        }))
    }

    async fn submit_block(
        &self,
        request: Request<proto::SubmitBlockRequest>,
    ) -> Answer<proto::SubmitBlockResponse> {
        let proto::SubmitBlockRequest { block, fencing_token } = request.into_inner();
        let block = block_from_bytes(&block).map_err(|_| bad("block"))?;
        let peers = self.peers.clone();
        let (block, canonical) = self
            .blocking(move |chain| {
                let block = recover(chain, block)?;
                let reference = block.block_ref();
                let mined = peers.filter(|peers| !peers.is_empty()).map(|peers| (peers, block.block.clone()));
                let imported = chain.import(block, fencing_token)?;
                if let (Some((peers, block)), Imported::Head) = (mined, imported) {
                    peers.tell_mined(&block);
                }
                Ok((reference, matches!(imported, Imported::Head | Imported::Known { canonical: true })))
            })
            .await?;
        Ok(Response::new(proto::SubmitBlockResponse { block: Some(block_id(block)), canonical }))
    }

    async fn import_blocks(
        &self,
        request: Request<Streaming<proto::ImportBlocksRequest>>,
    ) -> Answer<proto::ImportBlocksResponse> {
        let done = feed::import(Arc::clone(&self.chain), request.into_inner(), &self.token).await?;
        Ok(Response::new(proto::ImportBlocksResponse {
            imported: done.blocks,
            skipped: done.skipped,
            head: Some(block_id(done.head)),
        }))
    }

    async fn set_head(&self, request: Request<proto::SetHeadRequest>) -> Answer<proto::SetHeadResponse> {
        let number = request.get_ref().number;
        let head = self.blocking(move |chain| chain.rewind(number)).await?;
        Ok(Response::new(proto::SetHeadResponse { head: Some(block_id(head)) }))
    }

    async fn stream_events(
        &self,
        request: Request<proto::StreamEventsRequest>,
    ) -> Answer<Self::StreamEventsStream> {
        let request = request.into_inner();
        let cursor = match request.cursor {
            Some(cursor) => Some(BlockRef { number: cursor.number, hash: hash(&cursor.hash, "cursor")? }),
            None => None,
        };
        let topics = if request.pool { Topics::ALL } else { Topics::CHAIN };
        let subscription = self.chain.bus.subscribe(topics, cursor);
        let chain = Arc::clone(&self.chain);
        let events = futures::stream::unfold(subscription, |mut subscription| async move {
            subscription.next().await.map(|event| (event, subscription))
        });
        let events = events.take_until(self.token.clone().cancelled_owned());
        Ok(Response::new(events.map(move |event| Ok(event_to_proto(&chain, event))).boxed()))
    }
}

/// Recovers a block's senders; those of a block built here are known. A high-s signature (EIP-2) is refused
/// from Homestead on.
fn recover(chain: &Chain, block: Block) -> Result<RecoveredBlock, ChainError> {
    let hash = block.header.hash_slow();
    if let Some(senders) = chain.built_senders(&block.header) {
        return Ok(RecoveredBlock { hash, block, senders });
    }
    let low_s = fork_of(&chain.spec, &block.header) >= Fork::Homestead;
    let senders = quintet_types::recover_senders(&block.body.transactions, low_s).map_err(|error| {
        ChainError::InvalidBlock { number: block.header.number, hash, reason: error.to_string() }
    })?;
    Ok(RecoveredBlock { hash, block, senders })
}

fn build_request(request: proto::BuildBlockRequest) -> Result<BuildRequest, Status> {
    let optional =
        |bytes: &Bytes, what| if bytes.is_empty() { Ok(None) } else { hash(bytes, what).map(Some) };
    Ok(BuildRequest {
        parent_hash: optional(&request.parent_hash, "parent_hash")?,
        timestamp: request.timestamp,
        beneficiary: address(&request.beneficiary)?,
        extra_data: request.extra_data.into(),
        gas_limit_target: request.gas_limit_target,
        minimum_tip: price(&request.minimum_tip, "minimum_tip")?,
        prev_randao: optional(&request.prev_randao, "prev_randao")?.unwrap_or_default(),
        parent_beacon_block_root: optional(&request.parent_beacon_block_root, "parent_beacon_block_root")?,
        fill_budget: Duration::from_millis(u64::from(request.fill_budget_ms)),
        allow_empty: request.allow_empty,
        fencing_token: request.fencing_token,
    })
}

fn event_to_proto(chain: &Chain, event: Result<Event, quintet_events::Gap>) -> proto::StreamEventsResponse {
    use proto::stream_events_response::Event as Message;
    let (traceparent, event) = match event {
        Ok(Event::Chain(ChainEvent::Block(delta))) => {
            (delta.trace.0.to_string(), Message::Block(executed_to_proto(&delta.executed)))
        }
        Ok(Event::Chain(ChainEvent::Reverted(blocks))) => {
            let blocks = blocks.iter().copied().map(block_id).collect();
            (String::new(), Message::Reverted(proto::Reverted { blocks }))
        }
        Ok(Event::Pool(PoolEvent::Pending(tx))) => {
            let message = pooled_to_proto(&tx.transaction, tx.sender, true);
            (tx.trace.0.to_string(), Message::PendingTransaction(message))
        }
        Err(gap) => {
            let head = gap.head.unwrap_or_else(|| chain.head().block);
            (String::new(), Message::Gap(proto::Gap { head: Some(block_id(head)) }))
        }
    };
    proto::StreamEventsResponse { traceparent, event: Some(event) }
}

fn pending_version(version: &proto::PendingVersion) -> Result<PendingVersion, Status> {
    Ok(PendingVersion {
        parent: hash(&version.parent_hash, "known.parent_hash")?,
        pool: version.pool_version,
    })
}

fn bad(what: &'static str) -> Status {
    ChainError::InvalidRequest(what).to_status()
}

fn hash(bytes: &[u8], what: &'static str) -> Result<B256, Status> {
    B256::try_from(bytes).map_err(|_| bad(what))
}

fn address(bytes: &[u8]) -> Result<Address, Status> {
    Address::try_from(bytes).map_err(|_| bad("address"))
}

fn price(bytes: &[u8], what: &'static str) -> Result<u128, Status> {
    let value = U256::try_from_be_slice(bytes).ok_or_else(|| bad(what))?;
    u128::try_from(value).map_err(|_| bad(what))
}
