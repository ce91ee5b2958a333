//! The voting scenarios of EIP-225: each block is checked in full, and then applied.

use crate::network::{Network, Signer};
use alloy_primitives::Address;
use quintet_clique::{CliqueError, NONCE_AUTHORIZE, NONCE_DROP, Proposals, Snapshot, signers_of_checkpoint};
use quintet_testkit::vectors::archive;
use quintet_types::Header;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;

#[derive(Debug, Deserialize)]
struct Scenario {
    epoch: u64,
    signers: Vec<String>,
    blocks: Vec<Block>,
    results: Option<Vec<String>>,
    failure: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Block {
    signer: String,
    voted: Option<String>,
    #[serde(default)]
    auth: bool,
    checkpoint: Option<Vec<String>>,
}

fn addresses(names: &[String]) -> BTreeSet<Address> {
    names.iter().map(|name| Signer::named(name).address).collect()
}

/// Runs a scenario, and gives the last snapshot, and the blocks.
fn run(scenario: &Scenario) -> Result<(Snapshot, Vec<Header>), CliqueError> {
    let mut network = Network::new(1, scenario.epoch, addresses(&scenario.signers));
    let mut headers = Vec::new();
    for block in &scenario.blocks {
        let signer = Signer::named(&block.signer);
        let mut header = network.prepared(&signer, &Proposals::new());
        if let Some(voted) = &block.voted {
            // Also where it would change nothing: a signer that prepares a header would not cast such a vote.
            header.beneficiary = Signer::named(voted).address;
            header.nonce = if block.auth { NONCE_AUTHORIZE } else { NONCE_DROP };
        }
        let header = network.sealed(header, &signer);
        let listed: BTreeSet<_> = signers_of_checkpoint(&header)?.into_iter().collect();
        assert_eq!(listed, addresses(block.checkpoint.as_deref().unwrap_or_default()));
        network.add(header.clone())?;
        headers.push(header);
    }
    Ok(((*network.snapshot()).clone(), headers))
}

#[test]
fn the_scenarios_of_eip_225() {
    let Some(root) = archive("09") else { return };
    let text = fs::read_to_string(root.join("eip225-clique-votes.json")).unwrap();
    let scenarios: Vec<Scenario> = serde_json::from_str(&text).unwrap();
    assert_eq!(scenarios.len(), 23);
    for (index, scenario) in scenarios.iter().enumerate() {
        match (run(scenario), &scenario.results, scenario.failure.as_deref()) {
            (Ok((snapshot, headers)), Some(results), None) => {
                assert_eq!(snapshot.signers, addresses(results), "scenario {index}: {scenario:?}");
                applied_at_once(scenario, &headers, &snapshot);
            }
            (Err(CliqueError::UnauthorizedSigner), None, Some("errUnauthorizedSigner"))
            | (Err(CliqueError::RecentlySigned), None, Some("errRecentlySigned")) => {}
            (outcome, ..) => panic!("scenario {index}: {outcome:?} instead of {scenario:?}"),
        }
    }
}

/// All blocks in one step give what they give one after another.
fn applied_at_once(scenario: &Scenario, headers: &[Header], expected: &Snapshot) {
    let network = Network::new(1, scenario.epoch, addresses(&scenario.signers));
    assert_eq!(network.clique.apply(&network.snapshot(), headers).unwrap(), *expected);
}
