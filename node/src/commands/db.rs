//! `quintet db`: what a store holds, whether it holds together, and its head moved back.

use super::{offline_chain, stored_spec, to_its_end};
use crate::cli::{DbArgs, DbCommand, RollbackArgs, StatsArgs, VerifyArgs};
use crate::error::NodeError;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::verify::{Checks, check_blocks, state_root};
use quintet_chain::{ChainError, Config, genesis};
use quintet_store::Store;
use quintet_types::BlockRef;
use serde_json::json;
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
    let (head, trie, tables) = (store.head()?, store.trie_block()?, store.stats()?);
    // Where every block was executed, there is nothing to say.
    let first_state = Some(store.first_state()?).filter(|first| *first > 0);
    let spec = genesis::stored_spec(store.as_ref())?;
    let chain_id = spec.as_ref().map(quintet_chainspec::ChainSpec::chain_id);
    let genesis = store.canonical_hash(0)?;
    let (rows, bytes) =
        tables.iter().fold((0, 0), |(rows, bytes), table| (rows + table.entries, bytes + table.bytes));
    if args.json {
        let block = |block: Option<BlockRef>| {
            block.map(|block| json!({ "number": block.number, "hash": block.hash }))
        };
        let table = |table: &quintet_store::TableStats| json!({ "name": table.name, "rows": table.entries, "bytes": table.bytes });
        let mut stats = json!({
            "store": location.to_string(), "engine": location.engine(), "chain_id": chain_id,
            "genesis": genesis, "head": block(head), "trie": block(trie),
            "tables": tables.iter().map(table).collect::<Vec<_>>(), "rows": rows, "bytes": bytes,
        });
        if let Some(first) = first_state {
            stats["first_state"] = json!(first);
        }
        println!("{stats}");
        return Ok(());
    }
    let block = |block: Option<BlockRef>| {
        block.map_or_else(|| "none".to_owned(), |block| format!("{} [{}]", block.number, block.hash))
    };
    let mut text = format!("store     {location} ({})\n", location.engine());
    let chain_id = chain_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let genesis = block(genesis.map(|hash| BlockRef { number: 0, hash }));
    let _ = write!(text, "chain id  {chain_id}\ngenesis   {genesis}\n");
    let _ = write!(text, "head      {}\ntrie      {}\n", block(head), block(trie));
    if let Some(first) = first_state {
        let _ = writeln!(text, "state     from block {first} on: it was fetched, and no older one is held");
    }
    text.push('\n');
    let _ = writeln!(text, "{:24} {:>14} {:>18}", "table", "rows", "bytes");
    for table in &tables {
        let _ = writeln!(text, "{:24} {:>14} {:>18}", table.name, table.entries, table.bytes);
    }
    println!("{text}{:24} {rows:>14} {bytes:>18}", "sum");
    Ok(())
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
