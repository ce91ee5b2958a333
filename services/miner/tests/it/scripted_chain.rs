//! A chain that takes any block on its head, and has as many pending transactions as the test says.

use alloy_consensus::{SignableTransaction, TxEnvelope, TxLegacy};
use alloy_primitives::{Address, B256, Signature, U256};
use bytes::Bytes;
use parking_lot::Mutex;
use quintet_chain_api::{block_from_bytes, pooled_to_proto};
use quintet_events::{EventBus, LocalBus};
use quintet_proto::chain::v1 as proto;
use quintet_proto::chain::v1::chain_service_server::ChainService;
use quintet_proto::chain::v1::stream_events_response::Event;
use quintet_proto::common::v1::{BlockId, GetInfoRequest, GetInfoResponse};
use quintet_types::{
    Block, BlockDelta, Body, ChainEvent, ExecutedBlock, Header, PoolEvent, PoolTransaction, RecoveredBlock,
    TraceContext,
};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// Transactions that fit a block.
pub(crate) const BLOCK_CAPACITY: u32 = 10;

/// The chain. Clones are the same.
#[derive(Clone)]
pub(crate) struct ScriptedChain {
    pub(crate) bus: Arc<dyn EventBus>,
    cut: Arc<AtomicBool>,
    stream: broadcast::Sender<proto::StreamEventsResponse>,
    state: Arc<Mutex<State>>,
}

/// A block that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Submission {
    pub(crate) token: u64,
    pub(crate) number: u64,
    pub(crate) taken: bool,
}

#[derive(Default)]
struct State {
    headers: Vec<Header>,
    pending: u32,
    nonce: u64,
    down: bool,
    newest_token: u64,
    submissions: Vec<Submission>,
    builds: Vec<proto::BuildBlockRequest>,
    transactions: Vec<u32>,
}

impl ScriptedChain {
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(LocalBus::new()))
    }

    /// A chain that publishes on this bus.
    pub(crate) fn on(bus: Arc<dyn EventBus>) -> Self {
        let state = State { headers: vec![genesis()], ..State::default() };
        Self {
            bus,
            cut: Arc::default(),
            stream: broadcast::channel(64).0,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The same chain over a link of its own, which may be cut.
    pub(crate) fn link(&self) -> Self {
        Self { cut: Arc::default(), ..self.clone() }
    }

    /// Cuts this link, or mends it: calls over it fail with `UNAVAILABLE`.
    pub(crate) fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    /// It becomes another network, without a block.
    pub(crate) fn change_network(&self) {
        self.state.lock().headers = vec![Header { gas_limit: 1, ..genesis() }];
    }

    /// Calls fail with `UNAVAILABLE` while it is down.
    pub(crate) fn set_down(&self, down: bool) {
        self.state.lock().down = down;
    }

    /// A transaction comes into the pool, and is told of on the bus and on the stream.
    pub(crate) async fn add_transaction(&self) {
        self.add_traced_transaction(TraceContext::default()).await;
    }

    /// The same, with the trace that brought it.
    pub(crate) async fn add_traced_transaction(&self, trace: TraceContext) {
        let nonce = {
            let mut state = self.state.lock();
            state.pending += 1;
            state.nonce += 1;
            state.nonce
        };
        let transaction = transaction(nonce);
        let message = pooled_to_proto(&transaction, Address::ZERO, true);
        // Nobody may listen.
        let _ = self.stream.send(proto::StreamEventsResponse {
            event: Some(Event::PendingTransaction(message)),
            traceparent: trace.0.to_string(),
        });
        let (hash, sender) = (*transaction.tx_hash(), Address::ZERO);
        let pooled = PoolTransaction { hash, sender, transaction, trace };
        // The bus may be away.
        let _ = self.bus.publish(PoolEvent::Pending(Arc::new(pooled)).into()).await;
    }

    /// The canonical headers above genesis.
    pub(crate) fn blocks(&self) -> Vec<Header> {
        self.state.lock().headers[1..].to_vec()
    }

    /// Number of transactions in each block above genesis.
    pub(crate) fn transactions(&self) -> Vec<u32> {
        self.state.lock().transactions.clone()
    }

    /// The blocks that were handed in.
    pub(crate) fn submissions(&self) -> Vec<Submission> {
        self.state.lock().submissions.clone()
    }

    /// The newest token that it has seen.
    pub(crate) fn newest_token(&self) -> u64 {
        self.state.lock().newest_token
    }

    /// It has seen this token, of a miner that nobody here knows.
    pub(crate) fn see_token(&self, token: u64) {
        self.state.lock().newest_token = token;
    }

    /// What was asked to be built.
    pub(crate) fn builds(&self) -> Vec<proto::BuildBlockRequest> {
        self.state.lock().builds.clone()
    }

    /// Waits until there are `count` blocks above genesis.
    pub(crate) async fn wait_for_blocks(&self, count: usize) {
        self.wait_until(&format!("{count} blocks"), |chain| chain.blocks().len() >= count).await;
    }

    pub(crate) async fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), waiting).await.is_ok(), "no {what} in time");
    }

    fn check_up(&self) -> Result<(), Status> {
        let down = self.state.lock().down || self.cut.load(Ordering::Relaxed);
        if down { Err(Status::unavailable("down")) } else { Ok(()) }
    }

    /// As chain does: a token may rise, and not fall.
    fn check_token(&self, token: u64) -> Result<(), Status> {
        let mut state = self.state.lock();
        let newest = state.newest_token;
        if token != 0 && token < newest {
            return Err(Status::failed_precondition(format!(
                "fencing token {token} is lower than {newest}, which another miner used: the lease is lost"
            )));
        }
        state.newest_token = newest.max(token);
        Ok(())
    }

    /// Makes a block the head.
    fn commit(&self, block: &Block) -> Result<ChainEvent, Status> {
        let mut state = self.state.lock();
        let header = block.header.clone();
        let parent = state.headers.last().expect("genesis");
        if header.parent_hash != parent.hash_slow() || header.timestamp <= parent.timestamp {
            return Err(Status::failed_precondition("not on the head"));
        }
        let transactions = u32::try_from(block.body.transactions.len()).expect("few");
        state.pending -= transactions;
        state.transactions.push(transactions);
        state.headers.push(header.clone());
        let block = RecoveredBlock { hash: header.hash_slow(), block: block.clone(), senders: Vec::new() };
        let executed = ExecutedBlock {
            block: Arc::new(block),
            receipts: Arc::default(),
            diff: Arc::default(),
            total_difficulty: U256::ZERO,
        };
        Ok(ChainEvent::Block(Arc::new(BlockDelta { executed, trace: TraceContext::default() })))
    }
}

