//! Measures the store on the node's own load: transfers of ether, which change two accounts, and of tokens,
//! which change one account and two slots and log an event, half of each.
//!
//! `cargo run --release -p quintet-store --example load [DIRECTORY | postgres://… | postgres]...`: each store
//! in turn, by default an embedded one and PostgreSQL in temporary directories; a plain `postgres` is a
//! private server.

#![expect(clippy::cast_precision_loss, reason = "rates are printed, not computed with")]

use alloy_consensus::{Eip658Value, Receipt, ReceiptWithBloom, SignableTransaction, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, Log, Signature, TxKind, U256};
use quintet_store::{Commit, Durability, Options, Store, TrieFlush, is_postgres, open_at};
use quintet_testkit::postgres::{Fsync, Postgres};
use quintet_types::{
    Account, Block, BlockRef, Body, ExecutedBlock, Header, RecoveredBlock, StateDiff, Transaction,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Accounts that pay each other.
const ACCOUNTS: u64 = 200_000;
/// Transactions in a block: with their senders, recipients and slots about 2,000 rows.
const TRANSACTIONS: u64 = 570;

/// Contracts that keep tokens.
const TOKENS: u64 = 20;

struct Load {
    random: SmallRng,
    nonces: u64,
    parent: Option<BlockRef>,
}

impl Load {
    fn new() -> Self {
        Self { random: SmallRng::seed_from_u64(1), nonces: 0, parent: None }
    }

    /// The next block, and how many rows it writes.
    fn block(&mut self) -> (ExecutedBlock, u64) {
        let number = self.parent.map_or(0, |parent| parent.number + 1);
        let mut diff = StateDiff::default();
        let (mut transactions, mut senders, mut receipts) = (Vec::new(), Vec::new(), Vec::new());
        for index in 1..=TRANSACTIONS {
            let (from, to) = (self.account(), self.account());
            senders.push(from);
            self.pay(&mut diff, from);
            let mut logs = Vec::new();
            if index % 2 == 0 {
                let token = account(ACCOUNTS + self.random.random_range(0..TOKENS));
                let change = diff.accounts.entry(token).or_default();
                let contract = Account { nonce: 1, code_hash: B256::repeat_byte(7), ..Account::new(0) };
                (change.before, change.after) = (Some(contract), Some(contract));
                for holder in [from, to] {
                    let slot = alloy_primitives::keccak256(holder);
                    change.storage.insert(slot.into(), U256::from(self.random.random::<u64>()));
                }
                let topics = vec![B256::repeat_byte(9), from.into_word(), to.into_word()];
                logs.push(Log::new_unchecked(token, topics, vec![1; 32].into()));
                transactions.push(transaction(self.nonces, token, vec![3; 68].into()));
            } else {
                self.pay(&mut diff, to);
                transactions.push(transaction(self.nonces, to, Bytes::new()));
            }
            receipts.push(receipt(index, logs));
            self.nonces += 1;
        }
        let slots: usize = diff.accounts.values().map(|change| change.storage.len()).sum();
        let rows = TRANSACTIONS * 3 / 2 + (diff.accounts.len() + slots) as u64 + 3;
        let header = Header {
            number,
            parent_hash: self.parent.map_or(B256::ZERO, |parent| parent.hash),
            ..Header::default()
        };
        let block = RecoveredBlock {
            hash: header.hash_slow(),
            block: Block { header, body: Body { transactions, ommers: vec![], withdrawals: None } },
            senders,
        };
        self.parent = Some(block.block_ref());
        let executed = ExecutedBlock {
            block: Arc::new(block),
            receipts: Arc::new(receipts),
            diff: Arc::new(diff),
            total_difficulty: U256::from(number),
        };
        (executed, rows)
    }

    fn pay(&mut self, diff: &mut StateDiff, address: Address) {
        let balance = U256::from(self.random.random::<u64>());
        let account = Account { nonce: self.nonces, balance, ..Account::new(0) };
        diff.accounts.entry(address).or_default().after = Some(account);
    }

    fn account(&mut self) -> Address {
        account(self.random.random_range(0..ACCOUNTS))
    }
}

fn account(index: u64) -> Address {
    Address::from_word(alloy_primitives::keccak256(index.to_be_bytes()))
}

fn transaction(nonce: u64, to: Address, input: Bytes) -> Transaction {
    let tx = TxLegacy {
        nonce,
        to: TxKind::Call(to),
        gas_limit: 60_000,
        gas_price: 1_000_000_007,
        value: U256::from(1_234_567_890_123_456_789_u64),
        input,
        ..TxLegacy::default()
    };
    Transaction::Legacy(tx.into_signed(Signature::test_signature()))
}

fn receipt(index: u64, logs: Vec<Log>) -> quintet_types::Receipt {
    let cumulative_gas_used = index * 36_000;
    let receipt = Receipt { status: Eip658Value::Eip658(true), cumulative_gas_used, logs };
    quintet_types::Receipt::Legacy(ReceiptWithBloom::from(receipt))
}

/// CPU time, in seconds, that this process and the processes of PostgreSQL's servers have used so far.
/// Processes that ended count where their parent has seen it.
fn cpu() -> (f64, f64) {
    /// The kernel's clock ticks in a second.
    const TICKS: f64 = 100.0;
    let used = |path: &Path, ended: bool| {
        let stat = std::fs::read_to_string(path).ok()?;
        let fields: Vec<u64> = stat
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .skip(11)
            .map_while(|field| field.parse().ok())
            .collect();
        Some(fields.iter().take(if ended { 4 } else { 2 }).sum::<u64>() as f64 / TICKS)
    };
    let mut servers = 0.0;
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if name.trim() == "postgres" {
            servers += used(&process.path().join("stat"), true).unwrap_or_default();
        }
    }
    (used(Path::new("/proc/self/stat"), false).unwrap_or_default(), servers)
}

