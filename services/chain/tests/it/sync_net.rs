//! A simulated network: peers with chains of their own, which answer after a time of their own, truthfully or not.

use alloy_primitives::{B256, Bytes, U256};
use futures::StreamExt;
use futures::stream::BoxStream;
use quintet_chain::peers::{
    AccountRange, GetAccountRange, GetByteCodes, GetStorageRanges, GetTrieNodes, StorageRanges,
};
use quintet_chain::sync::{
    Change, Fault, HeadersRequest, Kind, Network, PeerHead, PeerId, PeerView, RequestError, Start, Sync,
    SyncOptions,
};
use quintet_chain::{BulkOptions, Chain};
use quintet_store::Store;
use quintet_types::{Block, BlockRef, Body, ExecutedBlock, Header, Receipts};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Changes an answer; `None` is no answer.
type Tamper<Q, A> = Box<dyn Fn(&Q, Vec<A>) -> Option<Vec<A>> + Send + std::marker::Sync>;

/// What a peer has, and how it behaves.
pub(crate) struct SimPeer {
    pub(crate) id: PeerId,
    /// Its chain, genesis first.
    pub(crate) blocks: Vec<Block>,
    places: HashMap<B256, usize>,
    pub(crate) head: PeerHead,
    pub(crate) latency: Duration,
    /// How many items it is thought to give.
    pub(crate) capacity: usize,
    /// Bodies of one answer at most.
    pub(crate) most_bodies: usize,
    pub(crate) headers: Option<Tamper<HeadersRequest, Header>>,
    pub(crate) bodies: Option<Tamper<Vec<B256>, Body>>,
    /// Where its receipts are; it has none without.
    store: Option<Arc<dyn Store>>,
    receipts: Option<Tamper<Vec<B256>, Receipts>>,
    /// How many requests it has been asked.
    pub(crate) asked: AtomicUsize,
    pub(crate) bodies_given: AtomicUsize,
    pub(crate) receipts_given: AtomicUsize,
}

impl SimPeer {
    /// An honest one at the end of a chain, which begins with genesis.
    pub(crate) fn new(id: u8, blocks: &[Block]) -> Self {
        let hashes: Vec<_> = blocks.iter().map(|block| block.header.hash_slow()).collect();
        let difficulty: U256 = blocks.iter().map(|block| block.header.difficulty).sum();
        let hash = *hashes.last().expect("genesis");
        Self {
            id: B256::repeat_byte(id),
            blocks: blocks.to_vec(),
            places: hashes.iter().enumerate().map(|(place, hash)| (*hash, place)).collect(),
            head: PeerHead { hash, number: None, total_difficulty: Some(difficulty) },
            latency: Duration::from_millis(50),
            capacity: 32,
            most_bodies: 128,
            headers: None,
            bodies: None,
            store: None,
            receipts: None,
            asked: AtomicUsize::new(0),
            bodies_given: AtomicUsize::new(0),
            receipts_given: AtomicUsize::new(0),
        }
    }

    /// Speaks `eth/69`: numbers, no difficulties.
    pub(crate) fn modern(mut self) -> Self {
        self.head.number = Some(self.blocks.len() as u64 - 1);
        self.head.total_difficulty = None;
        self
    }

    pub(crate) fn claiming(mut self, total_difficulty: U256) -> Self {
        self.head.total_difficulty = Some(total_difficulty);
        self
    }

