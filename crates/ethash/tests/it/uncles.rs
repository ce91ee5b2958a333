//! Which uncles a block may have.

use alloy_primitives::{B256, Bytes};
use quintet_ethash::check_uncles;
use quintet_types::{Ancestry, Block, Body, Header, StateError};
use std::collections::HashMap;

/// A chain of ten blocks without uncles, and a side block on each.
struct Chain {
    headers: Vec<Header>,
    blocks: HashMap<B256, (Header, Vec<Header>)>,
}

impl Ancestry for Chain {
    fn header(&self, hash: &B256) -> Result<Option<Header>, StateError> {
        Ok(self.blocks.get(hash).map(|(header, _)| header.clone()))
    }

    fn uncles(&self, hash: &B256) -> Result<Option<Vec<Header>>, StateError> {
        Ok(self.blocks.get(hash).map(|(_, uncles)| uncles.clone()))
    }
}

impl Chain {
    fn new() -> Self {
        let mut chain = Self { headers: Vec::new(), blocks: HashMap::new() };
        let genesis = Header { ommers_hash: ommers_hash(&[]), ..Header::default() };
        chain.push(genesis, Vec::new());
        for _ in 0..10 {
            let header = chain.child(Vec::new());
            chain.push(header.header, Vec::new());
        }
        chain
    }

    fn push(&mut self, header: Header, uncles: Vec<Header>) {
        self.blocks.insert(header.hash_slow(), (header.clone(), uncles));
        self.headers.push(header);
    }

    /// A block on the head.
    fn child(&self, uncles: Vec<Header>) -> Block {
        let parent = self.headers.last().unwrap();
        let header = Header {
            parent_hash: parent.hash_slow(),
            number: parent.number + 1,
            ommers_hash: ommers_hash(&uncles),
            ..Header::default()
        };
        Block { header, body: Body { ommers: uncles, ..Body::default() } }
    }

    /// A block beside the chain, on the block of this number.
    fn beside(&self, parent: usize, extra: &'static [u8]) -> Header {
        let parent = &self.headers[parent];
        Header {
            parent_hash: parent.hash_slow(),
            number: parent.number + 1,
            extra_data: Bytes::from_static(extra),
            ..Header::default()
        }
    }

    fn refused(&self, uncles: Vec<Header>) -> String {
        check_uncles(&self.child(uncles), self).unwrap_err().to_string()
    }
}

fn ommers_hash(uncles: &[Header]) -> B256 {
    alloy_consensus::proofs::calculate_ommers_root(uncles)
}

#[test]
fn two_uncles_of_the_last_generations() {
    let chain = Chain::new();
    // The head is block 10, so the block is 11: its second to seventh ancestors are blocks 9 to 4.
    for parent in 4..=9 {
        let uncles = vec![chain.beside(parent, b"a"), chain.beside(parent, b"b")];
        let checked = check_uncles(&chain.child(uncles.clone()), &chain).unwrap();
        assert_eq!(
            checked.iter().map(|uncle| &uncle.header).collect::<Vec<_>>(),
            uncles.iter().collect::<Vec<_>>()
        );
        assert!(checked.iter().all(|uncle| uncle.parent == chain.headers[parent]));
    }
    assert!(check_uncles(&chain.child(Vec::new()), &chain).unwrap().is_empty());
}

#[test]
fn everything_else_is_refused() {
    let chain = Chain::new();
    let good = chain.beside(8, b"a");
    let three = vec![good.clone(), chain.beside(8, b"b"), chain.beside(8, b"c")];
    assert_eq!(chain.refused(three), "too many uncles");
    assert_eq!(chain.refused(vec![good.clone(), good.clone()]), "duplicate uncle");
    for parent in [3, 10] {
        assert_eq!(
            chain.refused(vec![chain.beside(parent, b"a")]),
            "uncle's parent is not ancestor",
            "{parent}"
        );
    }
    let unknown = Header { parent_hash: B256::repeat_byte(7), ..good.clone() };
    assert_eq!(chain.refused(vec![unknown]), "uncle's parent is not ancestor");
    for ancestor in [9, 10] {
        assert_eq!(chain.refused(vec![chain.headers[ancestor].clone()]), "uncle is ancestor");
    }
    assert_eq!(chain.refused(vec![good.clone(), chain.headers[9].clone()]), "uncle is ancestor");
}

#[test]
fn an_uncle_is_included_once() {
    let mut chain = Chain::new();
    let uncle = chain.beside(8, b"a");
    let nephew = chain.child(vec![uncle.clone()]);
    chain.push(nephew.header, vec![uncle.clone()]);
    assert_eq!(chain.refused(vec![uncle]), "duplicate uncle");
    assert!(check_uncles(&chain.child(vec![chain.beside(8, b"b")]), &chain).is_ok());
}

#[test]
fn near_genesis_there_are_fewer_ancestors() {
    let mut chain = Chain::new();
    chain.headers.truncate(3);
    let uncle = chain.beside(0, b"a");
    assert_eq!(check_uncles(&chain.child(vec![uncle]), &chain).unwrap().len(), 1);
}
