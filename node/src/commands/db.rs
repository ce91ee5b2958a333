//! `quintet db`: what a store holds, whether it holds together, and its head moved back.

use super::{offline_chain, stored_spec, to_its_end};
use crate::cli::{DbArgs, DbCommand, RollbackArgs, StatsArgs, VerifyArgs};
use crate::error::NodeError;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::verify::{Checks, check_blocks, state_root};
use alloy_primitives::B256;
use quintet_chain::{ChainError, Config, genesis};
use quintet_store::{Store, TableStats};
use quintet_types::BlockRef;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Instant;

/// Blocks that the head goes back at a time: what they changed is in memory meanwhile.
const ROLLBACK_STEP: u64 = 256;

/// Runs one of the commands on a store.
///
/// # Errors
/// Each command's own.
pub(crate) fn db(args: &DbArgs) -> Result<(), NodeError> {
    match &args.command {
        DbCommand::Stats(args) => stats(args),
        DbCommand::Verify(args) => verify(args),
        DbCommand::Rollback(args) => rollback(args),
    }
}

/// Prints what the store holds.
fn stats(args: &StatsArgs) -> Result<(), NodeError> {
    let location = args.data.location()?;
    let store = args.data.open_to_read()?;
    let stats = Stats::of(store.as_ref(), location.to_string(), location.engine())?;
    if args.json {
        println!("{}", stats.json());
    } else {
        println!("{}", stats.text());
    }
    Ok(())
}

/// What a store holds.
struct Stats {
    location: String,
    engine: &'static str,
    chain_id: Option<u64>,
    genesis: Option<B256>,
    head: Option<BlockRef>,
    trie: Option<BlockRef>,
    /// The first block whose state is held, where that is not genesis.
    first_state: Option<u64>,
    tables: Vec<TableStats>,
}

impl Stats {
    fn of(store: &dyn Store, location: String, engine: &'static str) -> Result<Self, NodeError> {
        let spec = genesis::stored_spec(store)?;
        Ok(Self {
            location,
            engine,
            chain_id: spec.as_ref().map(quintet_chainspec::ChainSpec::chain_id),
            genesis: store.canonical_hash(0)?,
            head: store.head()?,
            trie: store.trie_block()?,
            first_state: Some(store.first_state()?).filter(|first| *first > 0),
            tables: store.stats()?,
        })
    }

    /// Rows and bytes of all tables.
    fn sum(&self) -> (u64, u64) {
        self.tables.iter().fold((0, 0), |(rows, bytes), table| (rows + table.entries, bytes + table.bytes))
    }

    fn json(&self) -> Value {
        let (rows, bytes) = self.sum();
        let block = |block: Option<BlockRef>| {
            block.map(|block| json!({ "number": block.number, "hash": block.hash }))
        };
        let table =
            |table: &TableStats| json!({ "name": table.name, "rows": table.entries, "bytes": table.bytes });
        let mut stats = json!({
            "store": self.location, "engine": self.engine, "chain_id": self.chain_id,
            "genesis": self.genesis, "head": block(self.head), "trie": block(self.trie),
            "tables": self.tables.iter().map(table).collect::<Vec<_>>(), "rows": rows, "bytes": bytes,
        });
        if let (Some(first), Some(stats)) = (self.first_state, stats.as_object_mut()) {
            stats.insert("first_state".to_owned(), first.into());
        }
        stats
    }

    fn text(&self) -> String {
        let block = |block: Option<BlockRef>| {
            block.map_or_else(|| "none".to_owned(), |block| format!("{} [{}]", block.number, block.hash))
        };
        let mut text = format!("store     {} ({})\n", self.location, self.engine);
        let chain_id = self.chain_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let genesis = block(self.genesis.map(|hash| BlockRef { number: 0, hash }));
        let _ = write!(text, "chain id  {chain_id}\ngenesis   {genesis}\n");
        let _ = write!(text, "head      {}\ntrie      {}\n", block(self.head), block(self.trie));
        if let Some(first) = self.first_state {
            let _ = writeln!(text, "state     from block {first} on: it was fetched, no earlier one is held");
        }
        let _ = writeln!(text, "\n{:24} {:>14} {:>18}", "table", "rows", "bytes");
        for table in &self.tables {
            let _ = writeln!(text, "{:24} {:>14} {:>18}", table.name, table.entries, table.bytes);
        }
        let (rows, bytes) = self.sum();
        let _ = write!(text, "{:24} {rows:>14} {bytes:>18}", "sum");
        text
    }
}

