//! The gRPC client, in domain types. Cheap to clone; the same over a process-local and a remote transport.

use crate::convert::{self, block_id, block_ref, from_quantity, from_rlp, hash, quantity, rlp};
use crate::{
    BuildRequest, BuiltWork, ChainError, ChainHead, ChainUpdate, ImportFailure, ImportSummary, NetworkInfo,
    PendingAnswer, PendingVersion, PoolStatus, PooledTransaction, Submitted, SyncProgress,
};
use alloy_primitives::{Address, B256, Bytes, U256};
use futures::{Stream, StreamExt};
use quintet_proto::chain::v1::{self as proto, chain_service_client::ChainServiceClient};
use quintet_service::grpc::Transport;
use quintet_types::{Block, BlockRef};
use std::pin::Pin;
use tonic::Status;

/// Events from a cursor on; ends when `chain` goes away.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<ChainUpdate, ChainError>> + Send>>;

/// Metadata of a failed import: the hash of the block that it is about.
pub const BLOCK_HASH_METADATA: &str = "quintet-block-hash-bin";

/// Bytes that one message may have: a block with its receipts and state changes, or a large pool.
pub const MESSAGE_LIMIT: usize = 1 << 30;

/// A client of the chain service.
#[derive(Clone, Debug)]
pub struct ChainClient {
    rpc: ChainServiceClient<Transport>,
}

impl ChainClient {
    /// A client over `transport`.
    pub fn new(transport: Transport) -> Self {
        let rpc = ChainServiceClient::new(transport)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        Self { rpc }
    }

    /// The head, the safe and the finalized block.
    pub async fn head(&self) -> Result<ChainHead, ChainError> {
        let response = self.rpc.clone().get_head(proto::GetHeadRequest {}).await?.into_inner();
        let head = response.head.as_ref().ok_or(ChainError::Malformed("no head"))?;
        Ok(ChainHead {
            head: block_ref(head)?,
            safe: response.safe.as_ref().map(block_ref).transpose()?,
            finalized: response.finalized.as_ref().map(block_ref).transpose()?,
            header: from_rlp(&response.header, "header")?,
            total_difficulty: from_quantity(&response.total_difficulty, "total difficulty")?,
        })
    }

    /// Which network `chain` is of. Whoever works with it compares the genesis block's hash with its own.
    pub async fn chain_spec(&self) -> Result<NetworkInfo, ChainError> {
        let response = self.rpc.clone().get_chain_spec(proto::GetChainSpecRequest {}).await?.into_inner();
        let genesis = response.genesis.as_ref().ok_or(ChainError::Malformed("no genesis"))?;
        Ok(NetworkInfo {
            genesis: block_ref(genesis)?.hash,
            network_id: response.network_id,
            genesis_json: response.genesis_json,
        })
    }

    /// The genesis block: which network this is.
    pub async fn genesis(&self) -> Result<BlockRef, ChainError> {
        let response = self.rpc.clone().get_chain_spec(proto::GetChainSpecRequest {}).await?.into_inner();
        response.genesis.as_ref().map_or(Err(ChainError::Malformed("no genesis")), block_ref)
    }

    /// Progress of a sync; `None` when not syncing.
    pub async fn sync_status(&self) -> Result<Option<SyncProgress>, ChainError> {
        let response = self.rpc.clone().get_sync_status(proto::GetSyncStatusRequest {}).await?.into_inner();
        Ok(response.progress.map(SyncProgress::from))
    }

    /// Adds a transaction (EIP-2718 bytes, a blob transaction with its sidecar) to the pool; returns its hash
    /// once it is in the durable journal. `local` exempts it from price eviction; `allow_unprotected` takes
    /// it without replay protection (EIP-155).
    pub async fn send_transaction(
        &self,
        transaction: Bytes,
        local: bool,
        allow_unprotected: bool,
    ) -> Result<B256, ChainError> {
        let request =
            proto::SendTransactionRequest { transaction: transaction.into(), local, allow_unprotected };
        let response = self.rpc.clone().send_transaction(request).await?.into_inner();
        hash(&response.hash, "transaction hash")
    }

    /// One transaction of the pool.
    pub async fn pool_transaction(&self, hash: B256) -> Result<Option<PooledTransaction>, ChainError> {
        let request =
            proto::GetPoolTransactionRequest { hash: bytes::Bytes::copy_from_slice(hash.as_slice()) };
        let response = self.rpc.clone().get_pool_transaction(request).await?.into_inner();
        response.transaction.as_ref().map(convert::pooled_from_proto).transpose()
    }

    /// The pool's transactions, of one account or of all.
    pub async fn pool_content(&self, sender: Option<Address>) -> Result<Vec<PooledTransaction>, ChainError> {
        let sender =
            sender.map(|sender| bytes::Bytes::copy_from_slice(sender.as_slice())).unwrap_or_default();
        let request = proto::GetPoolContentRequest { sender };
        let response = self.rpc.clone().get_pool_content(request).await?.into_inner();
        response.transactions.iter().map(convert::pooled_from_proto).collect()
    }

    /// Counts of the pool.
    pub async fn pool_status(&self) -> Result<PoolStatus, ChainError> {
        let response = self.rpc.clone().get_pool_status(proto::GetPoolStatusRequest {}).await?.into_inner();
        Ok(PoolStatus { pending: response.pending, queued: response.queued })
    }

