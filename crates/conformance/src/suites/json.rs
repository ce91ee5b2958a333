//! What the JSON of several suites has in common.

use alloy_primitives::{Address, Bytes, U256};
use quintet_chainspec::{ChainConfig, ChainSpec, Genesis};
use quintet_testkit::networks::test_network;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Display;

/// An account of a state.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Account {
    pub(crate) nonce: U256,
    pub(crate) balance: U256,
    pub(crate) code: Bytes,
    #[serde(default)]
    pub(crate) storage: BTreeMap<U256, U256>,
}

/// A state by address.
pub(crate) type State = BTreeMap<Address, Account>;

/// Reads JSON.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("unreadable: {error}"))
}

/// The named tests of a file, each still as text: those that a sample leaves out are not parsed.
pub(crate) fn tests(bytes: &[u8]) -> Result<BTreeMap<String, &RawValue>, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("unreadable: {error}"))
}

/// The chain that the vectors call `name`: chain id 1, proof of work before the merge.
pub(crate) fn network(name: &str) -> Result<ChainSpec, String> {
    let config = network_config(name)?;
    spec(Genesis { config: Some(config), ..Genesis::default() })
}

/// Its configuration.
pub(crate) fn network_config(name: &str) -> Result<ChainConfig, String> {
    test_network(name).ok_or_else(|| format!("unknown network {name}"))
}

/// A chain with this genesis.
pub(crate) fn spec(genesis: Genesis) -> Result<ChainSpec, String> {
    ChainSpec::new(genesis).map_err(|error| error.to_string())
}

/// A number in decimal or, after `0x`, in hexadecimal.
pub(crate) fn number(text: &str) -> Result<U256, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

/// Says what differs.
pub(crate) fn same<T: PartialEq + Display>(what: &str, have: &T, want: &T) -> Result<(), String> {
    if have == want { Ok(()) } else { Err(format!("{what} is {have} instead of {want}")) }
}
