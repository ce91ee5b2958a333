//! Vectors of precompiled contracts (archive 17): output, gas to the unit, and failures.

use super::json;
use crate::call;
use crate::runner::Sink;
use alloy_primitives::{Bytes, hex};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Case {
    input: Bytes,
    expected: Bytes,
    gas: u64,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FailingCase {
    input: Bytes,
    expected_error: String,
    name: String,
}

/// By file: the fork that the vectors are for, and the contract's address.
const CONTRACTS: &[(&str, &str, u16)] = &[
    ("ecRecover", "Istanbul", 0x01),
    ("modexp", "Byzantium", 0x05),
    ("modexp_eip2565", "Berlin", 0x05),
    ("modexp_eip7883", "Osaka", 0x05),
    ("bn256Add", "Istanbul", 0x06),
    ("bn256ScalarMul", "Istanbul", 0x07),
    ("bn256Pairing", "Istanbul", 0x08),
    ("blake2F", "Istanbul", 0x09),
    ("blake2f", "Istanbul", 0x09),
    ("pointEvaluation", "Cancun", 0x0a),
    ("blsG1Add", "Prague", 0x0b),
    // One point is the shortest of the sums.
    ("blsG1Mul", "Prague", 0x0c),
    ("blsG1MultiExp", "Prague", 0x0c),
    ("blsG2Add", "Prague", 0x0d),
    ("blsG2Mul", "Prague", 0x0e),
    ("blsG2MultiExp", "Prague", 0x0e),
    ("blsPairing", "Prague", 0x0f),
    ("blsMapG1", "Prague", 0x10),
    ("blsMapG2", "Prague", 0x11),
    ("p256Verify", "Osaka", 0x100),
];

/// Gas of calls that must fail for another reason than its lack.
const PLENTY: u64 = 100_000_000;

fn contract(name: &str) -> Result<(&'static str, u16), String> {
    let found = CONTRACTS.iter().find(|(known, _, _)| *known == name);
    found.map(|(_, fork, address)| (*fork, *address)).ok_or_else(|| format!("unknown contract {name}"))
}

pub(super) fn run(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: Vec<Case> = json::read(&sink.bytes()?)?;
    let name = sink.stem().to_owned();
    let (fork, address) = contract(&name)?;
    for case in cases {
        let name = format!("{name} {}", case.name);
        if sink.samples(&name) {
            sink.check(fork, &name, || run_case(fork, address, &case));
        }
    }
    Ok(())
}

fn run_case(fork: &str, address: u16, case: &Case) -> Result<(), String> {
    let output = call_with_gas(fork, address, case.gas, &case.input)?;
    let output = output.ok_or_else(|| format!("failed with {} gas", case.gas))?;
    json::same("output", &hex::encode(output), &hex::encode(&case.expected))?;
    let Some(less) = case.gas.checked_sub(1) else { return Ok(()) };
    match call_with_gas(fork, address, less, &case.input)? {
        None => Ok(()),
        Some(_) => Err(format!("needs less than {} gas", case.gas)),
    }
}

pub(super) fn run_failures(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: Vec<FailingCase> = json::read(&sink.bytes()?)?;
    let name = sink.stem().trim_start_matches("fail-").to_owned();
    let (fork, address) = contract(&name)?;
    for case in cases {
        sink.check(fork, &format!("{name} {}", case.name), || {
            match call_with_gas(fork, address, PLENTY, &case.input)? {
                None => Ok(()),
                Some(output) => Err(format!("returned {output} instead of: {}", case.expected_error)),
            }
        });
    }
    Ok(())
}

/// Has a contract call the precompiled one with all its input and this much gas. `None` if that failed.
fn call_with_gas(fork: &str, address: u16, gas: u64, input: &Bytes) -> Result<Option<Bytes>, String> {
    let merged = matches!(fork, "Cancun" | "Prague" | "Osaka");
    let mut code = hex!("36600060003760006000366000").to_vec();
    code.push(0x61);
    code.extend(address.to_be_bytes());
    code.push(0x67);
    code.extend(gas.to_be_bytes());
    // STATICCALL; then whether it succeeded, and what it returned.
    code.extend(hex!("fa6000523d600060203e3d60200160 00f3"));
    let output = call::run(&json::network(fork)?, merged, code, input.clone())?;
    let success = output.get(31).ok_or("no word returned")? == &1;
    Ok(success.then(|| output.slice(32..)))
}