/// Commits `commits` times `blocks` blocks and prints how fast that was.
fn write(store: &dyn Store, load: &mut Load, commits: u32, blocks: u32) -> Result<(), Box<dyn Error>> {
    let (mut rows, mut spent, mut slowest) = (0, Duration::ZERO, Duration::ZERO);
    let (mut own_cpu, mut server_cpu) = (0.0, 0.0);
    for _ in 0..commits {
        let mut batch = Vec::new();
        for _ in 0..blocks {
            let (block, count) = load.block();
            rows += count;
            batch.push(block);
        }
        // Executing a block hashes its transactions; that is not the store's time.
        for block in &batch {
            block.block.block.body.transactions.iter().for_each(|transaction| {
                black_box(transaction.tx_hash());
            });
        }
        let (started, (own, servers)) = (Instant::now(), cpu());
        store.commit(Commit { blocks: batch, ..Commit::default() })?;
        spent += started.elapsed();
        slowest = slowest.max(started.elapsed());
        let (own_after, servers_after) = cpu();
        own_cpu += own_after - own;
        server_cpu += servers_after - servers;
    }
    let transactions = f64::from(commits * blocks) * TRANSACTIONS as f64;
    println!(
        "{blocks:>3} blocks a commit: {:>9.0} rows/s, {:>7.0} transactions/s, {:>7.1?} a commit, slowest {slowest:.1?}; \
         CPU a transaction: {:.1} µs here, {:.1} µs in the server",
        rows as f64 / spent.as_secs_f64(),
        transactions / spent.as_secs_f64(),
        spent / commits,
        own_cpu * 1e6 / transactions,
        server_cpu * 1e6 / transactions,
    );
    Ok(())
}

/// Reads random accounts at random blocks and prints how fast that was.
fn read(store: &dyn Store, threads: u64, heads: bool) -> Result<(), Box<dyn Error>> {
    let reads = if store.reads_block() { 20_000 } else { 1_000_000 };
    let head = store.head()?.map_or(0, |head| head.number);
    let addresses: Vec<_> = (0..ACCOUNTS).map(account).collect();
    let started = Instant::now();
    let found: u64 = std::thread::scope(|scope| {
        let work = |seed| {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut found = 0;
            let mut state = store.state_at(head).expect("the head is there");
            for round in 0..reads {
                if round % 100 == 0 {
                    let block = if heads { head } else { random.random_range(0..=head) };
                    state = store.state_at(block).expect("the block is there");
                }
                let index = random.random_range(0..addresses.len());
                found += u64::from(state.account(&addresses[index]).expect("a read").is_some());
            }
            found
        };
        let threads: Vec<_> = (0..threads).map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a reader")).sum()
    });
    let rate = (threads * reads) as f64 / started.elapsed().as_secs_f64();
    let at = if heads { "the head" } else { "random blocks" };
    println!(
        "{threads} threads at {at:<13}: {rate:>9.0} reads/s, {:.0} % found",
        100.0 * found as f64 / (threads * reads) as f64
    );
    Ok(())
}

