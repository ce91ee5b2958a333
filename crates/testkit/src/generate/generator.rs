//! One block after another on the state that it keeps.

use super::content::{Content, Nonces};
use super::options::Options;
use super::random::Random;
use super::seal::Seal;
use super::setup::Setup;
use super::sign::sign_all;
use super::state::State;
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{Address, B256, TxKind, U256};
use quintet_chainspec::{ChainSpec, Consensus};
use quintet_evm::{BlockAttributes, BlockBuilder, BuildError, BuiltBlock};
use quintet_types::{BlockRef, ExecutedBlock, Header, RecoveredBlock, Transaction};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks that may have children that are uncles (yellow paper, 11.1), and those whose uncles count as used.
const LINEAGE: usize = 7;
/// Contracts that are remembered for being called, written and destroyed.
const CREATED: usize = 32;
/// No transaction takes less.
const LEAST_GAS: u64 = 21_000;

/// What one block is to be; what is not said is random.
#[derive(Clone, Debug, Default)]
pub struct BlockPlan {
    /// Seconds after its parent; zero for 8 to 16.
    pub interval: u64,
    /// New transactions; `None` for as many as the options say.
    pub transactions: Option<usize>,
    /// Transactions of other branches with their senders: those that may run here come first.
    pub replay: Vec<(Transaction, Address)>,
    /// Uncles; the caller sees to it that they are valid.
    pub uncles: Vec<Header>,
}

/// An ancestor as the rules for uncles see it.
#[derive(Clone, Debug)]
struct Ancestor {
    hash: B256,
    header: Header,
    uncles: Vec<B256>,
}

/// Makes valid blocks, one on the other, that follow from the options alone. A clone goes on from the same
/// block: see [`Generator::branch`].
#[derive(Clone, Debug)]
pub struct Generator {
    setup: Arc<Setup>,
    random: Random,
    state: State,
    seal: Seal,
    head: Ancestor,
    total_difficulty: U256,
    /// The latest ancestors, the head last.
    lineage: VecDeque<Ancestor>,
    created: Vec<Address>,
    withdrawals: u64,
}

impl Generator {
    /// A generator at the genesis block.
    ///
    /// # Panics
    /// When the options make no network: forks out of order, fewer than two senders, clique without signers.
    pub fn new(options: Options) -> Self {
        quintet_types::install_crypto();
        let setup = Setup::new(options);
        let mut state = State::default();
        let root = state.apply(&setup.spec.genesis_state()).expect("nodes are in memory");
        let header = setup.spec.genesis_header().clone();
        assert_eq!(root, header.state_root, "the genesis state has the root of the genesis header");
        let head = Ancestor { hash: setup.spec.genesis_hash(), header, uncles: Vec::new() };
        state.push_hash(head.hash);
        Self {
            random: Random::new(setup.options.seed),
            seal: Seal::new(&setup),
            total_difficulty: head.header.difficulty,
            lineage: VecDeque::from([head.clone()]),
            setup: Arc::new(setup),
            state,
            head,
            created: Vec::new(),
            withdrawals: 0,
        }
    }

    /// The network.
    pub fn spec(&self) -> &Arc<ChainSpec> {
        &self.setup.spec
    }

    /// The network's `genesis.json`.
    ///
    /// # Panics
    /// Never: every genesis has a JSON form.
    pub fn genesis_json(&self) -> String {
        self.setup.spec.genesis().to_json().expect("a genesis has a JSON form")
    }

    /// The block that the next one goes on from.
    pub fn head(&self) -> BlockRef {
        BlockRef { number: self.head.header.number, hash: self.head.hash }
    }

    /// Its header.
    pub const fn header(&self) -> &Header {
        &self.head.header
    }

    /// The sum of difficulties up to it, genesis and itself included.
    pub const fn total_difficulty(&self) -> U256 {
        self.total_difficulty
    }

    /// The state after it.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Goes on from the same block with other content.
    #[must_use]
    pub fn branch(&self, seed: u64) -> Self {
        Self { random: Random::new(seed), ..self.clone() }
    }

    /// Whether a block may be an uncle of the next one: a child of a recent ancestor, and neither an ancestor nor
    /// an ancestor's uncle.
    pub fn may_be_uncle(&self, block: &Header, hash: B256) -> bool {
        let parent_near = self.lineage.iter().rev().skip(1).any(|near| near.hash == block.parent_hash);
        let used = self.lineage.iter().any(|near| near.hash == hash || near.uncles.contains(&hash));
        parent_near && !used
    }

    /// The next block, all of it random.
    ///
    /// # Panics
    /// As [`Generator::next_block_with`].
    pub fn next_block(&mut self) -> ExecutedBlock {
        let every = self.setup.options.uncle_every;
        let uncles = every > 0 && self.random.below(every) == 0;
        let uncles = if uncles { self.invent_uncle().into_iter().collect() } else { Vec::new() };
        self.next_block_with(&BlockPlan { uncles, ..BlockPlan::default() })
    }

