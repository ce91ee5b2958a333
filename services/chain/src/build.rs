//! Fills blocks from the pool: for the miner, and as the `pending` block.

use crate::chain::{Built, Chain, Executed, Head};
use crate::error::ChainError;
use crate::stage::timed;
use crate::verify::{TrieRoots, engine_failed};
use alloy_primitives::{Address, U256};
use quintet_chain_api::{BuildRequest, BuiltWork, PendingVersion};
use quintet_chainspec::Consensus as Kind;
use quintet_consensus::{Parent, next_gas_limit};
use quintet_evm::{BlockAttributes, BlockBuilder, BuildError, BuiltBlock, Remedy};
use quintet_types::{ExecutedBlock, Header, RecoveredBlock, Transaction};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::info_span;

/// How long a block is filled when the request does not say.
const FILL_BUDGET: Duration = Duration::from_millis(500);
/// How long a `pending` block is filled.
const PENDING_BUDGET: Duration = Duration::from_millis(200);
/// The least gas that any transaction takes.
const MIN_TRANSACTION_GAS: u64 = 21_000;

/// A filled block, executed, and its fees.
struct Filled {
    executed: Executed,
    fees: U256,
}

impl Chain {
    /// Fills a block on the head and remembers it until it comes back sealed. `None` when there is nothing to
    /// include and empty blocks are not wanted.
    ///
    /// # Errors
    /// When the parent is not the head, or the node failed; [`ChainError::FetchingState`].
    #[tracing::instrument(name = "build block", skip_all, fields(number, txs))]
    pub fn build(&self, request: &BuildRequest) -> Result<Option<BuiltWork>, ChainError> {
        self.takes_blocks()?;
        if request.fencing_token != 0 {
            // Known before the head is read: no block of an older leader can come to stand beside this one.
            self.fence(&mut self.writer.lock(), request.fencing_token)?;
        }
        let head = self.head();
        if let Some(parent) = request.parent_hash.filter(|parent| *parent != head.block.hash) {
            return Err(ChainError::StaleParent { parent, head: head.block.hash });
        }
        let Some(Filled { executed, fees }) = self.fill(&head, request)? else { return Ok(None) };
        let block = &executed.block.block;
        let span = tracing::Span::current();
        span.record("number", block.header().number.cast_signed());
        span.record("txs", block.senders.len().cast_signed());
        let seal_hash = self.engine.after(head.total_difficulty).seal_hash(block.header());
        let work = BuiltWork {
            block: block.block.clone(),
            seal_hash,
            transactions: u32::try_from(block.senders.len()).unwrap_or(u32::MAX),
            fees,
        };
        self.remember(Built { seal_hash, author: request.beneficiary, executed });
        Ok(Some(work))
    }

    /// What the block that would be sealed now is made of.
    pub fn pending_version(&self) -> PendingVersion {
        PendingVersion { parent: self.head().block.hash, pool: self.pool.version() }
    }

    /// The block that would be sealed now.
    ///
    /// # Errors
    /// When the node failed; [`ChainError::FetchingState`].
    #[tracing::instrument(name = "pending block", skip_all)]
    pub fn pending(&self) -> Result<ExecutedBlock, ChainError> {
        self.takes_blocks()?;
        let head = self.head();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = BuildRequest {
            timestamp: now.max(head.header.timestamp + 1),
            beneficiary: self.config.pending.beneficiary,
            gas_limit_target: self.config.pending.gas_limit_target,
            fill_budget: PENDING_BUDGET,
            allow_empty: true,
            ..BuildRequest::default()
        };
        let filled = self.fill(&head, &request)?.ok_or(ChainError::NotFound("pending block"))?;
        Ok(filled.executed.block)
    }

