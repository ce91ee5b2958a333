//! A chain in memory, and its verification without execution.

use alloy_primitives::{B256, U256};
use quintet_chainspec::ChainSpec;
use quintet_consensus::{ConsensusError, Engine, Options, Parent, check_body};
use quintet_testkit::chain::decode_blocks;
use quintet_testkit::vectors::archive;
use quintet_types::{Ancestry, Block, Header, StateError};
use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

/// The blocks of a chain that were found good.
pub(crate) struct Verified {
    pub(crate) spec: Arc<ChainSpec>,
    pub(crate) engine: Engine,
    blocks: HashMap<B256, (Block, U256)>,
}

impl Ancestry for Verified {
    fn header(&self, hash: &B256) -> Result<Option<Header>, StateError> {
        Ok(self.blocks.get(hash).map(|(block, _)| block.header.clone()))
    }

    fn uncles(&self, hash: &B256) -> Result<Option<Vec<Header>>, StateError> {
        Ok(self.blocks.get(hash).map(|(block, _)| block.body.ommers.clone()))
    }
}

impl Verified {
    pub(crate) fn new(genesis: &str, check_work: bool) -> Self {
        Self::of(ChainSpec::from_json(genesis).unwrap(), check_work)
    }

    pub(crate) fn of(spec: ChainSpec, check_work: bool) -> Self {
        let spec = Arc::new(spec);
        let options = Options { check_work, ethash_directory: None, snapshots: Arc::new(()) };
        let engine = Engine::new(Arc::clone(&spec), options);
        let (block, difficulty) = (spec.genesis_block(), spec.genesis_header().difficulty);
        Self { blocks: HashMap::from([(spec.genesis_hash(), (block, difficulty))]), engine, spec }
    }

    /// All that can be said of a block without executing it.
    pub(crate) fn check(&self, block: &Block) -> Result<(), ConsensusError> {
        let header = &block.header;
        let (parent, total_difficulty) = self.blocks.get(&header.parent_hash).expect("the parent is held");
        let total_difficulty = *total_difficulty;
        let parent = Parent { header: &parent.header, hash: header.parent_hash, total_difficulty };
        let rules = self.engine.after(total_difficulty);
        rules.check_header(header, &parent, self)?;
        rules.check_seal(header)?;
        check_body(&self.spec, block)?;
        rules.check_uncles(block, self)
    }

    /// The rule that a block breaks.
    pub(crate) fn refusal(&self, block: &Block) -> String {
        match self.check(block) {
            Err(ConsensusError::Invalid(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// Adds a block that was found good.
    pub(crate) fn push(&mut self, block: Block) {
        let parent = self.blocks[&block.header.parent_hash].1;
        let difficulty = parent + block.header.difficulty;
        self.blocks.insert(block.header.hash_slow(), (block, difficulty));
    }
}

/// A chain of the vectors: its genesis and its blocks without the genesis block. `None` without vectors.
pub(crate) fn vectors(number: &str, genesis: &str, blocks: &str) -> Option<(String, Vec<Block>)> {
    let genesis = fs::read_to_string(archive(number)?.join(genesis)).unwrap();
    Some((genesis, blocks_of(number, blocks)?))
}

/// The blocks of a chain of the vectors, without the genesis block.
pub(crate) fn blocks_of(number: &str, blocks: &str) -> Option<Vec<Block>> {
    let root = archive(number)?;
    let mut blocks = decode_blocks(&fs::read(root.join(blocks)).unwrap()).unwrap();
    if blocks.first().is_some_and(|block| block.header.number == 0) {
        blocks.remove(0);
    }
    Some(blocks)
}
