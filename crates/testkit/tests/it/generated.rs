//! Generated chains and trees: made the same again from their seeds, and right by other code than made them.

use alloy_primitives::{Address, B256, U256, keccak256};
use quintet_chainspec::{ChainConfig, ChainSpec};
use quintet_clique::{Clique, Snapshot};
use quintet_consensus::{Engine, Parent, check_body};
use quintet_testkit::chain::{Chain, decode_blocks};
use quintet_testkit::generate::{
    ForkTree, Generator, Network, Options, TreeBlock, TreeOptions, encode_chain,
};
use quintet_testkit::networks::test_network;
use quintet_types::{Ancestry, Block, ExecutedBlock, Header, RecoveredBlock, StateError, StateReader as _};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

fn generate(options: Options, count: usize) -> (Generator, Vec<ExecutedBlock>) {
    let mut generator = Generator::new(options);
    let blocks = (0..count).map(|_| generator.next_block()).collect();
    (generator, blocks)
}

/// Imports by way of the files, and compares the whole state at the end.
fn import(generator: &Generator, blocks: &[ExecutedBlock], author: fn(&Header) -> Address) -> Chain {
    let genesis = generator.genesis_json();
    let spec = ChainSpec::from_json(&genesis).unwrap();
    let blocks = decode_blocks(&encode_chain(generator.spec(), blocks)).unwrap();
    let chain = Chain::import_blocks(spec, blocks, author).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(chain.head, generator.head());
    let root = generator.header().state_root;
    assert_eq!(generator.state().root_from_scratch(), root);
    assert_eq!(chain.root_from_scratch(chain.head.number).unwrap(), root);
    chain
}

fn beneficiary(header: &Header) -> Address {
    header.beneficiary
}

fn signer(header: &Header) -> Address {
    Clique::new(1, 30_000).recover_signer(header).unwrap()
}

#[test]
fn a_seed_makes_the_same_bytes_again_and_another_seed_does_not() {
    for network in [Network::Ethash, Network::Clique, Network::Beacon] {
        let bytes = |seed| {
            let (generator, blocks) = generate(Options::small(network).with_seed(seed), 6);
            (generator.genesis_json(), encode_chain(generator.spec(), &blocks))
        };
        assert_eq!(bytes(5), bytes(5));
        assert_ne!(bytes(5).1, bytes(6).1);
    }
}

#[test]
fn blocks_of_every_network_execute_to_what_their_headers_say() {
    for (network, author) in [
        (Network::Ethash, beneficiary as fn(&Header) -> _),
        (Network::Clique, signer),
        (Network::Beacon, beneficiary),
    ] {
        let (generator, blocks) = generate(Options::small(network), 24);
        import(&generator, &blocks, author);
        judge(generator.spec(), blocks.iter().map(|block| (&*block.block, block.total_difficulty)));
    }
}

/// Blocks that are to be judged, by hash.
struct Known(HashMap<B256, Block>);

impl Known {
    fn new<'a>(spec: &ChainSpec, blocks: impl IntoIterator<Item = &'a RecoveredBlock>) -> Self {
        let genesis = (spec.genesis_hash(), spec.genesis_block());
        let blocks = blocks.into_iter().map(|block| (block.hash, block.block.clone()));
        Self(blocks.chain([genesis]).collect())
    }
}

impl Ancestry for Known {
    fn header(&self, hash: &B256) -> Result<Option<Header>, StateError> {
        Ok(self.0.get(hash).map(|block| block.header.clone()))
    }

    fn uncles(&self, hash: &B256) -> Result<Option<Vec<Header>>, StateError> {
        Ok(self.0.get(hash).map(|block| block.body.ommers.clone()))
    }
}

/// That blocks, each with the total difficulty up to it, keep every rule but that of ethash's seals.
fn judge<'a>(spec: &Arc<ChainSpec>, blocks: impl Iterator<Item = (&'a RecoveredBlock, U256)> + Clone) {
    let options =
        quintet_consensus::Options { check_work: false, ethash_directory: None, snapshots: Arc::new(()) };
    let engine = Engine::new(Arc::clone(spec), options);
    let known = Known::new(spec, blocks.clone().map(|(block, _)| block));
    for (block, total_difficulty) in blocks {
        let header = block.header();
        let total_difficulty = total_difficulty - header.difficulty;
        let parent = &known.0[&header.parent_hash].header;
        let parent = Parent { header: parent, hash: header.parent_hash, total_difficulty };
        let rules = engine.after(total_difficulty);
        check_body(spec, &block.block).unwrap();
        let judged = rules
            .check_header(header, &parent, &known)
            .and_then(|()| rules.check_seal(header))
            .and_then(|()| rules.check_uncles(&block.block, &known));
        judged.unwrap_or_else(|error| panic!("{error}: {header:?}"));
    }
}