    pub(crate) fn slow(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    pub(crate) fn with_headers(
        mut self,
        tamper: impl Fn(&HeadersRequest, Vec<Header>) -> Option<Vec<Header>> + Send + std::marker::Sync + 'static,
    ) -> Self {
        self.headers = Some(Box::new(tamper));
        self
    }

    pub(crate) fn with_bodies(
        mut self,
        tamper: impl Fn(&Vec<B256>, Vec<Body>) -> Option<Vec<Body>> + Send + std::marker::Sync + 'static,
    ) -> Self {
        self.bodies = Some(Box::new(tamper));
        self
    }

    /// Has the receipts of a node that executed its chain.
    pub(crate) fn with_store(mut self, store: &Arc<dyn Store>) -> Self {
        self.store = Some(Arc::clone(store));
        self
    }

    pub(crate) fn with_receipts(
        mut self,
        tamper: impl Fn(&Vec<B256>, Vec<Receipts>) -> Option<Vec<Receipts>> + Send + std::marker::Sync + 'static,
    ) -> Self {
        self.receipts = Some(Box::new(tamper));
        self
    }

    fn serve_receipts(&self, hashes: &Vec<B256>) -> Option<Vec<Receipts>> {
        assert!((1..=256).contains(&hashes.len()));
        let held = hashes.iter().filter(|hash| self.places.contains_key(*hash));
        let held = held.filter_map(|hash| self.store.as_ref()?.receipts(hash).unwrap());
        let receipts: Vec<_> = held.take(self.most_bodies).collect();
        let receipts = match &self.receipts {
            Some(tamper) => tamper(hashes, receipts),
            None => Some(receipts),
        };
        self.receipts_given.fetch_add(receipts.as_ref().map_or(0, Vec::len), Ordering::Relaxed);
        receipts
    }

    fn serve_headers(&self, request: &HeadersRequest) -> Option<Vec<Header>> {
        assert!((1..=192).contains(&request.limit), "{request:?}");
        let start = match request.start {
            Start::Number(number) => usize::try_from(number).unwrap(),
            Start::Hash(hash) => self.places.get(&hash).copied().unwrap_or(usize::MAX),
        };
        assert!(!request.reverse, "nobody asks for it");
        let step = usize::try_from(request.skip + 1).unwrap();
        let places =
            (0..request.limit).map(|index| start.saturating_add(usize::try_from(index).unwrap() * step));
        let headers =
            places.map_while(|place| self.blocks.get(place)).map(|block| block.header.clone()).collect();
        match &self.headers {
            Some(tamper) => tamper(request, headers),
            None => Some(headers),
        }
    }

    fn serve_bodies(&self, hashes: &Vec<B256>) -> Option<Vec<Body>> {
        assert!((1..=128).contains(&hashes.len()));
        let held = hashes.iter().filter_map(|hash| self.places.get(hash));
        let bodies: Vec<_> =
            held.take(self.most_bodies).map(|place| self.blocks[*place].body.clone()).collect();
        let bodies = match &self.bodies {
            Some(tamper) => tamper(hashes, bodies),
            None => Some(bodies),
        };
        self.bodies_given.fetch_add(bodies.as_ref().map_or(0, Vec::len), Ordering::Relaxed);
        bodies
    }
}

/// The peers.
pub(crate) struct SimNet {
    peers: Mutex<BTreeMap<PeerId, Arc<SimPeer>>>,
    changes: broadcast::Sender<Change>,
    pub(crate) faults: Mutex<Vec<(PeerId, Fault)>>,
    pub(crate) sent: Mutex<Vec<(B256, U256)>>,
    pub(crate) announced: Mutex<Vec<BlockRef>>,
    pub(crate) synced: AtomicUsize,
}

impl SimNet {
    pub(crate) fn new(peers: impl IntoIterator<Item = SimPeer>) -> Arc<Self> {
        let peers = peers.into_iter().map(|peer| (peer.id, Arc::new(peer))).collect();
        Arc::new(Self {
            peers: Mutex::new(peers),
            changes: broadcast::Sender::new(1024),
            faults: Mutex::default(),
            sent: Mutex::default(),
            announced: Mutex::default(),
            synced: AtomicUsize::new(0),
        })
    }

    pub(crate) fn join(&self, peer: SimPeer) {
        let id = peer.id;
        let known = self.peers.lock().unwrap().insert(id, Arc::new(peer)).is_some();
        self.tell(if known { Change::Head(id) } else { Change::Up(id) });
    }

    pub(crate) fn leave(&self, id: PeerId) {
        self.peers.lock().unwrap().remove(&id);
        self.tell(Change::Down(id));
    }

    pub(crate) fn tell(&self, change: Change) {
        let _ = self.changes.send(change);
    }

    pub(crate) fn peer(&self, id: u8) -> Option<Arc<SimPeer>> {
        self.peers.lock().unwrap().get(&B256::repeat_byte(id)).cloned()
    }

    /// What a peer was blamed for.
    pub(crate) fn faults_of(&self, id: u8) -> Vec<Fault> {
        let faults = self.faults.lock().unwrap();
        faults
            .iter()
            .filter(|(peer, _)| *peer == B256::repeat_byte(id))
            .map(|(_, fault)| fault.clone())
            .collect()
    }

    pub(crate) fn has_no_faults(&self) {
        assert_eq!(*self.faults.lock().unwrap(), []);
    }

    async fn answer<A>(
        &self,
        peer: PeerId,
        serve: impl FnOnce(&SimPeer) -> Option<Vec<A>>,
    ) -> Result<Vec<A>, RequestError> {
        let served = self.peers.lock().unwrap().get(&peer).cloned().ok_or(RequestError::Gone)?;
        served.asked.fetch_add(1, Ordering::Relaxed);
        if served.latency > TIMEOUT {
            tokio::time::sleep(TIMEOUT).await;
            return Err(RequestError::Timeout);
        }
        tokio::time::sleep(served.latency).await;
        if !self.peers.lock().unwrap().contains_key(&peer) {
            return Err(RequestError::Gone);
        }
        if let Some(answer) = serve(&served) {
            return Ok(answer);
        }
        tokio::time::sleep(TIMEOUT).await;
        Err(RequestError::Timeout)
    }
}

/// What requests take at most while nothing is known of the peers' speed.
const TIMEOUT: Duration = Duration::from_mins(1);

#[tonic::async_trait]
impl Network for SimNet {
    fn peers(&self) -> Vec<PeerView> {
        self.peers
            .lock()
            .unwrap()
            .values()
            .map(|peer| PeerView { id: peer.id, head: peer.head, earliest: None, snap: false })
            .collect()
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        let changes = tokio_stream::wrappers::BroadcastStream::new(self.changes.subscribe());
        changes.filter_map(|change| async { change.ok() }).boxed()
    }

