//! The development network: every fork from the start, funded accounts, blocks on demand.

use crate::{BlobParams, ChainConfig, ChainSpec, ChainSpecError, Genesis, GenesisAccount};
use alloy_eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_eips::eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE};
use alloy_eips::eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE};
use alloy_eips::eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE};
use alloy_primitives::{Address, U256};

/// geth's chain id of the development network.
const DEV_CHAIN_ID: u64 = 1337;
/// Precompiles at the addresses one to this one; each gets one wei, so that none is ever an empty account.
const LAST_PRECOMPILE: u8 = 0x11;

impl ChainSpec {
    /// The development network with these accounts funded (in wei): chain id 1337, every fork to Osaka from
    /// the start, proof-of-stake rules. `period` is the seconds between blocks; zero makes one for every
    /// transaction. The genesis depends on nothing else, so the same arguments find the same database again.
    ///
    /// # Errors
    /// None in practice: the schedule is fixed and in order.
    pub fn dev(accounts: &[(Address, U256)], gas_limit: u64, period: u64) -> Result<Self, ChainSpecError> {
        let genesis = Genesis {
            config: Some(dev_config()),
            gas_limit,
            difficulty: Some(U256::ZERO),
            alloc: dev_alloc(accounts),
            ..Genesis::default()
        };
        let mut spec = Self::new(genesis)?;
        spec.name = Some("dev");
        spec.dev_period = Some(period);
        Ok(spec)
    }
}

fn dev_config() -> ChainConfig {
    let zero = Some(0);
    ChainConfig {
        chain_id: DEV_CHAIN_ID,
        homestead_block: zero,
        eip150_block: zero,
        eip155_block: zero,
        eip158_block: zero,
        byzantium_block: zero,
        constantinople_block: zero,
        petersburg_block: zero,
        istanbul_block: zero,
        muir_glacier_block: zero,
        berlin_block: zero,
        london_block: zero,
        arrow_glacier_block: zero,
        gray_glacier_block: zero,
        shanghai_time: zero,
        cancun_time: zero,
        prague_time: zero,
        osaka_time: zero,
        terminal_total_difficulty: Some(U256::ZERO),
        terminal_total_difficulty_passed: true,
        blob_schedule: [
            ("cancun".to_owned(), BlobParams::cancun()),
            ("prague".to_owned(), BlobParams::prague()),
            // The extra rules of Osaka follow from its time, not from the schedule.
            ("osaka".to_owned(), BlobParams::prague()),
        ]
        .into(),
        ..ChainConfig::default()
    }
}

fn dev_alloc(accounts: &[(Address, U256)]) -> std::collections::BTreeMap<Address, GenesisAccount> {
    let one_wei = GenesisAccount::default().with_balance(U256::ONE);
    let p256_verify = Address::from_word(U256::from(0x100).into());
    let precompiles = (1..=LAST_PRECOMPILE).map(Address::with_last_byte).chain([p256_verify]);
    let system = [
        (BEACON_ROOTS_ADDRESS, &BEACON_ROOTS_CODE),
        (HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE),
        (WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &WITHDRAWAL_REQUEST_PREDEPLOY_CODE),
        (CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &CONSOLIDATION_REQUEST_PREDEPLOY_CODE),
    ];
    let contract = |code: &alloy_primitives::Bytes| {
        GenesisAccount::default().with_nonce(Some(1)).with_code(Some(code.clone()))
    };
    let funded =
        accounts.iter().map(|(address, wei)| (*address, GenesisAccount::default().with_balance(*wei)));
    precompiles
        .map(|address| (address, one_wei.clone()))
        .chain(system.into_iter().map(|(address, code)| (address, contract(code))))
        .chain(funded)
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::{ChainSpec, Consensus, Fork, Genesis};
    use alloy_primitives::{Address, U256};

    #[test]
    fn every_rule_holds_from_the_start_and_the_genesis_is_stable() {
        let accounts = [(Address::repeat_byte(7), U256::from(10).pow(U256::from(24)))];
        let spec = ChainSpec::dev(&accounts, 30_000_000, 2).unwrap();
        assert_eq!(spec.consensus(), Consensus::Dev { period: 2 });
        assert_eq!((spec.chain_id(), spec.name()), (1337, Some("dev")));
        assert!(spec.is_merged_after(U256::ZERO));
        assert_eq!(spec.fork_at(1, 1, true), Fork::Osaka);
        let header = spec.genesis_header();
        assert!(header.base_fee_per_gas.is_some() && header.requests_hash.is_some());
        assert_eq!(spec.genesis_state().code.len(), 4);
        assert!(spec.bootnodes().is_empty() && spec.dns_node_list().is_none());
        let again = ChainSpec::dev(&accounts, 30_000_000, 0).unwrap();
        assert_eq!(again.genesis_hash(), spec.genesis_hash());
        let stored = Genesis::from_json(&spec.genesis().to_json().unwrap()).unwrap();
        assert_eq!(stored.header(), *header);
    }
}
