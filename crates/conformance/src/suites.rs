//! Which suite a file belongs to.

mod basic;
mod blockchain;
mod chains;
mod clique;
mod difficulty;
mod ethash;
mod forkid;
mod genesis;
pub(crate) mod json;
mod mainnet;
mod opcodes;
mod precompiles;
mod rlp;
mod state;
mod transaction;
mod trie;

use crate::runner::Sink;

/// The archives that are run.
pub(crate) const ARCHIVES: [&str; 13] =
    ["01", "02", "03", "04", "05", "06", "09", "12", "13", "14", "17", "19", "20"];

/// Reads a file and runs its cases.
///
/// # Errors
/// When the file is not what its suite expects.
pub(crate) type Run = fn(&mut Sink<'_>) -> Result<(), String>;

/// What is done about a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// A suite runs it.
    Suite {
        /// The suite's name, which begins with its archive's number.
        suite: &'static str,
        /// How.
        run: Run,
        /// Whether it takes longer than its size makes one think.
        heavy: bool,
    },
    /// The suite reads it together with another file.
    Companion {
        /// The suite's name.
        suite: &'static str,
    },
    /// There is nothing in it to run.
    NoVectors {
        /// The suite's name.
        suite: &'static str,
        /// Why not.
        reason: &'static str,
    },
}

impl Route {
    /// The suite's name.
    pub(crate) const fn suite(&self) -> &'static str {
        match self {
            Self::Suite { suite, .. } | Self::Companion { suite } | Self::NoVectors { suite, .. } => suite,
        }
    }

    /// What goes first.
    pub(crate) const fn weight(&self) -> u8 {
        matches!(self, Self::Suite { heavy: true, .. }) as u8
    }
}

/// Where the path of a file in its archive must begin and end, and what is done about it. The first that fits counts.
struct Rule {
    archive: &'static str,
    begins: &'static str,
    ends: &'static str,
    route: Route,
}

const fn suite(
    archive: &'static str,
    begins: &'static str,
    ends: &'static str,
    suite: &'static str,
    run: Run,
) -> Rule {
    Rule { archive, begins, ends, route: Route::Suite { suite, run, heavy: false } }
}

const fn heavy(
    archive: &'static str,
    begins: &'static str,
    ends: &'static str,
    suite: &'static str,
    run: Run,
) -> Rule {
    Rule { archive, begins, ends, route: Route::Suite { suite, run, heavy: true } }
}

const fn beside(
    archive: &'static str,
    begins: &'static str,
    ends: &'static str,
    suite: &'static str,
) -> Rule {
    Rule { archive, begins, ends, route: Route::Companion { suite } }
}

const fn none(
    archive: &'static str,
    begins: &'static str,
    ends: &'static str,
    suite: &'static str,
    reason: &'static str,
) -> Rule {
    Rule { archive, begins, ends, route: Route::NoVectors { suite, reason } }
}

const LICENCE: &str = "a licence, not vectors";
const PROSE: &str = "prose, not vectors";

const STATE_01: &str = "01 state tests (legacy)";
const STATE_02: &str = "02 state tests (EEST)";
const CHAINS_03: &str = "03 blockchain tests (proof of work)";
const CHAINS_04: &str = "04 blockchain tests (Istanbul to Cancun)";
const CHAINS_05: &str = "05 blockchain tests (EEST)";
const BASIC: &str = "06 basic";
const DIFFICULTY: &str = "06 difficulty";
const GENESIS: &str = "06 genesis";
const POW: &str = "06 proof of work";
const RLP: &str = "06 RLP";
const TRANSACTION: &str = "06 transaction";
const TRIE: &str = "06 trie";
const KEYSTORE: &str = "06 keystore";
const ABI: &str = "06 ABI";
const FORK_ID: &str = "09 fork id";
const CLIQUE: &str = "09 clique votes";
const ETHASH: &str = "09 ethash";
const MAINNET: &str = "12 mainnet blocks";
const CHAINS_12: &str = "12 chains";
const FEES: &str = "12 base fee";
const NETWORKS: &str = "13 genesis of networks";
const CHAINS_14: &str = "14 chains";
const GENESIS_14: &str = "14 genesis";
const PRECOMPILES: &str = "17 precompiles";
const OPCODES: &str = "17 opcodes";
const CHAINS_19: &str = "19 blockchain tests (of state tests)";
const CHAINS_20: &str = "20 clique chain of geth 1.8.27";