/// The genesis header of every scripted chain.
pub(crate) fn genesis() -> Header {
    Header { timestamp: 1_700_000_000, gas_limit: 30_000_000, ..Header::default() }
}

fn block_id(header: &Header) -> BlockId {
    BlockId { number: header.number, hash: Bytes::copy_from_slice(header.hash_slow().as_slice()) }
}

/// Answers the methods that a miner does not call. Written as `async_trait` expands them, which does not look into
/// macros.
macro_rules! not_called {
    ($($method:ident($request:ty) -> $response:ty),* $(,)?) => {
        $(fn $method<'a, 'b>(
            &'a self,
            _: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(std::future::ready(Err(Status::unimplemented("the miner does not call this"))))
        })*
    };
}

#[tonic::async_trait]
impl ChainService for ScriptedChain {
    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<proto::StreamEventsResponse, Status>> + Send>>;

    async fn get_head(
        &self,
        _: Request<proto::GetHeadRequest>,
    ) -> Result<Response<proto::GetHeadResponse>, Status> {
        self.check_up()?;
        let header = self.state.lock().headers.last().expect("genesis").clone();
        let rlp = alloy_rlp::encode(&header).into();
        let head = Some(block_id(&header));
        Ok(Response::new(proto::GetHeadResponse { head, header: rlp, ..Default::default() }))
    }

    async fn get_chain_spec(
        &self,
        _: Request<proto::GetChainSpecRequest>,
    ) -> Result<Response<proto::GetChainSpecResponse>, Status> {
        self.check_up()?;
        let genesis = Some(block_id(&self.state.lock().headers[0]));
        Ok(Response::new(proto::GetChainSpecResponse { genesis, ..Default::default() }))
    }

    async fn get_pool_status(
        &self,
        _: Request<proto::GetPoolStatusRequest>,
    ) -> Result<Response<proto::GetPoolStatusResponse>, Status> {
        self.check_up()?;
        let pending = self.state.lock().pending.into();
        Ok(Response::new(proto::GetPoolStatusResponse { pending, queued: 0 }))
    }