    /// The next block as it is asked for.
    ///
    /// # Panics
    /// When a system contract fails, which the genesis does not have for the forks that it names.
    pub fn next_block_with(&mut self, plan: &BlockPlan) -> ExecutedBlock {
        let setup = Arc::clone(&self.setup);
        let merged = self.merged();
        let interval = if plan.interval == 0 { 8 + self.random.below(9) } else { plan.interval };
        let mut attributes = BlockAttributes {
            timestamp: self.head.header.timestamp + interval,
            gas_limit: self.gas_limit(),
            uncles: if merged { Vec::new() } else { plan.uncles.clone() },
            withdrawals: if merged { self.withdrawals() } else { Vec::new() },
            ..BlockAttributes::default()
        };
        let sealer = self.seal.prepare(&setup, &mut self.random, &self.head.header, merged, &mut attributes);
        let BuiltBlock { mut block, senders, receipts, diff, .. } = self.build(attributes, plan);
        block.header.state_root = self.state.apply(&diff).expect("nodes are in memory");
        self.seal.seal(&setup, sealer, &mut block.header);
        let hash = block.header.hash_slow();
        self.total_difficulty += block.header.difficulty;
        self.remember_created(&block.body.transactions, &senders);
        self.advance(hash, &block.header, &block.body.ommers);
        ExecutedBlock {
            block: Arc::new(RecoveredBlock { hash, block, senders }),
            receipts: Arc::new(receipts),
            diff: Arc::new(diff),
            total_difficulty: self.total_difficulty,
        }
    }

    fn merged(&self) -> bool {
        let beacon = matches!(self.setup.spec.consensus(), Consensus::Beacon | Consensus::Dev { .. });
        beacon || self.setup.spec.is_merged_after(self.total_difficulty)
    }

    /// The parent's, and twice that where London begins (EIP-1559).
    fn gas_limit(&self) -> u64 {
        let parent = &self.head.header;
        let spec = &self.setup.spec;
        let elastic = spec.is_london_active(parent.number + 1) && !spec.is_london_active(parent.number);
        if elastic { parent.gas_limit * 2 } else { parent.gas_limit }
    }

    fn withdrawals(&mut self) -> Vec<Withdrawal> {
        let count = self.random.below(4);
        (0..count)
            .map(|_| {
                self.withdrawals += 1;
                let address = self.setup.account(self.random.index(self.setup.options.accounts));
                let validator_index = self.random.below(1_000);
                Withdrawal {
                    index: self.withdrawals,
                    validator_index,
                    address,
                    amount: 1 + self.random.below(1 << 30),
                }
            })
            .collect()
    }

    fn build(&mut self, attributes: BlockAttributes, plan: &BlockPlan) -> BuiltBlock {
        let setup = Arc::clone(&self.setup);
        let mut roots = self.state.roots();
        let parent = &self.head.header;
        let merged = attributes.difficulty.is_zero();
        let mut builder =
            BlockBuilder::start(&setup.spec, parent, self.head.hash, attributes, &self.state, &mut roots)
                .expect("the block can be begun");
        let mut nonces = Nonces::new(&self.state);
        for (transaction, sender) in &plan.replay {
            if attempt(&mut builder, transaction, *sender) {
                nonces.take(*sender);
            }
        }
        let header = builder.header().clone();
        let content =
            Content { setup: &setup, state: &self.state, created: &self.created, number: header.number };
        let count = plan.transactions.unwrap_or(setup.options.transactions);
        let planned = content.plan(&mut self.random, &mut nonces, count);
        let fork = setup.spec.fork_at(header.number, header.timestamp, merged);
        let signed = sign_all(&setup, &mut self.random, &mut nonces, planned, &header, fork);
        for (transaction, sender) in &signed {
            if builder.gas_left() < LEAST_GAS {
                break;
            }
            attempt(&mut builder, transaction, *sender);
        }
        builder.finish().expect("the block can be closed")
    }

    /// Contracts that the block's transactions created, if they did not fail.
    fn remember_created(&mut self, transactions: &[Transaction], senders: &[Address]) {
        use alloy_consensus::Transaction as _;
        for (transaction, sender) in transactions.iter().zip(senders) {
            let contract = sender.create(transaction.nonce());
            if transaction.kind() != TxKind::Create || !self.state.get(&contract).has_code() {
                continue;
            }
            if self.created.len() < CREATED {
                self.created.push(contract);
            } else {
                let place = self.random.index(CREATED);
                self.created[place] = contract;
            }
        }
    }

    fn advance(&mut self, hash: B256, header: &Header, uncles: &[Header]) {
        let uncles = uncles.iter().map(Header::hash_slow).collect();
        self.head = Ancestor { hash, header: header.clone(), uncles };
        self.state.push_hash(hash);
        self.lineage.push_back(self.head.clone());
        if self.lineage.len() > LINEAGE {
            self.lineage.pop_front();
        }
    }

    /// The block that another miner might have made in the place of one of the last ancestors.
    fn invent_uncle(&mut self) -> Option<Header> {
        let proof_of_work = self.setup.spec.consensus() == Consensus::Ethash && !self.merged();
        let back = self.random.index(3);
        let unique = self.random.word();
        let dao = self.setup.spec.dao_fork().is_some();
        let like = &self.lineage.iter().rev().nth(back).filter(|_| proof_of_work && !dao)?.header;
        if like.number == 0 {
            return None;
        }
        let beneficiary = Address::from_word(unique);
        Some(Header { beneficiary, extra_data: unique.into(), ..like.clone() })
    }
}

/// Takes a transaction into the block, if it may run there.
fn attempt(builder: &mut BlockBuilder<'_>, transaction: &Transaction, sender: Address) -> bool {
    match builder.try_transaction(transaction, sender) {
        Ok(_) => true,
        Err(BuildError::Rejected(_)) => false,
        Err(BuildError::Fatal(error)) => panic!("the state is in memory: {error}"),
    }
}