    fn fill(&self, head: &Head, request: &BuildRequest) -> Result<Option<Filled>, ChainError> {
        if request.timestamp <= head.header.timestamp {
            return Err(ChainError::InvalidRequest("timestamp: not after the parent's"));
        }
        let state = self.store.state_at(head.block.number)?;
        let attributes = BlockAttributes {
            timestamp: request.timestamp,
            coinbase: self.coinbase(head, request.beneficiary),
            difficulty: self.next_difficulty(head, request)?,
            fee_recipient: request.beneficiary,
            gas_limit: next_gas_limit(head.header.gas_limit, request.gas_limit_target),
            mix_hash: request.prev_randao,
            extra_data: request.extra_data.clone(),
            parent_beacon_block_root: request.parent_beacon_block_root,
            ..BlockAttributes::default()
        };
        let trie = self.trie.read();
        if trie.head() != head.block {
            return Err(ChainError::StaleParent { parent: head.block.hash, head: trie.head().hash });
        }
        let mut roots = TrieRoots(&trie);
        let mut builder =
            BlockBuilder::start(&self.spec, &head.header, head.block.hash, attributes, &state, &mut roots)?;
        let fees =
            timed("execute", &info_span!("execute"), || self.take_transactions(&mut builder, request))?;
        let BuiltBlock { mut block, senders, receipts, diff, .. } = builder.finish()?;
        if senders.is_empty() && !request.allow_empty {
            return Ok(None);
        }
        let (root, update) = timed("state_root", &info_span!("state root"), || trie.update(&diff))?;
        block.header.state_root = root;
        let total_difficulty = head.total_difficulty.saturating_add(block.header.difficulty);
        let block = RecoveredBlock { hash: block.header.hash_slow(), block, senders };
        let executed = ExecutedBlock {
            block: Arc::new(block),
            receipts: Arc::new(receipts),
            diff: Arc::new(diff),
            total_difficulty,
        };
        Ok(Some(Filled { executed: Executed { block: executed, trie: update }, fees }))
    }

    /// The beneficiary that the header names: under proof of authority it is not the signer, but whom the block
    /// votes for.
    fn coinbase(&self, head: &Head, beneficiary: Address) -> Address {
        let authority = matches!(self.spec.consensus(), Kind::Clique { .. });
        if authority && !self.spec.is_merged_after(head.total_difficulty) {
            return Address::ZERO;
        }
        beneficiary
    }

    fn next_difficulty(&self, head: &Head, request: &BuildRequest) -> Result<U256, ChainError> {
        let parent =
            Parent { header: &head.header, hash: head.block.hash, total_difficulty: head.total_difficulty };
        let header = Header {
            parent_hash: head.block.hash,
            number: head.block.number + 1,
            timestamp: request.timestamp,
            beneficiary: request.beneficiary,
            ..Header::default()
        };
        let rules = self.engine.after(head.total_difficulty);
        rules.difficulty(&header, &parent, &self.ancestors).map_err(engine_failed)
    }

    /// Runs the pool's best transactions until the block is full, time is up, or none is left. Returns the fees.
    fn take_transactions(
        &self,
        builder: &mut BlockBuilder<'_>,
        request: &BuildRequest,
    ) -> Result<U256, ChainError> {
        let budget = if request.fill_budget.is_zero() { FILL_BUDGET } else { request.fill_budget };
        let deadline = Instant::now() + budget;
        let header = builder.header();
        let base_fee = header.base_fee_per_gas.unwrap_or(0);
        let blobs = self.spec.blob_params_at(header.timestamp).zip(header.excess_blob_gas);
        let blob_fee = blobs.map_or(0, |(blobs, excess)| blobs.calc_blob_fee(excess));
        let mut best = self.pool.best(base_fee, request.minimum_tip, blob_fee);
        let mut fees = U256::ZERO;
        while let Some(pooled) = best.next() {
            if builder.gas_left() < MIN_TRANSACTION_GAS || Instant::now() >= deadline {
                break;
            }
            let transaction = Transaction::from(pooled.transaction.clone());
            match builder.try_transaction(&transaction, pooled.sender) {
                Ok(included) => {
                    fees = fees.saturating_add(U256::from(included.tip) * U256::from(included.gas_used));
                }
                Err(BuildError::Rejected(error)) => {
                    tracing::debug!(hash = %pooled.hash, %error, "transaction left out of the block");
                    if error.remedy() != Remedy::Stale {
                        best.skip_account();
                    }
                }
                Err(BuildError::Fatal(error)) => return Err(error.into()),
            }
        }
        Ok(fees)
    }
}