#[test]
fn chains_go_through_every_fork() {
    for name in
        ["Frontier", "HomesteadToDaoAt5", "EIP158ToByzantiumAt5", "Constantinople", "BerlinToLondonAt5"]
    {
        let config: ChainConfig = test_network(name).unwrap();
        let options = Options { config, ..Options::small(Network::Ethash) };
        let (generator, blocks) = generate(options, 12);
        import(&generator, &blocks, beneficiary);
        judge(generator.spec(), blocks.iter().map(|block| (&*block.block, block.total_difficulty)));
    }
    let merge = test_network("ArrowGlacierToParisAtDiffC0000").unwrap();
    let options =
        Options { config: merge, difficulty: U256::from(131_072), ..Options::small(Network::Ethash) };
    let (generator, blocks) = generate(options, 12);
    assert!(blocks[0].block.header().difficulty > U256::ZERO && generator.header().difficulty.is_zero());
    import(&generator, &blocks, beneficiary);
    judge(generator.spec(), blocks.iter().map(|block| (&*block.block, block.total_difficulty)));
}

#[test]
fn everything_that_is_promised_occurs() {
    let (generator, blocks) = generate(Options::small(Network::Ethash), 60);
    let receipts = || blocks.iter().flat_map(|block| block.receipts.iter());
    let failed = receipts().filter(|receipt| !receipt.status()).count();
    let transfer = keccak256("Transfer(address,address,uint256)");
    let transfers =
        receipts().flat_map(quintet_types::Receipt::logs).filter(|log| log.topics()[0] == transfer).count();
    let total = receipts().count();
    assert!(failed > total / 50 && failed < total / 5, "{failed} of {total} fail");
    assert!(transfers > total / 10, "{transfers} of {total} move tokens");
    let diffs = || blocks.iter().flat_map(|block| block.diff.accounts.values());
    let slots = || diffs().flat_map(|diff| diff.storage.values());
    assert!(slots().any(U256::is_zero) && slots().any(|value| !value.is_zero()));
    assert!(blocks.iter().map(|block| block.block.block.body.ommers.len()).sum::<usize>() > 3);
    let (mut destroyed, mut returned) = (HashSet::new(), 0);
    for (address, diff) in blocks.iter().flat_map(|block| &block.diff.accounts) {
        match (diff.before, diff.after) {
            (Some(_), None) => _ = destroyed.insert(*address),
            (None, Some(account)) if account.has_code() => {
                returned += usize::from(destroyed.contains(address));
            }
            _ => {}
        }
    }
    assert!(destroyed.len() > 1 && returned > 1, "{} destroyed, {returned} created again", destroyed.len());
    assert!(generator.state().accounts().count() > 40, "new accounts appear");
}

/// Every type of transaction, of which the mix has few, and withdrawals.
#[test]
fn blocks_after_the_merge_have_every_type_of_transaction() {
    let options = Options { transactions: 100, ..Options::small(Network::Beacon) };
    let (_, blocks) = generate(options, 12);
    let blocks: Vec<_> = blocks.iter().map(|block| &block.block.block).collect();
    let transactions = blocks.iter().flat_map(|block| &block.body.transactions);
    let types: HashSet<_> = transactions.map(|transaction| transaction.tx_type() as u8).collect();
    assert_eq!(types, HashSet::from([0, 1, 2, 3, 4]));
    let withdrawals = |block: &&&Block| !block.body.withdrawals.as_ref().unwrap().is_empty();
    assert!(blocks.iter().filter(withdrawals).count() > 3);
}