#[rustfmt::skip]
const RULES: [Rule; 60] = [
    none("01", "LICENSE", "", STATE_01, LICENCE),
    suite("01", "", ".json", STATE_01, state::run_legacy),
    suite("02", "", ".json", STATE_02, state::run),
    none("03", "LICENSE", "", CHAINS_03, LICENCE),
    suite("03", "", ".json", CHAINS_03, blockchain::run),
    none("04", "LICENSE", "", CHAINS_04, LICENCE),
    suite("04", "", ".json", CHAINS_04, blockchain::run),
    suite("05", "", ".json", CHAINS_05, blockchain::run),
    none("06", "LICENSE", "", BASIC, LICENCE),
    none("06", "docs-test-formats/", ".rst", BASIC, PROSE),
    none("06", "ABITests/", ".json", ABI, "the ABI is a matter of clients: a node never encodes or decodes by it"),
    none("06", "KeyStoreTests/", ".json", KEYSTORE, "key files are a later part of the product"),
    suite("06", "BasicTests/difficulty", ".json", DIFFICULTY, difficulty::run_basic),
    suite("06", "BasicTests/genesishashestest", ".json", GENESIS, genesis::run_mainnet_hash),
    none("06", "BasicTests/blockgenesistest", ".json", GENESIS, "headers of a proof of concept before Frontier, without a bloom"),
    none("06", "BasicTests/crypto", ".json", BASIC, "AES and ECIES come with key files and RLPx, later parts of the product"),
    suite("06", "BasicTests/hexencodetest", ".json", TRIE, trie::run_paths),
    suite("06", "BasicTests/keyaddrtest", ".json", BASIC, basic::run_keys),
    suite("06", "BasicTests/txtest", ".json", BASIC, basic::run_transactions),
    suite("06", "DifficultyTests/", ".json", DIFFICULTY, difficulty::run),
    suite("06", "GenesisTests/", ".json", GENESIS, genesis::run_blocks),
    suite("06", "PoWTests/", ".json", POW, ethash::run_pow),
    suite("06", "RLPTests/", ".json", RLP, rlp::run),
    suite("06", "TransactionTests/", ".json", TRANSACTION, transaction::run),
    suite("06", "TrieTests/", ".json", TRIE, trie::run),
    none("09", "text/", ".md", FORK_ID, PROSE),
    suite("09", "eip2124-forkid", ".json", FORK_ID, forkid::run),
    suite("09", "eip225-clique-votes", ".json", CLIQUE, clique::run_votes),
    suite("09", "ethash-cache_sizes", ".json", ETHASH, ethash::run_cache_sizes),
    suite("09", "ethash-dataset_sizes", ".json", ETHASH, ethash::run_dataset_sizes),
    heavy("09", "ethash-hash-cases", ".json", ETHASH, ethash::run_hashes),
    suite("12", "basefee-test", ".json", FEES, mainnet::run_fees),
    suite("12", "besu-clique-5-blocks/clique", ".blocks", CHAINS_12, chains::run_besu_clique),
    beside("12", "besu-clique-5-blocks/clique_to_pos", ".json", CHAINS_12),
    heavy("12", "mainnet-0-999/blocks", ".rlp", CHAINS_12, chains::run_mainnet),
    beside("12", "mainnet-0-999/badpow-block", ".rlp", CHAINS_12),
    beside("12", "mainnet-0-999/genesis", ".json", CHAINS_12),
    suite("12", "mainnet-header-body-receipts/", ".yaml", MAINNET, mainnet::run_portal),
    heavy("12", "mainnet-single-blocks/", ".blocks", MAINNET, mainnet::run_single),
    suite("13", "geth-format/", "", NETWORKS, genesis::run_network),
    suite("13", "besu-format/", ".json", NETWORKS, genesis::run_network),
    none("14", "core-geth-foundation-condense-state/README", ".md", CHAINS_14, PROSE),
    none("14", "core-geth-foundation-condense-state/geth_version", ".txt", CHAINS_14, PROSE),
    heavy("14", "core-geth-foundation-condense-state/export", ".rlp", CHAINS_14, chains::run_core_geth),
    beside("14", "core-geth-foundation-condense-state/foundation.conf", ".json", CHAINS_14),
    heavy("14", "hive-simplechain/chain", ".rlp", CHAINS_14, chains::run_hive),
    beside("14", "hive-simplechain/genesis", ".json", CHAINS_14),
    beside("14", "hive-simplechain/chain_poststate", ".json", CHAINS_14),
    suite("14", "hive-smoke-genesis/expected-hashes", ".json", GENESIS_14, genesis::run_hive),
    beside("14", "hive-smoke-genesis/genesis-", ".json", GENESIS_14),
    suite("17", "precompiles/fail-", ".json", PRECOMPILES, precompiles::run_failures),
    suite("17", "precompiles/", ".json", PRECOMPILES, precompiles::run),
    suite("17", "testcases_", ".json", OPCODES, opcodes::run),
    none("19", "LICENSE", "", CHAINS_19, LICENCE),
    suite("19", "", ".json", CHAINS_19, blockchain::run),
    heavy("20", "chain", ".rlp", CHAINS_20, chains::run_geth_clique),
    beside("20", "genesis", ".json", CHAINS_20),
    none("20", "rpc", ".json", CHAINS_20, "JSON-RPC, which the gateway's tests compare"),
    none("02", "LICENSE", "", STATE_02, LICENCE),
    none("05", "LICENSE", "", CHAINS_05, LICENCE),
];

/// The suites of an archive.
pub(crate) fn names(archive: &str) -> impl Iterator<Item = &'static str> {
    RULES.iter().filter(move |rule| rule.archive == archive).map(|rule| rule.route.suite())
}

/// What is done about the file of this name in an archive; `None` for one that nobody expected.
pub(crate) fn route(archive: &str, file: &str) -> Option<Route> {
    let fits =
        |rule: &&Rule| rule.archive == archive && file.starts_with(rule.begins) && file.ends_with(rule.ends);
    RULES.iter().find(fits).map(|rule| rule.route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_to_their_suites_and_strangers_to_none() {
        let suite = |archive, file| route(archive, file).map(|route| route.suite());
        assert_eq!(suite("06", "TransactionTests/ttNonce/a.json"), Some(TRANSACTION));
        assert_eq!(suite("06", "BasicTests/difficultyRopsten.json"), Some(DIFFICULTY));
        assert_eq!(suite("14", "hive-simplechain/chain_poststate.json"), Some(CHAINS_14));
        assert_eq!(suite("06", "NewTests/a.json"), None);
        assert_eq!(suite("01", "a.yaml"), None);
        for archive in ARCHIVES {
            assert!(names(archive).all(|suite| suite.starts_with(archive)), "{archive}");
        }
    }
}