    async fn headers(&self, peer: PeerId, request: HeadersRequest) -> Result<Vec<Header>, RequestError> {
        self.answer(peer, |peer| peer.serve_headers(&request)).await
    }

    async fn bodies(&self, peer: PeerId, hashes: Vec<B256>) -> Result<Vec<Body>, RequestError> {
        self.answer(peer, |peer| peer.serve_bodies(&hashes)).await
    }

    async fn receipts(&self, peer: PeerId, hashes: Vec<B256>) -> Result<Vec<Receipts>, RequestError> {
        self.answer(peer, |peer| peer.serve_receipts(&hashes)).await
    }

    // States are fetched over the wire, in `snap.rs`.
    async fn account_range(&self, _: PeerId, _: GetAccountRange) -> Result<AccountRange, RequestError> {
        Err(RequestError::Gone)
    }

    async fn storage_ranges(&self, _: PeerId, _: GetStorageRanges) -> Result<StorageRanges, RequestError> {
        Err(RequestError::Gone)
    }

    async fn byte_codes(&self, _: PeerId, _: GetByteCodes) -> Result<Vec<Bytes>, RequestError> {
        Err(RequestError::Gone)
    }

    async fn trie_nodes(&self, _: PeerId, _: GetTrieNodes) -> Result<Vec<Bytes>, RequestError> {
        Err(RequestError::Gone)
    }

    fn capacity(&self, peer: PeerId, _: Kind, _: Duration) -> usize {
        self.peers.lock().unwrap().get(&peer).map_or(1, |peer| peer.capacity)
    }

    fn penalise(&self, peer: PeerId, fault: &Fault) {
        self.faults.lock().unwrap().push((peer, fault.clone()));
        if fault.is_severe() {
            self.leave(peer);
        }
    }

    fn broadcast_block(&self, block: &Block, total_difficulty: U256) {
        self.sent.lock().unwrap().push((block.header.hash_slow(), total_difficulty));
    }

    fn announce_block(&self, block: BlockRef) {
        self.announced.lock().unwrap().push(block);
    }

    fn synced(&self) {
        self.synced.fetch_add(1, Ordering::Relaxed);
    }
}

/// Genesis and the blocks on it.
pub(crate) fn whole_chain(genesis: Block, blocks: &[ExecutedBlock]) -> Vec<Block> {
    let blocks = blocks.iter().map(|executed| executed.block.block.clone());
    std::iter::once(genesis).chain(blocks).collect()
}

/// Sync that is under way, and ends with this.
pub(crate) struct Syncing {
    pub(crate) sync: Sync,
    chain: Arc<Chain>,
    token: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
}

impl Syncing {
    pub(crate) fn start(chain: &Arc<Chain>, net: &Arc<SimNet>) -> Self {
        let bulk = BulkOptions { batch_blocks: 32, threads: 2, ..BulkOptions::default() };
        let patience = Duration::from_millis(3);
        let options = SyncOptions { bulk, patience, ..SyncOptions::default() };
        Self::with(chain, net, options)
    }

    pub(crate) fn with(chain: &Arc<Chain>, net: &Arc<SimNet>, options: SyncOptions) -> Self {
        let network = Arc::clone(net) as Arc<dyn Network>;
        let sync = Sync::new(Arc::clone(chain), network, options);
        let token = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(sync.clone().run(token.clone()));
        tasks.spawn(sync.clone().fetch_blocks(token.clone()));
        Self { sync, chain: Arc::clone(chain), token, tasks }
    }

    /// Waits until a condition holds; invented time passes.
    pub(crate) async fn until(&self, limit: Duration, what: &str, mut holds: impl FnMut(&Chain) -> bool) {
        let wait = async {
            while !holds(&self.chain) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let done = tokio::time::timeout(limit, wait).await.is_ok();
        assert!(done, "{what} within {limit:?}; the head is {:?}", self.chain.head().block);
    }

    pub(crate) async fn until_head(&self, limit: Duration, hash: B256) {
        self.until(limit, "the head is reached", |chain| chain.head().block.hash == hash).await;
    }

    pub(crate) async fn stop(mut self) {
        self.token.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
