//! Fork ids (EIP-2124): made, judged, encoded.

use super::json;
use crate::runner::Sink;
use alloy_primitives::hex;
use alloy_rlp::{Decodable, Encodable};
use quintet_chainspec::{ChainSpec, ForkHash, ForkId, Head, ValidationError};
use quintet_testkit::networks::eip2124_network;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    creation: Vec<Creation>,
    validation: Vec<Validation>,
    rlp: Vec<Encoding>,
}

#[derive(Deserialize)]
struct Creation {
    network: String,
    head: u64,
    hash: String,
    next: u64,
}

#[derive(Deserialize)]
struct Validation {
    network: String,
    head: u64,
    remote_hash: String,
    remote_next: u64,
    expect: String,
}

#[derive(Deserialize)]
struct Encoding {
    hash: String,
    next: String,
    rlp: String,
}

pub(super) fn run(sink: &mut Sink<'_>) -> Result<(), String> {
    let vectors: Vectors = json::read(&sink.bytes()?)?;
    for case in &vectors.creation {
        sink.check(&case.network, &format!("creation at {}", case.head), || {
            let spec = network(&case.network)?;
            let have = spec.fork_id(Head { number: case.head, timestamp: 0 });
            expect(have, ForkId { hash: fork_hash(&case.hash)?, next: case.next })
        });
    }
    for (index, case) in vectors.validation.iter().enumerate() {
        let name = case.network.split(' ').next().unwrap_or_default();
        sink.check(name, &format!("validation {index} at {}", case.head), || {
            let remote = ForkId { hash: fork_hash(&case.remote_hash)?, next: case.remote_next };
            let head = Head { number: case.head, timestamp: 0 };
            let have = match network(name)?.validate_fork_id(remote, head) {
                Ok(()) => "accept",
                Err(ValidationError::RemoteStale { .. }) => "ErrRemoteStale",
                Err(ValidationError::LocalIncompatibleOrStale { .. }) => "ErrLocalIncompatibleOrStale",
            };
            json::same("judgement", &have, &case.expect.as_str())
        });
    }
    for case in &vectors.rlp {
        sink.check("", &format!("RLP {}", case.rlp), || {
            let id = ForkId { hash: fork_hash(&case.hash)?, next: json::number(&case.next)?.to() };
            let mut encoded = Vec::new();
            id.encode(&mut encoded);
            json::same("encoding", &hex::encode(&encoded), &case.rlp)?;
            expect(ForkId::decode(&mut encoded.as_slice()).map_err(|error| error.to_string())?, id)
        });
    }
    Ok(())
}

fn expect(have: ForkId, want: ForkId) -> Result<(), String> {
    if have == want { Ok(()) } else { Err(format!("fork id is {have:?} instead of {want:?}")) }
}

fn fork_hash(text: &str) -> Result<ForkHash, String> {
    let number: u32 = json::number(text)?.try_into().map_err(|_| format!("{text} is no fork hash"))?;
    Ok(ForkHash(number.to_be_bytes()))
}

fn network(name: &str) -> Result<ChainSpec, String> {
    eip2124_network(name).ok_or_else(|| format!("no network {name}"))
}