#[test]
fn clique_seals_are_those_of_signers_whose_turn_it_may_be() {
    let (generator, blocks) = generate(Options::small(Network::Clique), 60);
    let clique = Clique::new(1, 30_000);
    let mut snapshot = Snapshot::genesis(generator.spec().genesis_header()).unwrap();
    let mut parent = generator.spec().genesis_header().clone();
    let (mut signers, mut difficulties) = (HashSet::new(), HashSet::new());
    for block in &blocks {
        let header = block.block.header();
        clique.check_fields(header).unwrap();
        clique.check_header(header, &parent).unwrap();
        signers.insert(clique.check_seal(header, &snapshot).unwrap());
        difficulties.insert(header.difficulty);
        snapshot = clique.apply(&snapshot, std::slice::from_ref(header)).unwrap();
        parent = header.clone();
    }
    assert!(signers.len() >= 3 && difficulties.len() == 2, "{signers:?} {difficulties:?}");
}

#[test]
fn branches_of_a_tree_are_chains_each_on_its_own() {
    for (seed, network) in [(1, Network::Ethash), (2, Network::Ethash), (3, Network::Clique)] {
        let tree = ForkTree::random(seed, &TreeOptions::small(network));
        let leaves = |place: &usize| tree.blocks.iter().all(|block| block.parent != Some(*place));
        let leaves: Vec<_> = (0..tree.blocks.len()).filter(leaves).collect();
        assert!(leaves.len() > 3, "{} branches", leaves.len());
        for leaf in leaves {
            check_branch(&tree, leaf, network);
        }
        judge(&tree.spec, tree.blocks.iter().map(|block| (&*block.block, block.total_difficulty)));
    }
}

fn check_branch(tree: &ForkTree, leaf: usize, network: Network) {
    let branch: Vec<&TreeBlock> = tree.branch_of(leaf).into_iter().map(|place| &tree.blocks[place]).collect();
    let blocks = branch.iter().map(|block| block.block.block.clone()).collect();
    let spec = ChainSpec::from_json(&tree.genesis_json).unwrap();
    let author = if network == Network::Clique { signer } else { beneficiary };
    let chain = Chain::import_blocks(spec, blocks, author).unwrap_or_else(|error| panic!("{error:?}"));
    let mut total = tree.spec.genesis_header().difficulty;
    for block in branch {
        let header = block.block.header();
        total += header.difficulty;
        assert_eq!(block.total_difficulty, total);
        assert_eq!(block.state().root_from_scratch(), block.state_root());
        assert_eq!(chain.store.canonical_hash(header.number).unwrap(), Some(block.block.hash));
        assert_eq!(block.state().block_hash(header.number).unwrap(), Some(block.block.hash));
    }
}

/// What makes a tree worth importing: see that the seeds in use give it.
#[test]
fn trees_have_what_reorgs_stumble_on() {
    let trees: Vec<_> =
        (0..8).map(|seed| ForkTree::random(seed, &TreeOptions::small(Network::Ethash))).collect();
    let heavier_than_longer = |tree: &ForkTree| {
        let longest = tree.blocks.iter().map(|block| block.block.header().number).max().unwrap();
        tree.head().block.header().number < longest
    };
    assert!(trees.iter().any(heavier_than_longer));
    let mut places: HashMap<B256, usize> = HashMap::new();
    let (mut uncles, mut wiped) = (0, 0);
    for block in trees.iter().flat_map(|tree| &tree.blocks) {
        let body = &block.block.block.body;
        uncles += body.ommers.len();
        for transaction in &body.transactions {
            *places.entry(*transaction.tx_hash()).or_default() += 1;
        }
        wiped += block.diff.accounts.values().filter(|diff| diff.storage_wiped()).count();
    }
    let shared = places.values().filter(|count| **count > 1).count();
    assert!(uncles > 5 && wiped > 20 && shared > 50, "{uncles} uncles, {wiped} wiped, {shared} shared");
}

#[test]
fn an_order_has_every_block_after_its_parent() {
    let tree = ForkTree::random(9, &TreeOptions::small(Network::Ethash));
    let orders: HashSet<Vec<usize>> = (0..20).map(|seed| tree.order(seed)).collect();
    assert_eq!(orders.len(), 20);
    for order in orders {
        let mut seen = HashSet::new();
        for place in order {
            assert!(tree.blocks[place].parent.is_none_or(|parent| seen.contains(&parent)));
            assert!(seen.insert(place));
        }
        assert_eq!(seen.len(), tree.blocks.len());
    }
    let most = tree.head().total_difficulty;
    assert_eq!(tree.blocks.iter().filter(|block| block.total_difficulty == most).count(), 1);
    assert_eq!(tree.canonical().last().unwrap().block.hash, tree.head().block.hash);
}
