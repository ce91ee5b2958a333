//! Chains that other clients made, from Frontier to BPO2, executed block by block: every header's gas used,
//! receipts, bloom, requests and state root come out, and the states that the store then gives for past
//! blocks have the roots of those blocks.

use alloy_primitives::{Address, B256, Signature, U256, b256};
use quintet_chainspec::ChainSpec;
use quintet_testkit::chain::{Chain, decode_blocks};
use quintet_testkit::vectors::archive;
use quintet_types::Header;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Bytes of the seal at the end of a clique header's extra data (EIP-225).
const CLIQUE_SEAL: usize = 65;

fn read(root: &Path, file: &str) -> Vec<u8> {
    let path = root.join(file);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(root: &Path, file: &str) -> String {
    String::from_utf8(read(root, file)).unwrap()
}

/// Imports a chain, and checks its head and the states of `samples` of its blocks.
fn import(root: &Path, genesis: &str, blocks: &str, head: (u64, B256), samples: u64) -> Chain {
    let chain = Chain::import(&text(root, genesis), &read(root, blocks));
    let chain = chain.unwrap_or_else(|error| panic!("{blocks}: {error:?}"));
    assert_eq!((chain.head.number, chain.head.hash), head);
    check_states(&chain, samples);
    chain
}

/// The states of some blocks, evenly spread, computed anew from all that the store gives for them.
fn check_states(chain: &Chain, samples: u64) {
    let step = usize::try_from(chain.head.number.div_ceil(samples).max(1)).unwrap();
    for number in (0..=chain.head.number).rev().step_by(step) {
        let expected = chain.header(number).unwrap().state_root;
        assert_eq!(chain.root_from_scratch(number).unwrap(), expected, "state of block {number}");
    }
}

#[test]
fn every_fork_from_frontier_to_bpo2() {
    let Some(root) = archive("10") else { return };
    let head = b256!("d226371d0b1551adb03fb52b71f08e3e11247fe9b1af994768af8cdaa8e7dcd7");
    let root = root.join("tests-50d1e5e0-osaka");
    let chain = import(&root, "genesis.json", "chain.rlp", (54, head), 54);
    assert!(chain.header(54).unwrap().requests_hash.is_some());
}

#[test]
fn a_proof_of_work_chain_with_all_forks_at_its_genesis() {
    let Some(root) = archive("10") else { return };
    let head = b256!("41e7e67caa9f796260ffc21390d2050210880c1056cdeee7081dc87f2d4a6902");
    import(&root.join("tests-7474e630-premerge-pow"), "genesis.json", "chain.rlp", (3, head), 3);
}

#[test]
fn frontier_with_uncles() {
    let Some(root) = archive("11") else { return };
    let head = b256!("71d59849ddd98543bdfbe8548f5eed559b07b8aaf196369f39134500eab68e53");
    let root = root.join("chain-data");
    import(&root, "testGenesis.json", "testBlockchain.blocks", (32, head), 32);
}

#[test]
fn cancun_prague_and_osaka_by_another_client() {
    let Some(root) = archive("11") else { return };
    let root = root.join("jsonrpc/debug-geth/chain-data");
    let blocks = decode_blocks(&read(&root, "blocks.bin")).unwrap();
    let head = blocks.last().unwrap().header.clone();
    import(&root, "genesis.json", "blocks.bin", (head.number, head.hash_slow()), 40);
}

#[test]
fn clique_pays_its_signers() {
    let Some(root) = archive("12") else { return };
    let root = root.join("besu-clique-5-blocks");
    let spec = ChainSpec::from_json(&text(&root, "clique_to_pos.json")).unwrap();
    let blocks = decode_blocks(&read(&root, "clique.blocks")).unwrap();
    let chain = Chain::import_blocks(spec, blocks, clique_signer).unwrap();
    let head = b256!("ae48cf1ec1ba9ca96eb32fdac8b00ee22880e508fdb2aac93774b43a701aec1c");
    assert_eq!((chain.head.number, chain.head.hash), (4, head));
    check_states(&chain, 4);
}

fn clique_signer(header: &Header) -> Address {
    let split = header.extra_data.len() - CLIQUE_SEAL;
    let signature = Signature::from_raw(&header.extra_data[split..]).unwrap();
    let unsealed = Header { extra_data: header.extra_data.slice(..split), ..header.clone() };
    signature.recover_address_from_prehash(&unsealed.hash_slow()).unwrap()
}

#[test]
fn the_first_thousand_blocks_of_mainnet() {
    let Some(root) = archive("12") else { return };
    let blocks = decode_blocks(&read(&root.join("mainnet-0-999"), "blocks.rlp")).unwrap();
    let chain =
        Chain::import_blocks(ChainSpec::preset("mainnet").unwrap(), blocks, |header| header.beneficiary);
    let chain = chain.unwrap();
    let head = b256!("c31b362e591aa07faa977dbc492ae43cd47eef291920435153bbbf3acaf2fc2f");
    assert_eq!((chain.head.number, chain.head.hash), (999, head));
    check_states(&chain, 2);
}

#[derive(Deserialize)]
struct PostState {
    accounts: BTreeMap<Address, PostAccount>,
}

#[derive(Deserialize)]
struct PostAccount {
    balance: String,
    nonce: u64,
}

#[test]
fn three_thousand_blocks_and_the_state_after_them() {
    let Some(root) = archive("14") else { return };
    let root = root.join("hive-simplechain");
    let head = b256!("c95596f4707fb382554b660b4847c599eb5f8fdcf99be2c5654aaadd4ec97840");
    let chain = import(&root, "genesis.json", "chain.rlp", (3000, head), 20);
    let post: PostState = serde_json::from_slice(&read(&root, "chain_poststate.json")).unwrap();
    assert!(!post.accounts.is_empty());
    for (address, expected) in post.accounts {
        let account = chain.store.account_at(&address, 3000).unwrap().expect("the account exists");
        let balance: U256 = expected.balance.parse().unwrap();
        assert_eq!((account.nonce, account.balance), (expected.nonce, balance), "{address}");
    }
}

/// Frontier to Muir Glacier, the DAO's fork included, with the state tests' 22,000 transactions.
#[test]
fn state_tests_on_a_chain_through_every_fork_of_proof_of_work() {
    let Some(root) = archive("14") else { return };
    let root = root.join("core-geth-foundation-condense-state");
    let head = b256!("8e8dfbabab379f2459d97ac3ec2c0ccfbbe920edc5c19043b89dc94f9ec2f707");
    import(&root, "foundation.conf.json", "export.rlp", (1310, head), 10);
}

/// Makes a header wrong.
type Spoil = fn(&mut Header);

/// The checks see what they are there for.
#[test]
fn a_block_that_does_not_execute_to_its_header_is_named() {
    let Some(root) = archive("10") else { return };
    let root = root.join("tests-7474e630-premerge-pow");
    let genesis = text(&root, "genesis.json");
    let blocks = decode_blocks(&read(&root, "chain.rlp")).unwrap();
    let spoil: [(Spoil, &str); 4] = [
        (|header| header.state_root = B256::ZERO, "state root"),
        (|header| header.receipts_root = B256::ZERO, "executed to"),
        (|header| header.gas_used += 1, "executed to"),
        (|header| header.parent_hash = B256::ZERO, "not the head"),
    ];
    for (spoil, expected) in spoil {
        let mut blocks = blocks.clone();
        let last = blocks.last_mut().unwrap();
        spoil(&mut last.header);
        let spec = ChainSpec::from_json(&genesis).unwrap();
        let error =
            Chain::import_blocks(spec, blocks, |header| header.beneficiary).err().expect("it is wrong");
        let text = format!("{error:#}");
        assert!(text.starts_with("block 3 ") && text.contains(expected), "{text}");
    }
}