    async fn build_block(
        &self,
        request: Request<proto::BuildBlockRequest>,
    ) -> Result<Response<proto::BuildBlockResponse>, Status> {
        self.check_up()?;
        let request = request.into_inner();
        self.check_token(request.fencing_token)?;
        let mut state = self.state.lock();
        state.builds.push(request.clone());
        let parent = state.headers.last().expect("genesis").clone();
        if parent.hash_slow().as_slice() != request.parent_hash.as_ref() {
            return Err(Status::not_found("unknown parent"));
        }
        let transactions = state.pending.min(BLOCK_CAPACITY);
        if transactions == 0 && !request.allow_empty {
            return Ok(Response::new(proto::BuildBlockResponse::default()));
        }
        let header = Header {
            parent_hash: parent.hash_slow(),
            number: parent.number + 1,
            timestamp: request.timestamp,
            beneficiary: Address::from_slice(&request.beneficiary),
            extra_data: request.extra_data.into(),
            gas_limit: request.gas_limit_target,
            gas_used: u64::from(transactions) * 21_000,
            mix_hash: B256::from_slice(&request.prev_randao),
            ..Header::default()
        };
        let seal_hash = Bytes::copy_from_slice(header.hash_slow().as_slice());
        let first = state.nonce - u64::from(state.pending) + 1;
        let included = (first..first + u64::from(transactions)).map(|nonce| transaction(nonce).into());
        let body = Body { transactions: included.collect(), ..Body::default() };
        let block = alloy_rlp::encode(Block { header, body }).into();
        Ok(Response::new(proto::BuildBlockResponse { block, seal_hash, transactions, fees: Bytes::new() }))
    }

    async fn submit_block(
        &self,
        request: Request<proto::SubmitBlockRequest>,
    ) -> Result<Response<proto::SubmitBlockResponse>, Status> {
        self.check_up()?;
        let proto::SubmitBlockRequest { block, fencing_token: token } = request.into_inner();
        let block = block_from_bytes(&block).map_err(|_| Status::invalid_argument("block"))?;
        let committed = self.check_token(token).and_then(|()| self.commit(&block));
        let submission = Submission { token, number: block.header.number, taken: committed.is_ok() };
        self.state.lock().submissions.push(submission);
        let event = committed?;
        // As in `add_transaction`.
        let gap = Event::Gap(proto::Gap { head: Some(block_id(&block.header)) });
        let _ = self.stream.send(proto::StreamEventsResponse { event: Some(gap), ..Default::default() });
        let _ = self.bus.publish(event.into()).await;
        Ok(Response::new(proto::SubmitBlockResponse {
            block: Some(block_id(&block.header)),
            canonical: true,
        }))
    }

    async fn stream_events(
        &self,
        _: Request<proto::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let events = BroadcastStream::new(self.stream.subscribe());
        Ok(Response::new(Box::pin(events.map(|event| event.map_err(|_| Status::data_loss("lagged"))))))
    }

    not_called! {
        import_blocks(Streaming<proto::ImportBlocksRequest>) -> proto::ImportBlocksResponse,
        get_info(GetInfoRequest) -> GetInfoResponse,
        get_sync_status(proto::GetSyncStatusRequest) -> proto::GetSyncStatusResponse,
        send_transaction(proto::SendTransactionRequest) -> proto::SendTransactionResponse,
        get_pool_transaction(proto::GetPoolTransactionRequest) -> proto::GetPoolTransactionResponse,
        get_pool_content(proto::GetPoolContentRequest) -> proto::GetPoolContentResponse,
        get_pool_nonce(proto::GetPoolNonceRequest) -> proto::GetPoolNonceResponse,
        set_pool_minimum_tip(proto::SetPoolMinimumTipRequest) -> proto::SetPoolMinimumTipResponse,
        get_pending_block(proto::GetPendingBlockRequest) -> proto::GetPendingBlockResponse,
        set_head(proto::SetHeadRequest) -> proto::SetHeadResponse,
    }
}

/// The pending transaction with this nonce.
fn transaction(nonce: u64) -> TxEnvelope {
    TxEnvelope::Legacy(TxLegacy { nonce, ..TxLegacy::default() }.into_signed(Signature::test_signature()))
}
