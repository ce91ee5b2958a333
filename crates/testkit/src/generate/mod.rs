//! Chains made from a seed: valid blocks with real signatures and real roots, of transfers, token transfers, storage
//! churn, contracts that come and go, and transactions that fail.
//!
//! ```
//! use quintet_testkit::generate::{Generator, Network, Options, encode_chain};
//!
//! let mut generator = Generator::new(Options::small(Network::Ethash).with_seed(7));
//! let genesis_json = generator.genesis_json();
//! let blocks: Vec<_> = (0..3).map(|_| generator.next_block()).collect();
//! let file = encode_chain(generator.spec(), &blocks);
//! let chain = quintet_testkit::chain::Chain::import(&genesis_json, &file).unwrap();
//! assert_eq!(chain.head, generator.head());
//! ```
//!
//! The same options give the same bytes, on every machine. The difficulties are real, the seals of proof of work are
//! not: import without looking at them. For trees of blocks, see [`ForkTree`].

mod assembler;
mod content;
mod contracts;
mod generator;
mod keys;
mod options;
mod random;
mod seal;
mod setup;
mod sign;
mod state;
mod tree;

pub use generator::{BlockPlan, Generator};
pub use options::{Mix, Network, Options};
pub use state::State;
pub use tree::{ForkTree, TreeBlock, TreeOptions};

use alloy_rlp::Encodable as _;
use quintet_chainspec::ChainSpec;
use quintet_types::ExecutedBlock;

/// A chain file as `geth export` writes it: genesis, then the blocks, RLP after RLP.
pub fn encode_chain(spec: &ChainSpec, blocks: &[ExecutedBlock]) -> Vec<u8> {
    let mut out = Vec::new();
    spec.genesis_block().encode(&mut out);
    for executed in blocks {
        executed.block.block.encode(&mut out);
    }
    out
}
