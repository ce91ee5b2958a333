//! Trees of valid blocks, for what must come out the same whichever way they are imported.

use super::generator::{BlockPlan, Generator};
use super::options::{Network, Options};
use super::random::Random;
use super::state::State;
use alloy_primitives::{Address, B256, U256};
use quintet_chainspec::ChainSpec;
use quintet_types::{BlockRef, Header, Receipts, RecoveredBlock, StateDiff, Transaction};
use std::sync::Arc;

/// A slow branch loses a twentieth of its difficulty with each block, a fast one gains a little: so the heaviest
/// branch is often not the longest.
const SLOW: u64 = 900;
/// In how many of a hundred cases the next block goes on from the last one; from that or the end of any branch;
/// from either or one of the latest. In the rest it begins a branch anywhere.
const GO_ON: u64 = 50;
const GO_ON_BRANCH: u64 = 90;
const BRANCH_NEAR: u64 = 95;
/// Blocks that count as the latest.
const NEAR: usize = 8;

/// What a tree is to be like.
#[derive(Clone, Debug)]
pub struct TreeOptions {
    /// Blocks, genesis not counted; one more where two branches would weigh the same.
    pub blocks: usize,
    /// Of each chain in it; the seed is the tree's own.
    pub chain: Options,
}

impl TreeOptions {
    /// A tree for a property test: some dozens of small blocks. Not for [`Network::Beacon`], where nothing in the
    /// blocks says which branch is the head.
    pub fn small(network: Network) -> Self {
        Self { blocks: 40, chain: Options::small(network) }
    }
}

/// A block of a tree, and what must hold after it.
#[derive(Clone, Debug)]
pub struct TreeBlock {
    /// The block.
    pub block: Arc<RecoveredBlock>,
    /// The place of its parent in [`ForkTree::blocks`]; `None` if that is genesis.
    pub parent: Option<usize>,
    /// The sum of difficulties up to it, genesis and itself included.
    pub total_difficulty: U256,
    /// Its receipts.
    pub receipts: Arc<Receipts>,
    /// What it changes in its parent's state.
    pub diff: Arc<StateDiff>,
    /// Seconds from one block of its branch to the next, at least.
    pace: u64,
    generator: Generator,
}

impl TreeBlock {
    /// The state root after it, its header's.
    pub fn state_root(&self) -> B256 {
        self.block.header().state_root
    }

    /// The state after it.
    pub const fn state(&self) -> &State {
        self.generator.state()
    }
}

/// A tree of valid blocks: branches of different lengths and weights, with transactions in several of them,
/// contracts that are destroyed in one and created again in another, and uncles that are blocks of other branches.
///
/// Whoever imports all of it must end at [`ForkTree::head`], whatever the order: no other block has as much total
/// difficulty.
#[derive(Clone, Debug)]
pub struct ForkTree {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// Its `genesis.json`.
    pub genesis_json: String,
    /// The blocks, parents before their children.
    pub blocks: Vec<TreeBlock>,
}

impl ForkTree {
    /// The tree that follows from this seed.
    ///
    /// # Panics
    /// As [`Generator::new`]; and for a network without difficulties.
    pub fn random(seed: u64, options: &TreeOptions) -> Self {
        let genesis = Generator::new(options.chain.clone().with_seed(seed));
        assert!(!genesis.total_difficulty().is_zero(), "a tree's blocks need difficulties");
        let mut tree = Self {
            spec: Arc::clone(genesis.spec()),
            genesis_json: genesis.genesis_json(),
            blocks: Vec::new(),
        };
        let mut random = Random::new(seed ^ 0x7265_6500);
        for _ in 0..options.blocks {
            let parent = tree.choose_parent(&mut random);
            tree.extend(&genesis, parent, &mut random);
        }
        while let Some(tied) = tree.tie() {
            tree.extend(&genesis, Some(tied), &mut random);
        }
        tree
    }

    /// The block with the most total difficulty.
    ///
    /// # Panics
    /// When the tree has no blocks.
    pub fn head(&self) -> &TreeBlock {
        self.blocks.iter().max_by_key(|block| block.total_difficulty).expect("the tree has blocks")
    }

    /// The blocks from genesis, which is left out, to this one, by their places.
    pub fn branch_of(&self, place: usize) -> Vec<usize> {
        let mut branch: Vec<_> =
            std::iter::successors(Some(place), |place| self.blocks[*place].parent).collect();
        branch.reverse();
        branch
    }

