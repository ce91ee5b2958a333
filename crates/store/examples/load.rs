//! Measures the embedded store on the node's own load: simple transfers, so that each transaction is one
//! location and two account versions, beside a storage slot for every second one.
//!
//! `cargo run --release -p quintet-store --example load [DIRECTORY]` (default: a temporary one).

#![expect(clippy::cast_precision_loss, reason = "rates are printed, not computed with")]

use alloy_consensus::{Eip658Value, Receipt, ReceiptWithBloom, SignableTransaction, TxLegacy};
use alloy_primitives::{Address, B256, Signature, TxKind, U256};
use quintet_store::{Commit, Durability, Options, Store, open};
use quintet_types::{
    Account, AccountDiff, Block, BlockRef, Body, ExecutedBlock, Header, RecoveredBlock, StateDiff,
    Transaction,
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

struct Load {
    random: SmallRng,
    nonces: u64,
    parent: Option<BlockRef>,
}

impl Load {
    /// The next block, and how many rows it writes.
    fn block(&mut self) -> (ExecutedBlock, u64) {
        let number = self.parent.map_or(0, |parent| parent.number + 1);
        let mut diff = StateDiff::default();
        let mut transactions = Vec::new();
        let mut senders = Vec::new();
        for index in 0..TRANSACTIONS {
            let (from, to) = (self.account(), self.account());
            transactions.push(transfer(self.nonces, to));
            senders.push(from);
            for address in [from, to] {
                let after = Account {
                    nonce: self.nonces,
                    balance: U256::from(self.random.random::<u64>()),
                    ..Account::new(0)
                };
                let change = diff.accounts.entry(address).or_insert_with(AccountDiff::default);
                change.after = Some(after);
                if index % 2 == 0 {
                    change.storage.insert(U256::from(self.random.random_range(0..1000)), after.balance);
                }
            }
            self.nonces += 1;
        }
        let slots: usize = diff.accounts.values().map(|change| change.storage.len()).sum();
        let rows = TRANSACTIONS + (diff.accounts.len() + slots) as u64 + 7;
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
            receipts: Arc::new((1..=TRANSACTIONS).map(receipt).collect()),
            diff: Arc::new(diff),
            total_difficulty: U256::from(number),
        };
        (executed, rows)
    }

    fn account(&mut self) -> Address {
        account(self.random.random_range(0..ACCOUNTS))
    }
}

fn account(index: u64) -> Address {
    Address::from_word(alloy_primitives::keccak256(index.to_be_bytes()))
}

fn transfer(nonce: u64, to: Address) -> Transaction {
    let tx = TxLegacy { nonce, to: TxKind::Call(to), gas_limit: 21_000, ..TxLegacy::default() };
    Transaction::Legacy(tx.into_signed(Signature::test_signature()))
}

fn receipt(index: u64) -> quintet_types::Receipt {
    let cumulative_gas_used = index * 21_000;
    let receipt = Receipt { status: Eip658Value::Eip658(true), cumulative_gas_used, logs: vec![] };
    quintet_types::Receipt::Legacy(ReceiptWithBloom::from(receipt))
}

/// Commits `commits` times `blocks` blocks and prints how fast that was.
fn write(store: &dyn Store, load: &mut Load, commits: u32, blocks: u32) -> Result<(), Box<dyn Error>> {
    let (mut rows, mut spent, mut slowest) = (0, Duration::ZERO, Duration::ZERO);
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
        let started = Instant::now();
        store.commit(Commit { blocks: batch, ..Commit::default() })?;
        spent += started.elapsed();
        slowest = slowest.max(started.elapsed());
    }
    println!(
        "{blocks:>3} blocks a commit: {:>9.0} rows/s, {:>7.0} transactions/s, {:>7.1?} a commit, slowest {slowest:.1?}",
        rows as f64 / spent.as_secs_f64(),
        f64::from(commits * blocks) * TRANSACTIONS as f64 / spent.as_secs_f64(),
        spent / commits,
    );
    Ok(())
}

/// Reads random accounts at random blocks and prints how fast that was.
fn read(store: &dyn Store, threads: u64, heads: bool) -> Result<(), Box<dyn Error>> {
    const READS: u64 = 1_000_000;
    let head = store.head()?.map_or(0, |head| head.number);
    let addresses: Vec<_> = (0..ACCOUNTS).map(account).collect();
    let started = Instant::now();
    let found: u64 = std::thread::scope(|scope| {
        let work = |seed| {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut found = 0;
            let mut state = store.state_at(head).expect("the head is there");
            for round in 0..READS {
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
    let rate = (threads * READS) as f64 / started.elapsed().as_secs_f64();
    let at = if heads { "the head" } else { "random blocks" };
    println!(
        "{threads} threads at {at:<13}: {rate:>9.0} reads/s, {:.0} % found",
        100.0 * found as f64 / (threads * READS) as f64
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let argument = std::env::args_os().nth(1);
    let directory = argument.as_deref().map_or(temporary.path(), Path::new);
    for durability in [Durability::Sync, Durability::None] {
        println!("{durability:?}:");
        let path = directory.join(format!("{durability:?}"));
        let store = open(&path, &Options { durability, ..Options::default() })?;
        let mut load = Load { random: SmallRng::seed_from_u64(1), nonces: 0, parent: None };
        write(&*store, &mut load, 100, 1)?;
        write(&*store, &mut load, 40, 25)?;
        write(&*store, &mut load, 100, 1)?;
        for threads in [1, 2] {
            read(&*store, threads, true)?;
            read(&*store, threads, false)?;
        }
        let started = Instant::now();
        let states = 100_000;
        for _ in 0..states {
            black_box(store.state_at(50)?);
        }
        println!("a state reader is made in {:.2?}", started.elapsed() / states);
        for table in store.stats()? {
            let each = table.bytes.checked_div(table.entries).unwrap_or_default();
            println!(
                "  {:<12} {:>9} rows {:>12} bytes, {each} a row",
                table.name, table.entries, table.bytes
            );
        }
    }
    Ok(())
}
