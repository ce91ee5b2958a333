//! The genesis block and state that a genesis file stands for: geth's `Genesis.ToBlock`.

use crate::Genesis;
use alloy_consensus::constants::{EMPTY_ROOT_HASH, EMPTY_WITHDRAWALS};
use alloy_eips::eip1559::INITIAL_BASE_FEE;
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{B64, B256, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::TrieAccount;
use quintet_types::{Account, AccountDiff, Block, Body, Header, StateDiff};

/// The gas limit of a genesis file that says zero.
const GENESIS_GAS_LIMIT: u64 = 4_712_388;
/// The difficulty of an ethash genesis that says none.
const GENESIS_DIFFICULTY: u64 = 131_072;

impl Genesis {
    /// The genesis state as the difference from nothing. Every listed account exists, an empty one too: geth
    /// clears no account at genesis.
    pub fn state(&self) -> StateDiff {
        let mut diff = StateDiff::default();
        for (address, listed) in &self.alloc {
            let mut account = Account::new(0);
            account.nonce = listed.nonce.unwrap_or_default();
            account.balance = listed.balance;
            if let Some(code) = listed.non_empty_code() {
                account.code_hash = keccak256(code);
                diff.code.insert(account.code_hash, code.clone());
            }
            let slots = listed.storage_slots().filter(|(_, value)| !value.is_zero());
            let storage = slots.map(|(slot, value)| (U256::from_be_bytes(slot.0), value)).collect();
            diff.accounts.insert(*address, AccountDiff { before: None, after: Some(account), storage });
        }
        diff
    }

    /// The root of the genesis state's trie.
    pub fn state_root(&self) -> B256 {
        let account = |listed: &crate::GenesisAccount| {
            let slots: Vec<_> = listed.storage_slots().filter(|(_, value)| !value.is_zero()).collect();
            TrieAccount::new(
                listed.nonce.unwrap_or_default(),
                listed.balance,
                alloy_trie::root::storage_root_unhashed(slots),
                listed.code_hash().unwrap_or(KECCAK256_EMPTY),
            )
        };
        alloy_trie::root::state_root_unhashed(
            self.alloc.iter().map(|(address, listed)| (*address, account(listed))),
        )
    }

    /// The difficulty of the genesis header, defaults applied.
    pub fn header_difficulty(&self) -> U256 {
        let ethash = self.config.as_ref().is_none_or(|config| config.ethash.is_some());
        let default = if ethash && self.mix_hash.is_zero() { GENESIS_DIFFICULTY } else { 0 };
        self.difficulty.unwrap_or(U256::from(default))
    }

    /// The genesis header, with the fields of every fork that is active from the start.
    pub fn header(&self) -> Header {
        let mut header = Header {
            parent_hash: self.parent_hash,
            beneficiary: self.coinbase,
            state_root: self.state_root(),
            transactions_root: EMPTY_ROOT_HASH,
            receipts_root: EMPTY_ROOT_HASH,
            difficulty: self.header_difficulty(),
            number: self.number,
            gas_limit: if self.gas_limit == 0 { GENESIS_GAS_LIMIT } else { self.gas_limit },
            gas_used: self.gas_used,
            timestamp: self.timestamp,
            extra_data: self.extra_data.clone(),
            mix_hash: self.mix_hash,
            nonce: B64::from(self.nonce),
            ..Header::default()
        };
        let Some(config) = &self.config else { return header };
        if config.london_block == Some(0) {
            header.base_fee_per_gas = Some(self.base_fee_per_gas.unwrap_or(INITIAL_BASE_FEE));
        }
        let london = config.london_block.is_some_and(|at| at <= self.number);
        let active = |time: Option<u64>| london && time.is_some_and(|at| at <= self.timestamp);
        if active(config.shanghai_time) {
            header.withdrawals_root = Some(EMPTY_WITHDRAWALS);
        }
        if active(config.cancun_time) {
            header.parent_beacon_block_root = Some(B256::ZERO);
            header.excess_blob_gas = Some(self.excess_blob_gas.unwrap_or_default());
            header.blob_gas_used = Some(self.blob_gas_used.unwrap_or_default());
        }
        if active(config.prague_time) {
            header.requests_hash = Some(EMPTY_REQUESTS_HASH);
        }
        header
    }

    /// The genesis block: the header and an empty body, with an empty list of withdrawals from Shanghai on.
    pub fn block(&self) -> Block {
        let header = self.header();
        let withdrawals = header.withdrawals_root.map(|_| alloy_eips::eip4895::Withdrawals::default());
        Block { header, body: Body { withdrawals, ..Body::default() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlobParams, ChainConfig, CliqueConfig, EthashConfig, GenesisAccount};
    use alloy_primitives::Address;

    #[test]
    fn defaults_follow_the_engine_and_the_forks() {
        let mut genesis = Genesis::default();
        assert_eq!(genesis.header().gas_limit, 4_712_388);
        assert_eq!(genesis.header().difficulty, U256::from(131_072));
        let mut config = ChainConfig {
            clique: Some(CliqueConfig { period: None, epoch: None }),
            ..ChainConfig::default()
        };
        genesis.config = Some(config.clone());
        assert_eq!(genesis.header().difficulty, U256::ZERO);
        config.ethash = Some(EthashConfig {});
        config.london_block = Some(0);
        config.shanghai_time = Some(5);
        config.cancun_time = Some(6);
        config.prague_time = Some(7);
        config.blob_schedule.insert("cancun".to_owned(), BlobParams::cancun());
        genesis.config = Some(config);
        let header = genesis.header();
        assert_eq!(header.difficulty, U256::from(131_072));
        assert_eq!(header.base_fee_per_gas, Some(1_000_000_000));
        assert_eq!(header.withdrawals_root, None);
        genesis.timestamp = 6;
        genesis.excess_blob_gas = Some(9);
        let header = genesis.header();
        assert_eq!(header.withdrawals_root, Some(EMPTY_WITHDRAWALS));
        assert_eq!((header.excess_blob_gas, header.blob_gas_used), (Some(9), Some(0)));
        assert_eq!((header.parent_beacon_block_root, header.requests_hash), (Some(B256::ZERO), None));
        assert!(genesis.block().body.withdrawals.is_some());
        genesis.timestamp = 7;
        assert_eq!(genesis.header().requests_hash, Some(EMPTY_REQUESTS_HASH));
    }

    #[test]
    fn an_empty_account_exists_at_genesis() {
        let address = Address::with_last_byte(1);
        let genesis = Genesis { alloc: [(address, GenesisAccount::default())].into(), ..Genesis::default() };
        let diff = genesis.state();
        assert_eq!(diff.accounts[&address].after, Some(Account::new(0)));
        assert_ne!(genesis.state_root(), EMPTY_ROOT_HASH);
    }
}
