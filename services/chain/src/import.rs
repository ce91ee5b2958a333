//! Takes blocks in: checks them, executes them, and makes them the head or keeps them aside.

use crate::chain::{Chain, Executed};
use crate::error::ChainError;
use crate::layered::Layered;
use crate::rules;
use crate::trie::HeadTrie;
use alloy_consensus::TxReceipt;
use alloy_consensus::proofs::calculate_receipt_root;
use alloy_primitives::{B256, U256};
use quintet_evm::{BlockOutput, ExecutionError, PostStateRoot};
use quintet_service::propagation;
use quintet_store::Commit;
use quintet_types::{
    BlockDelta, BlockRef, ChainEvent, ExecutedBlock, Header, RecoveredBlock, StateDiff, StateError,
    StateReader,
};
use std::sync::Arc;
use std::time::Instant;
use tracing::{Span, info, info_span};

/// Spans of transactions that a block's import links to.
const MAX_LINKS: usize = 128;

/// Blocks with their total difficulties, oldest first.
type Branch = Vec<(Arc<RecoveredBlock>, U256)>;

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

impl Chain {
    /// Imports a block whose senders are recovered. `fencing_token` is the miner's lease; 0 without one.
    ///
    /// # Errors
    /// When the block is not valid, its parent is not held, or the node failed. Nothing changed then.
    #[tracing::instrument(
        name = "import block", skip_all, err(level = "warn"),
        fields(number = block.header().number.cast_signed(), hash = %block.hash, txs = block.senders.len().cast_signed())
    )]
    pub fn import(&self, block: RecoveredBlock, fencing_token: u64) -> Result<Imported, ChainError> {
        let start = Instant::now();
        let mut newest_token = self.writer.lock();
        if fencing_token < *newest_token && fencing_token != 0 {
            return Err(ChainError::Fenced { token: fencing_token, newest: *newest_token });
        }
        *newest_token = fencing_token.max(*newest_token);

        if self.store.block_number(&block.hash)?.is_some() {
            let canonical = self.store.canonical_hash(block.header().number)? == Some(block.hash);
            return Ok(Imported::Known { canonical });
        }
        let (parent, parent_td) = self.parent_of(&block)?;
        let head = self.head();
        let extends = block.header().parent_hash == head.block.hash;
        // What was built here replaces what came, whose body nobody has looked at.
        let built = if extends { self.take_built(&block.hash) } else { None };
        if built.is_none() {
            let invalid = |reason| invalid(&block, reason);
            rules::check_header(&self.spec, block.header(), &parent).map_err(invalid)?;
            rules::check_body(&self.spec, &block.block).map_err(invalid)?;
        }
        let total_difficulty = parent_td.saturating_add(block.header().difficulty);
        let imported = if extends {
            self.extend(block, total_difficulty, built, start)?;
            Imported::Head
        } else if rules::prefers(
            (total_difficulty, block.header().number),
            (head.total_difficulty, head.block.number),
        ) {
            self.reorganise(block, total_difficulty)?;
            Imported::Head
        } else {
            let side_blocks = vec![(Arc::new(block), total_difficulty)];
            self.store.commit(Commit { side_blocks, ..Commit::default() })?;
            Imported::Side
        };
        Ok(imported)
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

    /// Puts a block on the head.
    fn extend(
        &self,
        block: RecoveredBlock,
        total_difficulty: U256,
        built: Option<Executed>,
        start: Instant,
    ) -> Result<(), ChainError> {
        let mut trie = self.trie.upgradable_read();
        let Executed { block: executed, trie: update } = if let Some(executed) = built {
            executed
        } else {
            let state = self.store.state_at(self.head().block.number)?;
            execute(self, Arc::new(block), total_difficulty, &state, &trie)?
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
        self.set_head(&executed);
        self.pool.advance(&self.spec, &self.head(), std::slice::from_ref(&executed), &[]);
        report(&executed, start);
        self.publish(executed);
        Ok(())
    }

    /// Makes a block off the canonical chain the head, with all its ancestors down to the fork.
    #[tracing::instrument(name = "reorg", skip_all)]
    fn reorganise(&self, block: RecoveredBlock, total_difficulty: U256) -> Result<(), ChainError> {
        let (ancestor, branch) = self.branch_to(block, total_difficulty)?;
        let old = self.reverted(ancestor)?;
        let mut trie = self.trie.write();
        let moved = self.replace(&mut trie, ancestor, &old, branch);
        let executed = match moved {
            Ok(executed) => executed,
            Err(error) => {
                self.reset_trie(&mut trie)?;
                return Err(error);
            }
        };
        drop(trie);
        let Some(newest) = executed.last() else { return Ok(()) };
        self.set_head(newest);
        tracing::warn!(
            number = ancestor.number, hash = %ancestor.hash, drop = old.len(), add = executed.len(),
            "Chain reorg detected"
        );
        self.pool.advance(&self.spec, &self.head(), &executed, &old);
        let hashes: Arc<[BlockRef]> = old.iter().rev().map(|block| block.block.block_ref()).collect();
        self.publish_event(ChainEvent::Reverted(hashes));
        for block in executed {
            self.publish(block);
        }
        Ok(())
    }

    /// Brings the trie back to the head after a commit that failed: it is derived data, so it is read afresh.
    fn reset_trie(&self, trie: &mut HeadTrie) -> Result<(), ChainError> {
        let head = self.head();
        *trie = HeadTrie::open(Arc::clone(&self.store), head.block, head.header.state_root)?;
        Ok(())
    }

    /// The blocks from the fork (exclusive) to `block`, oldest first, and the canonical block they fork from.
    fn branch_to(
        &self,
        block: RecoveredBlock,
        total_difficulty: U256,
    ) -> Result<(BlockRef, Branch), ChainError> {
        let mut branch = vec![(Arc::new(block), total_difficulty)];
        loop {
            let Some((oldest, _)) = branch.last() else { return Err(ChainError::NotFound("branch")) };
            let (number, hash) = (oldest.header().number, oldest.header().parent_hash);
            let unknown = || ChainError::UnknownAncestor { number, hash };
            let parent = BlockRef { number: number.checked_sub(1).ok_or_else(unknown)?, hash };
            if self.store.canonical_hash(parent.number)? == Some(hash) {
                branch.reverse();
                return Ok((parent, branch));
            }
            let block = self.store.block(&hash)?.ok_or_else(unknown)?;
            let difficulty = self.store.total_difficulty(&hash)?.ok_or_else(unknown)?;
            branch.push((Arc::new(block), difficulty));
        }
    }

    /// The canonical blocks above `ancestor`, oldest first, with what they changed.
    fn reverted(&self, ancestor: BlockRef) -> Result<Vec<ExecutedBlock>, ChainError> {
        let missing = || ChainError::NotFound("canonical block");
        (ancestor.number + 1..=self.head().block.number)
            .map(|number| {
                let hash = self.store.canonical_hash(number)?.ok_or_else(missing)?;
                Ok(ExecutedBlock {
                    block: Arc::new(self.store.block(&hash)?.ok_or_else(missing)?),
                    receipts: Arc::new(self.store.receipts(&hash)?.ok_or_else(missing)?),
                    diff: Arc::new(self.store.diff(number)?),
                    total_difficulty: self.store.total_difficulty(&hash)?.ok_or_else(missing)?,
                })
            })
            .collect()
    }

    /// Moves the trie to `ancestor`, executes the branch on it, and commits both in one transaction.
    fn replace(
        &self,
        trie: &mut HeadTrie,
        ancestor: BlockRef,
        old: &[ExecutedBlock],
        branch: Branch,
    ) -> Result<Vec<ExecutedBlock>, ChainError> {
        for block in old.iter().rev() {
            let number = block.block.header().number - 1;
            let parent = BlockRef { number, hash: block.block.header().parent_hash };
            trie.revert(parent, &block.diff)?;
        }
        let mut state = Layered::new(self.store.state_at(ancestor.number)?);
        let mut executed = Vec::with_capacity(branch.len());
        for (block, total_difficulty) in branch {
            let Executed { block, trie: update } = execute(self, block, total_difficulty, &state, trie)?;
            trie.advance(block.block.block_ref(), update);
            state.push(block.block.header().number, block.block.hash, &block.diff);
            executed.push(block);
        }
        self.commit(trie, Some(ancestor), &executed)?;
        Ok(executed)
    }

    /// Makes an earlier canonical block the head.
    ///
    /// # Errors
    /// When the canonical chain has no such block.
    pub fn rewind(&self, number: u64) -> Result<BlockRef, ChainError> {
        let _writer = self.writer.lock();
        let hash = self.store.canonical_hash(number)?.ok_or(ChainError::NotFound("canonical block"))?;
        let ancestor = BlockRef { number, hash };
        let old = self.reverted(ancestor)?;
        let mut trie = self.trie.write();
        self.replace(&mut trie, ancestor, &old, Vec::new())?;
        drop(trie);
        let missing = || ChainError::NotFound("block");
        let head = ExecutedBlock {
            block: Arc::new(self.store.block(&hash)?.ok_or_else(missing)?),
            receipts: Arc::default(),
            diff: Arc::default(),
            total_difficulty: self.store.total_difficulty(&hash)?.ok_or_else(missing)?,
        };
        self.set_head(&head);
        self.pool.advance(&self.spec, &self.head(), &[], &old);
        let hashes = old.iter().rev().map(|block| block.block.block_ref()).collect();
        self.publish_event(ChainEvent::Reverted(hashes));
        Ok(ancestor)
    }

    fn publish(&self, executed: ExecutedBlock) {
        let trace = propagation::current_trace();
        self.publish_event(ChainEvent::Block(Arc::new(BlockDelta { executed, trace })));
    }

    /// Tells the bus. A bus that is away costs its consumers a resync, and `chain` nothing.
    fn publish_event(&self, event: ChainEvent) {
        let _span = info_span!("publish").entered();
        if let Err(error) = futures::executor::block_on(self.bus.publish(event.into())) {
            tracing::warn!(%error, "event not published");
        }
    }
}

/// Executes a block on `state`, with its root computed over `trie`, and checks it against its header.
pub(crate) fn execute(
    chain: &Chain,
    block: Arc<RecoveredBlock>,
    total_difficulty: U256,
    state: &dyn StateReader,
    trie: &HeadTrie,
) -> Result<Executed, ChainError> {
    let mut roots = TrieRoots(trie);
    let output = info_span!("execute").in_scope(|| {
        quintet_evm::execute_block(&chain.spec, &block, block.header().beneficiary, state, &mut roots)
    });
    let output = output.map_err(|error| {
        if error.is_invalid_block() {
            invalid(&block, error.to_string())
        } else {
            ChainError::Execution(error)
        }
    })?;
    check_output(&block, &output)?;
    let (root, update) = info_span!("state root").in_scope(|| trie.update(&output.diff))?;
    let want = block.header().state_root;
    if root != want {
        return Err(invalid(&block, format!("invalid merkle root (remote: {want} local: {root})")));
    }
    let BlockOutput { receipts, diff, .. } = output;
    let executed =
        ExecutedBlock { block, receipts: Arc::new(receipts), diff: Arc::new(diff), total_difficulty };
    Ok(Executed { block: executed, trie: update })
}

/// Compares what execution gave with what the header promises.
fn check_output(block: &RecoveredBlock, output: &BlockOutput) -> Result<(), ChainError> {
    let header = block.header();
    let fail = |reason: String| Err(invalid(block, reason));
    if output.gas_used != header.gas_used {
        return fail(format!("invalid gas used (remote: {} local: {})", header.gas_used, output.gas_used));
    }
    let bloom =
        output.receipts.iter().fold(alloy_primitives::Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom());
    if bloom != header.logs_bloom {
        return fail(format!("invalid bloom (remote: {} local: {bloom})", header.logs_bloom));
    }
    let root = calculate_receipt_root(&output.receipts);
    if root != header.receipts_root {
        return fail(format!("invalid receipt root hash (remote: {} local: {root})", header.receipts_root));
    }
    if let Some(want) = header.requests_hash {
        let have = output.requests.requests_hash();
        if have != want {
            return fail(format!("invalid requests hash (remote: {want} local: {have})"));
        }
    }
    Ok(())
}

fn invalid(block: &RecoveredBlock, reason: String) -> ChainError {
    ChainError::InvalidBlock { number: block.header().number, hash: block.hash, reason }
}

/// Roots in the middle of a block, for receipts before Byzantium.
pub(crate) struct TrieRoots<'a>(pub(crate) &'a HeadTrie);

impl PostStateRoot for TrieRoots<'_> {
    fn root(&mut self, diff: &StateDiff) -> Result<B256, StateError> {
        self.0.update(diff).map(|(root, _)| root).map_err(StateError::new)
    }
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