/// Computes the state root of the head from the whole state, with none of the trie's stored nodes, and checks the
/// blocks.
///
/// # Errors
/// Names the first thing that does not hold; or when the data cannot be read.
pub(crate) fn verify(args: &VerifyArgs) -> Result<(), NodeError> {
    to_its_end(&args.logging, |interrupt| {
        let store = args.data.open_to_read()?;
        let head = store.head()?.ok_or(ChainError::Uninitialised)?;
        let spec = stored_spec(store.as_ref())?;
        let (first, last) = (args.first.unwrap_or(0), args.last.unwrap_or(head.number));
        if first > last {
            return Err(NodeError::Range { first, last });
        }
        if last > head.number {
            return Err(NodeError::AboveHead { number: last, head: head.number });
        }
        let checks = if args.full { Checks::Everything } else { Checks::Headers };
        let start = Instant::now();
        let transactions = check_blocks(store.as_ref(), &spec, first..=last, checks, interrupt)?;
        let what = match checks {
            Checks::Headers => "headers and total difficulties".to_owned(),
            Checks::Everything => {
                format!("headers, bodies, receipts, senders, lookups of {transactions} transactions")
            }
        };
        println!("blocks {first} to {last}: {what} verified in {:.3} s", start.elapsed().as_secs_f64());
        verify_state(store.as_ref(), head, interrupt)
    })
}

fn verify_state(store: &dyn Store, head: BlockRef, interrupt: &Interrupt) -> Result<(), NodeError> {
    if let Some(trie) = store.trie_block()?
        && store.canonical_hash(trie.number)? != Some(trie.hash)
    {
        let what = "the trie's nodes belong to it, and it is not canonical".to_owned();
        return Err(NodeError::Damaged { number: trie.number, hash: trie.hash, what });
    }
    let header = store.header(&head.hash)?.ok_or(ChainError::NotFound("head"))?;
    let computed = state_root(store, head.number, interrupt)?;
    if computed != header.state_root {
        return Err(NodeError::StateRoot { number: head.number, header: header.state_root, computed });
    }
    println!("block {} [{}]: state root {computed} verified", head.number, head.hash);
    Ok(())
}

/// Makes an earlier block the head.
fn rollback(args: &RollbackArgs) -> Result<(), NodeError> {
    to_its_end(&args.logging, |interrupt| {
        let store = args.data.open(false)?;
        let spec = stored_spec(store.as_ref())?;
        let config = Config::of(&spec);
        let chain = offline_chain(spec, store, config)?;
        let old = chain.head().block;
        if args.number > old.number {
            return Err(NodeError::AboveHead { number: args.number, head: old.number });
        }
        let mut progress = Progress::blocks("Rolling back", 0, old.number - args.number);
        let mut head = old;
        while head.number > args.number {
            if interrupt.requested() {
                break;
            }
            head = chain.rewind(head.number.saturating_sub(ROLLBACK_STEP).max(args.number))?;
            progress.at_block(old.number - head.number);
        }
        progress.finish();
        chain.close()?;
        let count = old.number - head.number;
        println!(
            "rolled back {count} block{} from {} [{}]: the head is {} [{}]; the blocks above it are kept beside the chain",
            if count == 1 { "" } else { "s" },
            old.number,
            old.hash,
            head.number,
            head.hash
        );
        if head.number > args.number { Err(NodeError::Interrupted) } else { Ok(()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintet_store::{Commit, HistoricBlock, open_temporary};
    use quintet_testkit::generate::{Generator, Network, Options};
    use std::sync::Arc;

    #[test]
    fn the_first_state_is_told_where_it_is_not_that_of_genesis() {
        let mut generator = Generator::new(Options::small(Network::Ethash));
        let store = open_temporary().unwrap();
        genesis::init(store.as_ref(), generator.spec()).unwrap();
        let stats = || Stats::of(store.as_ref(), "here".to_owned(), "embedded").unwrap();
        assert_eq!(stats().json().get("first_state"), None);
        assert!(!stats().text().contains("state  "), "{}", stats().text());

        let blocks = [generator.next_block(), generator.next_block()];
        let adopt = Some(blocks[1].block.block_ref());
        let history = blocks.map(|executed| HistoricBlock {
            block: Arc::clone(&executed.block),
            receipts: Arc::clone(&executed.receipts),
            total_difficulty: executed.total_difficulty,
        });
        store.commit(Commit { history: history.into(), ..Commit::default() }).unwrap();
        assert_eq!(stats().json().get("first_state"), None, "its state is not there yet");
        store.commit(Commit { adopt, ..Commit::default() }).unwrap();
        let (json, text) = (stats().json(), stats().text());
        assert_eq!((&json["first_state"], &json["head"]["number"]), (&json!(2), &json!(2)));
        assert!(text.contains("\nstate     from block 2 on: "), "{text}");
    }
}
