//! EIP-225's voting scenarios: blocks are sealed as the scenario says, and checked one after another.

use super::json;
use crate::runner::Sink;
use alloy_consensus::EMPTY_OMMER_ROOT_HASH;
use alloy_primitives::{Address, keccak256};
use quintet_clique::{Clique, CliqueError, EXTRA_SEAL, EXTRA_VANITY, NONCE_AUTHORIZE, NONCE_DROP, Snapshot};
use quintet_testkit::accounts::TestAccount;
use quintet_types::Header;
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    epoch: u64,
    signers: Vec<String>,
    blocks: Vec<Vote>,
    results: Option<Vec<String>>,
    failure: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vote {
    signer: String,
    voted: Option<String>,
    #[serde(default)]
    auth: bool,
    checkpoint: Option<Vec<String>>,
}

pub(super) fn run_votes(sink: &mut Sink<'_>) -> Result<(), String> {
    let scenarios: Vec<Scenario> = json::read(&sink.bytes()?)?;
    for (index, scenario) in scenarios.iter().enumerate() {
        sink.check("", &format!("scenario {index}"), || run_scenario(scenario));
    }
    Ok(())
}

fn run_scenario(scenario: &Scenario) -> Result<(), String> {
    let clique = Clique::new(1, scenario.epoch);
    let mut parent = genesis(&scenario.signers);
    let mut snapshot = Snapshot::genesis(&parent).map_err(|error| error.to_string())?;
    for (index, vote) in scenario.blocks.iter().enumerate() {
        let header = sealed(&clique, vote, &parent, &snapshot)?;
        let next = clique
            .check_header(&header, &parent)
            .and_then(|()| clique.check_seal(&header, &snapshot))
            .and_then(|_| clique.apply(&snapshot, std::slice::from_ref(&header)));
        match (next, &scenario.failure) {
            (Ok(next), _) => snapshot = next,
            (Err(error), Some(failure)) if index + 1 == scenario.blocks.len() => {
                return json::same("failure", &name(&error), &failure.as_str());
            }
            (Err(error), _) => return Err(format!("block {}: {error}", header.number)),
        }
        parent = header;
    }
    let results = scenario.results.as_ref().ok_or("the last block did not fail")?;
    let want: BTreeSet<Address> = results.iter().map(|name| account(name).address).collect();
    if snapshot.signers == want {
        return Ok(());
    }
    Err(format!("signers are {:?} instead of {want:?}", snapshot.signers))
}

/// The account that the scenarios call by this letter.
fn account(name: &str) -> TestAccount {
    TestAccount::from_secret(keccak256(name))
}

/// What geth calls the error.
const fn name(error: &CliqueError) -> &'static str {
    match error {
        CliqueError::UnauthorizedSigner => "errUnauthorizedSigner",
        CliqueError::RecentlySigned => "errRecentlySigned",
        _ => "another error",
    }
}

/// Extra data without its seal: signers in ascending order.
fn extra(signers: &[String]) -> Vec<u8> {
    let signers: BTreeSet<Address> = signers.iter().map(|name| account(name).address).collect();
    let mut extra = vec![0; EXTRA_VANITY];
    extra.extend(signers.iter().flatten());
    extra.resize(extra.len() + EXTRA_SEAL, 0);
    extra
}

fn genesis(signers: &[String]) -> Header {
    Header {
        extra_data: extra(signers).into(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        difficulty: quintet_clique::DIFFICULTY_NO_TURN,
        ..Header::default()
    }
}

fn sealed(clique: &Clique, vote: &Vote, parent: &Header, snapshot: &Snapshot) -> Result<Header, String> {
    let signer = account(&vote.signer);
    let number = parent.number + 1;
    let mut header = Header {
        parent_hash: parent.hash_slow(),
        number,
        timestamp: parent.timestamp + clique.period(),
        beneficiary: vote.voted.as_deref().map(|name| account(name).address).unwrap_or_default(),
        nonce: if vote.auth { NONCE_AUTHORIZE } else { NONCE_DROP },
        difficulty: snapshot.difficulty(number, &signer.address),
        extra_data: extra(vote.checkpoint.as_deref().unwrap_or_default()).into(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        ..Header::default()
    };
    let sign = |hash| {
        let mut seal = signer.sign_hash(hash).as_bytes();
        // Clique's recovery id is 0 or 1.
        seal[64] -= 27;
        seal
    };
    clique.seal(&mut header, sign).map_err(|error| error.to_string())?;
    Ok(header)
}
