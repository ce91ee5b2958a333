//! Takes blocks in, one at a time: checks them, executes them, and makes them the head or keeps them aside.

use crate::chain::{Chain, Executed, Head};
use crate::error::ChainError;
use crate::stage::timed;
use crate::verify::{self, invalid, judged};
use alloy_primitives::{Address, U256};
use quintet_consensus::{Consensus, Parent, Weight, check_body, prefers};
use quintet_evm::ExecutionError;
use quintet_service::propagation;
use quintet_store::Commit;
use quintet_types::{BlockDelta, ChainEvent, ExecutedBlock, Header, RecoveredBlock};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tracing::{Span, info, info_span};

/// What geth says of a block that is ahead of the clock.
pub(crate) const IN_THE_FUTURE: &str = "block in the future";
/// Spans of transactions that a block's import links to.
const MAX_LINKS: usize = 128;

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is the head.
    Head,
    /// It is kept beside the canonical chain.
    Side,
    /// It was there already.
    Known {
        /// Whether it is canonical.
        canonical: bool,
    },
}

/// Whether the seals of imported blocks are looked at. A caller that has checked them may say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seals {
    /// As the engine's settings have it.
    #[default]
    Checked,
    /// Proofs of work are taken for valid, those of uncles too.
    Trusted,
}

impl Chain {
    /// Imports a block whose senders are recovered. `fencing_token` is the miner's lease; 0 without one.
    ///
    /// # Errors
    /// When the block is not valid, its parent is not held, or the node failed. Nothing changed then.
    pub fn import(&self, block: RecoveredBlock, fencing_token: u64) -> Result<Imported, ChainError> {
        let mut newest_token = self.writer.lock();
        self.takes_blocks()?;
        self.settle()?;
        self.fence(&mut newest_token, fencing_token)?;
        self.import_one(block, Seals::Checked)
    }

    /// The same, for who holds the writer's lock.
    pub(crate) fn import_one(&self, block: RecoveredBlock, seals: Seals) -> Result<Imported, ChainError> {
        let imported = self.take_in(block, seals);
        let outcome = match &imported {
            Ok(Imported::Head) => "head",
            Ok(Imported::Side) => "side",
            Ok(Imported::Known { .. }) => "known",
            Err(_) => "refused",
        };
        metrics::counter!("quintet_chain_blocks_total", "outcome" => outcome).increment(1);
        imported
    }