/// Reads many random accounts at the head at once.
fn read_many(store: &dyn Store) -> Result<(), Box<dyn Error>> {
    let head = store.head()?.map_or(0, |head| head.number);
    let mut random = SmallRng::seed_from_u64(3);
    for size in [100, 1000] {
        let rounds = 20;
        let started = Instant::now();
        for _ in 0..rounds {
            let addresses: Vec<_> = (0..size).map(|_| account(random.random_range(0..ACCOUNTS))).collect();
            black_box(store.accounts_at(&addresses, head)?);
        }
        println!("{size:>4} accounts at once: {:.1?} each", started.elapsed() / (rounds * size));
    }
    Ok(())
}

/// Writes nodes of a trie three times: into an empty table, others, and half of them again.
fn trie(store: &dyn Store) -> Result<(), Box<dyn Error>> {
    const NODES: u64 = 50_000;
    let block = store.head()?.ok_or("no block")?;
    for range in [0..NODES, NODES..2 * NODES, NODES / 2..3 * NODES / 2] {
        let key = |index: u64| alloy_primitives::keccak256(index.to_le_bytes())[..8].to_vec();
        let nodes = range.map(|index| (key(index), Some(vec![5; 100].into()))).collect();
        let (started, (own, servers)) = (Instant::now(), cpu());
        let trie = Some(TrieFlush { block, wiped_prefixes: vec![], nodes });
        store.commit(Commit { trie, ..Commit::default() })?;
        let (own_after, servers_after) = cpu();
        println!(
            "{NODES} nodes of the trie in {:.1?}; CPU a node: {:.1} µs here, {:.1} µs in the server",
            started.elapsed(),
            (own_after - own) * 1e6 / NODES as f64,
            (servers_after - servers) * 1e6 / NODES as f64,
        );
    }
    Ok(())
}

fn measure(location: &str, durability: Durability) -> Result<(), Box<dyn Error>> {
    println!("{} {durability:?}:", if is_postgres(location) { "PostgreSQL" } else { "embedded" });
    let store = open_at(location, &Options { durability, ..Options::default() })?;
    let mut load = Load::new();
    write(&*store, &mut load, 50, 1)?;
    write(&*store, &mut load, 20, 25)?;
    write(&*store, &mut load, 50, 1)?;
    trie(&*store)?;
    for threads in [1, 2] {
        read(&*store, threads, true)?;
        read(&*store, threads, false)?;
    }
    read_many(&*store)?;
    let started = Instant::now();
    let states = if store.reads_block() { 5_000 } else { 100_000 };
    for _ in 0..states {
        black_box(store.state_at(50)?);
    }
    println!("a state reader is made in {:.2?}", started.elapsed() / states);
    for table in store.stats()? {
        let each = table.bytes.checked_div(table.entries).unwrap_or_default();
        println!("  {:<13} {:>9} rows {:>12} bytes, {each} a row", table.name, table.entries, table.bytes);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let mut locations: Vec<_> = std::env::args().skip(1).collect();
    if locations.is_empty() {
        locations = vec![temporary.path().to_string_lossy().into_owned(), "postgres".to_owned()];
    }
    for location in locations {
        if is_postgres(&location) {
            measure(&location, Durability::Lazy)?;
        } else if location == "postgres" {
            let settings = ["shared_buffers=256MB", "max_wal_size=4GB", "wal_compression=lz4"];
            let server = Postgres::start_with(Fsync::On, &settings);
            for durability in [Durability::Sync, Durability::Lazy] {
                measure(&server.create_database(), durability)?;
            }
        } else {
            for durability in [Durability::Sync, Durability::Lazy, Durability::None] {
                let path = Path::new(&location).join(format!("{durability:?}"));
                measure(&path.to_string_lossy(), durability)?;
            }
        }
    }
    Ok(())
}
