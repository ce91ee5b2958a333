//! The chains that the tests run on.

use quintet_chainspec::{ChainConfig, ChainSpec, Genesis};
use quintet_testkit::networks::test_network;

/// A chain of the vectors' name for it: chain id 1, proof of work before the merge.
pub(crate) fn spec(name: &str) -> ChainSpec {
    network(name, |_| ())
}

/// The same with changes.
pub(crate) fn network(name: &str, change: impl FnOnce(&mut ChainConfig)) -> ChainSpec {
    let mut config = test_network(name).unwrap_or_else(|| panic!("unknown network {name}"));
    change(&mut config);
    ChainSpec::new(Genesis { config: Some(config), ..Genesis::default() }).unwrap()
}