    /// The chain up to the head, genesis left out.
    ///
    /// # Panics
    /// When the tree has no blocks.
    pub fn canonical(&self) -> Vec<&TreeBlock> {
        let head = self.head().block.hash;
        let place =
            self.blocks.iter().position(|block| block.block.hash == head).expect("the head is a block");
        self.branch_of(place).into_iter().map(|place| &self.blocks[place]).collect()
    }

    /// The places of all blocks in a random order in which no block comes before its parent.
    pub fn order(&self, seed: u64) -> Vec<usize> {
        let mut random = Random::new(seed);
        let mut ready: Vec<usize> = self.children_of(None).collect();
        let mut order = Vec::with_capacity(self.blocks.len());
        while !ready.is_empty() {
            let next = ready.swap_remove(random.index(ready.len()));
            order.push(next);
            ready.extend(self.children_of(Some(next)));
        }
        order
    }

    fn children_of(&self, parent: Option<usize>) -> impl Iterator<Item = usize> {
        (0..self.blocks.len()).filter(move |place| self.blocks[*place].parent == parent)
    }

    fn choose_parent(&self, random: &mut Random) -> Option<usize> {
        let count = self.blocks.len();
        let draw = random.below(100);
        if draw < GO_ON {
            return count.checked_sub(1);
        }
        if draw < GO_ON_BRANCH {
            let ends: Vec<usize> = (0..count).filter(|place| self.is_end(*place)).collect();
            return (!ends.is_empty()).then(|| ends[random.index(ends.len())]);
        }
        let first = if draw < BRANCH_NEAR { count.saturating_sub(NEAR) } else { 0 };
        // One below the first block stands for genesis.
        (first + random.index(count - first + 1)).checked_sub(1)
    }

    /// Whether nothing goes on from this block.
    fn is_end(&self, place: usize) -> bool {
        self.children_of(Some(place)).next().is_none()
    }

    /// Adds a block on this parent. A branch keeps its pace.
    fn extend(&mut self, genesis: &Generator, parent: Option<usize>, random: &mut Random) {
        let from = parent.map_or(genesis, |parent| &self.blocks[parent].generator);
        let pace = match parent {
            Some(parent) if self.is_end(parent) => self.blocks[parent].pace,
            _ if random.chance(50) => SLOW,
            _ => 1 + random.below(20),
        };
        let plan = BlockPlan {
            interval: pace + random.below(4),
            transactions: None,
            replay: self.replay(from.header().number + 1, random),
            uncles: self.uncles(from, random),
        };
        let mut generator = from.branch(random.next());
        let executed = generator.next_block_with(&plan);
        self.blocks.push(TreeBlock {
            block: executed.block,
            parent,
            total_difficulty: executed.total_difficulty,
            receipts: executed.receipts,
            diff: executed.diff,
            pace,
            generator,
        });
    }

    /// Some transactions of the blocks with this number or the one before, as a pool would have them after a reorg.
    fn replay(&self, number: u64, random: &mut Random) -> Vec<(Transaction, Address)> {
        let near = self.blocks.iter().filter(|block| block.block.header().number.abs_diff(number) <= 1);
        near.flat_map(|block| block.block.transactions())
            .filter(|_| random.chance(60))
            .map(|(transaction, sender)| (transaction.clone(), sender))
            .collect()
    }

    /// Up to two blocks of other branches.
    fn uncles(&self, from: &Generator, random: &mut Random) -> Vec<Header> {
        if from.spec().config().ethash.is_none() {
            return Vec::new();
        }
        let able =
            self.blocks.iter().filter(|block| from.may_be_uncle(block.block.header(), block.block.hash));
        able.filter(|_| random.chance(50)).take(2).map(|block| block.block.header().clone()).collect()
    }

    /// One of several blocks with the most total difficulty.
    fn tie(&self) -> Option<usize> {
        let most = self.head().total_difficulty;
        let mut tied = (0..self.blocks.len()).filter(|place| self.blocks[*place].total_difficulty == most);
        tied.next().filter(|_| tied.next().is_some())
    }

    /// The genesis block's number and hash.
    pub fn genesis(&self) -> BlockRef {
        BlockRef { number: 0, hash: self.spec.genesis_hash() }
    }
}