    /// The account's next nonce, with its pending transactions counted.
    pub async fn pool_nonce(&self, address: Address) -> Result<u64, ChainError> {
        let request =
            proto::GetPoolNonceRequest { address: bytes::Bytes::copy_from_slice(address.as_slice()) };
        Ok(self.rpc.clone().get_pool_nonce(request).await?.into_inner().nonce)
    }

    /// Sets the pool's minimum tip, in wei per gas.
    pub async fn set_pool_minimum_tip(&self, tip: u128) -> Result<(), ChainError> {
        let request = proto::SetPoolMinimumTipRequest { tip: quantity(U256::from(tip)) };
        self.rpc.clone().set_pool_minimum_tip(request).await?;
        Ok(())
    }

    /// The block that would be sealed now on the head, executed; or that it is still the one which the caller holds.
    pub async fn pending_block(&self, known: Option<PendingVersion>) -> Result<PendingAnswer, ChainError> {
        let request = proto::GetPendingBlockRequest { known: known.map(Into::into) };
        let response = self.rpc.clone().get_pending_block(request).await?.into_inner();
        if response.unchanged && known.is_some() {
            return Ok(PendingAnswer::Unchanged);
        }
        let block = response.block.as_ref().ok_or(ChainError::Malformed("no pending block"))?;
        let version = response.version.ok_or(ChainError::Malformed("no pending version"))?;
        let parent = hash(&version.parent_hash, "pending version")?;
        let version = PendingVersion { parent, pool: version.pool_version };
        Ok(PendingAnswer::Block { executed: convert::executed_from_proto(block)?, version })
    }

    /// Fills a block; `None` when there was nothing to include and empty blocks are not wanted.
    pub async fn build_block(&self, request: BuildRequest) -> Result<Option<BuiltWork>, ChainError> {
        let request = proto::BuildBlockRequest {
            parent_hash: optional_hash(request.parent_hash),
            timestamp: request.timestamp,
            beneficiary: bytes::Bytes::copy_from_slice(request.beneficiary.as_slice()),
            extra_data: request.extra_data.into(),
            gas_limit_target: request.gas_limit_target,
            minimum_tip: quantity(U256::from(request.minimum_tip)),
            prev_randao: bytes::Bytes::copy_from_slice(request.prev_randao.as_slice()),
            parent_beacon_block_root: optional_hash(request.parent_beacon_block_root),
            fill_budget_ms: u32::try_from(request.fill_budget.as_millis()).unwrap_or(u32::MAX),
            allow_empty: request.allow_empty,
            fencing_token: request.fencing_token,
        };
        let response = self.rpc.clone().build_block(request).await?.into_inner();
        if response.block.is_empty() {
            return Ok(None);
        }
        Ok(Some(BuiltWork {
            block: convert::block_from_bytes(&response.block)?,
            seal_hash: hash(&response.seal_hash, "seal hash")?,
            transactions: response.transactions,
            fees: from_quantity(&response.fees, "fees")?,
        }))
    }

    /// Imports a sealed block; answers once it is committed. `fencing_token` is the miner's lease, 0 without one.
    pub async fn submit_block(&self, block: &Block, fencing_token: u64) -> Result<Submitted, ChainError> {
        let request = proto::SubmitBlockRequest { block: rlp(block), fencing_token };
        let response = self.rpc.clone().submit_block(request).await?.into_inner();
        let block = response.block.as_ref().ok_or(ChainError::Malformed("no block id"))?;
        Ok(Submitted { block: block_ref(block)?, canonical: response.canonical })
    }

    /// Imports blocks, each as its RLP, in the order of the stream. What ends the stream before its time is the
    /// caller's to know. The answer may take as long as the stream: there is no deadline of its own.
    ///
    /// # Errors
    /// What ended the import; every block before is imported.
    pub async fn import_blocks(
        &self,
        blocks: impl Stream<Item = bytes::Bytes> + Send + 'static,
        verify_seal: bool,
    ) -> Result<ImportSummary, ImportFailure> {
        let requests = blocks.map(move |block| proto::ImportBlocksRequest { block, verify_seal });
        let response = self.rpc.clone().import_blocks(requests).await.map_err(import_failure)?.into_inner();
        let head = response.head.as_ref().ok_or(ChainError::Malformed("no head")).and_then(block_ref);
        let head = head.map_err(|error| ImportFailure { error, block: None })?;
        Ok(ImportSummary { imported: response.imported, skipped: response.skipped, head })
    }

    /// Streams block deltas after `cursor` (from the head on without one), and pool events if asked for.
    pub async fn events(&self, cursor: Option<BlockRef>, pool: bool) -> Result<EventStream, ChainError> {
        let request = proto::StreamEventsRequest { cursor: cursor.map(block_id), pool };
        let stream = self.rpc.clone().stream_events(request).await?.into_inner();
        Ok(stream.map(|message| convert::update_from_proto(&message?)).boxed())
    }
}

fn import_failure(status: Status) -> ImportFailure {
    let block = status.metadata().get_bin(BLOCK_HASH_METADATA).and_then(|value| value.to_bytes().ok());
    let block = block.and_then(|bytes| B256::try_from(bytes.as_ref()).ok());
    ImportFailure { error: status.into(), block }
}

fn optional_hash(hash: Option<B256>) -> bytes::Bytes {
    hash.map(|hash| bytes::Bytes::copy_from_slice(hash.as_slice())).unwrap_or_default()
}