    #[tracing::instrument(
        name = "import block", skip_all, err(level = "warn"),
        fields(number = block.header().number.cast_signed(), hash = %block.hash, txs = block.senders.len().cast_signed())
    )]
    fn take_in(&self, block: RecoveredBlock, seals: Seals) -> Result<Imported, ChainError> {
        let start = Instant::now();
        self.settle()?;
        self.bad.check(&block)?;
        let known = self.store.block_number(&block.hash)?.is_some();
        if known && self.store.canonical_hash(block.header().number)? == Some(block.hash) {
            return Ok(Imported::Known { canonical: true });
        }
        let (parent, parent_td) = self.parent_of(&block)?;
        let head = self.head();
        let total_difficulty = parent_td.saturating_add(block.header().difficulty);
        let extends = block.header().parent_hash == head.block.hash;
        let preferred = extends || prefers(&Weight::new(block.header(), total_difficulty), &head.weight());
        if known && !preferred {
            return Ok(Imported::Known { canonical: false });
        }
        let rules = self.engine_for(seals).after(parent_td);
        let parent =
            Parent { header: &parent, hash: block.header().parent_hash, total_difficulty: parent_td };
        // What was built here replaces what came, whose body nobody has looked at.
        let built = if extends { self.take_built(rules, &block) } else { None };
        self.check(rules, &block, &parent, built.is_none())?;
        if extends {
            let author = rules.author(block.header()).map_err(|error| judged(&block, error))?;
            self.bad.learn(self.extend(block, total_difficulty, author, built, start))?;
        } else if preferred {
            self.reorganise(block)?;
        } else {
            let block = Arc::new(block);
            self.bad.learn(self.execute_aside(&block))?;
            let side_blocks = vec![(block, total_difficulty)];
            self.write(Commit { side_blocks, ..Commit::default() })?;
            return Ok(Imported::Side);
        }
        Ok(Imported::Head)
    }

    fn parent_of(&self, block: &RecoveredBlock) -> Result<(Header, U256), ChainError> {
        let header = block.header();
        let unknown = || ChainError::UnknownAncestor { number: header.number, hash: block.hash };
        let head = self.head();
        if head.block.hash == header.parent_hash {
            return Ok((head.header.clone(), head.total_difficulty));
        }
        let parent = self.store.header(&header.parent_hash)?.ok_or_else(unknown)?;
        let difficulty = self.store.total_difficulty(&header.parent_hash)?.ok_or_else(unknown)?;
        Ok((parent, difficulty))
    }

    /// Everything that a block must keep before it is executed, in geth's order. A block that was built here
    /// (`foreign` does not hold) has a body that is known to be right.
    fn check(
        &self,
        rules: &dyn Consensus,
        block: &RecoveredBlock,
        parent: &Parent<'_>,
        foreign: bool,
    ) -> Result<(), ChainError> {
        let header = block.header();
        check_clock(rules, block)?;
        let judge = |error| judged(block, error);
        let whole = rules.check_header(header, parent, &self.ancestors).map_err(judge);
        self.bad.learn(whole)?;
        self.bad.learn(rules.check_seal(header).map_err(judge))?;
        if !foreign {
            return Ok(());
        }
        check_body(&self.spec, &block.block).map_err(|error| invalid(block, &error))?;
        self.bad.learn(rules.check_uncles(&block.block, &self.ancestors).map_err(judge))
    }

    /// Puts a block on the head.
    fn extend(
        &self,
        block: RecoveredBlock,
        total_difficulty: U256,
        author: Address,
        built: Option<Executed>,
        start: Instant,
    ) -> Result<(), ChainError> {
        let mut trie = self.trie.upgradable_read();
        let Executed { block: executed, trie: update } = if let Some(executed) = built {
            executed
        } else {
            let state = self.store.state_at(self.head().block.number)?;
            verify::execute(self, Arc::new(block), (total_difficulty, author), &state, &*trie)?
        };
        for trace in self.pool.traces(&executed.block, MAX_LINKS) {
            propagation::add_link(&Span::current(), &trace);
        }
        trie.with_upgraded(|trie| {
            trie.advance(executed.block.block_ref(), update);
            self.commit(trie, None, std::slice::from_ref(&executed)).or_else(|error| {
                self.reset_trie(trie)?;
                Err(error)
            })
        })?;
        drop(trie);
        self.set_head(Head::of(&executed));
        self.pool.advance(&self.spec, &self.head(), &executed);
        report(&executed, start);
        self.publish(executed);
        Ok(())
    }

    pub(crate) fn publish(&self, executed: ExecutedBlock) {
        let trace = propagation::current_trace();
        self.publish_event(ChainEvent::Block(Arc::new(BlockDelta { executed, trace })));
    }

    /// Tells the bus. A bus that is away costs its consumers a resync, and `chain` nothing.
    pub(crate) fn publish_event(&self, event: ChainEvent) {
        if let ChainEvent::Reverted(blocks) = &event {
            metrics::counter!("quintet_chain_reorgs_total").increment(1);
            metrics::counter!("quintet_chain_reverted_blocks_total").increment(blocks.len() as u64);
        }
        let span = info_span!("publish", otel.kind = "producer");
        let published =
            timed("publish", &span, || futures::executor::block_on(self.bus.publish(event.into())));
        count_published("chain", published.is_ok());
        if let Err(error) = published {
            tracing::warn!(%error, "event not published");
        }
    }
}

/// Counts an event that was given to the bus.
pub(crate) fn count_published(topic: &'static str, taken: bool) {
    let metric = if taken { "quintet_events_published_total" } else { "quintet_events_unpublished_total" };
    metrics::counter!(metric, "topic" => topic).increment(1);
}

/// Refuses a block from too far ahead of this node's clock.
pub(crate) fn check_clock(rules: &dyn Consensus, block: &RecoveredBlock) -> Result<(), ChainError> {
    let Some(allowed) = rules.allowed_future() else { return Ok(()) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if block.header().timestamp > now.saturating_add(allowed) {
        return Err(invalid(block, &IN_THE_FUTURE));
    }
    Ok(())
}

/// The line that operators know, and the figures behind it.
fn report(executed: &ExecutedBlock, start: Instant) {
    let header = executed.block.header();
    let elapsed = start.elapsed();
    let mgas = header.gas_used as f64 / 1e6;
    metrics::histogram!("quintet_chain_import_duration_seconds").record(elapsed);
    metrics::counter!("quintet_chain_transactions_total").increment(executed.receipts.len() as u64);
    metrics::counter!("quintet_chain_gas_total").increment(header.gas_used);
    info!(
        number = header.number, hash = %executed.block.hash, txs = executed.receipts.len(), mgas,
        elapsed = ?elapsed, "Imported new chain segment"
    );
}

/// The error of the EVM as this service's.
impl From<ExecutionError> for ChainError {
    fn from(error: ExecutionError) -> Self {
        Self::Execution(error)
    }
}
