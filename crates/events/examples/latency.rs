//! How long it takes from a block's publishing until a subscriber in another bus holds it, over a private Redis:
//! `cargo run --release -p quintet-events --example latency -- [BLOCKS] [TRANSACTIONS IN EACH]`.

use alloy_consensus::{SignableTransaction as _, TxLegacy};
use alloy_primitives::{Address, B256, Signature, U256};
use quintet_events::{Event, EventBus as _, RedisBus, Topics};
use quintet_redis::{Keyspace, Redis};
use quintet_testkit::redis::Redis as Server;
use quintet_types::{
    Account, AccountDiff, Block, BlockDelta, BlockRef, ChainEvent, ExecutedBlock, Header, RecoveredBlock,
    StateDiff, TraceContext,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause between two blocks.
const PAUSE: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let count = arguments.next().unwrap_or(1_000);
    let transactions = arguments.next().unwrap_or(150);
    let server = Server::start();
    let network = B256::random();
    let bus = || {
        let redis = Redis::new(&server.url(0)).expect("an address");
        RedisBus::new(redis, Keyspace::of(&network))
    };
    let (publisher, reader) = (bus(), bus());
    let mut subscription = reader.subscribe(Topics::ALL, None);
    subscription.ready().await;
    let receive = tokio::spawn(async move {
        let mut received = Vec::new();
        while received.len() < usize::try_from(count).expect("a count") {
            match subscription.next().await {
                Some(Ok(Event::Chain(_))) => received.push(Instant::now()),
                other => panic!("expected a block, got {other:?}"),
            }
        }
        received
    });
    let mut parent = BlockRef::default();
    let mut published = Vec::new();
    for _ in 0..count {
        let delta = block(parent, transactions);
        parent = delta.block_ref();
        published.push(Instant::now());
        publisher.publish(ChainEvent::Block(Arc::new(delta)).into()).await.expect("published");
        tokio::time::sleep(PAUSE).await;
    }
    let received = receive.await.expect("received");
    let mut times: Vec<_> = published.iter().zip(&received).map(|(from, to)| *to - *from).collect();
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{count} blocks of {transactions} transactions: p50 {:?}, p99 {:?}, most {:?}",
        at(50),
        at(99),
        at(100)
    );
}

/// A block of transfers.
fn block(parent: BlockRef, transactions: u64) -> BlockDelta {
    let header = Header { number: parent.number + 1, parent_hash: parent.hash, ..Header::default() };
    let hash = header.hash_slow();
    let mut block = Block { header, ..Block::default() };
    let mut diff = StateDiff::default();
    let mut senders = Vec::new();
    for nonce in 0..transactions {
        let transaction = TxLegacy { nonce, gas_limit: 21_000, ..TxLegacy::default() };
        block.body.transactions.push(transaction.into_signed(Signature::test_signature()).into());
        let sender = Address::random();
        senders.push(sender);
        let account = Account { nonce, balance: U256::from(nonce), ..Account::new(0) };
        let storage = [(U256::from_be_bytes(B256::random().0), U256::from(nonce))].into();
        diff.accounts.insert(sender, AccountDiff { before: None, after: Some(account), storage });
    }
    let executed = ExecutedBlock {
        block: Arc::new(RecoveredBlock { hash, block, senders }),
        receipts: Arc::default(),
        diff: Arc::new(diff),
        total_difficulty: U256::ZERO,
    };
    BlockDelta { executed, trace: TraceContext::default() }
}
