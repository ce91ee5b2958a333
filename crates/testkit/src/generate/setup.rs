//! What all blocks of a generated chain share: the network, the keys, the contracts' addresses.

use super::contracts::{self, CHURN, FACTORY, TOKEN};
use super::keys::{self, Key};
use super::options::Options;
use alloy_eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_eips::eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE};
use alloy_eips::eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE};
use alloy_eips::eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE};
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_chainspec::{ChainSpec, Consensus, Genesis, GenesisAccount};
use std::collections::BTreeMap;
use std::sync::Arc;

/// 1 January 2019: with blocks some seconds apart, no chain gets near the present.
const GENESIS_TIME: u64 = 1_546_300_800;
/// Wei of every account, and what it has of every token.
const WEALTH: u128 = 1_000_000_000_000_000_000_000_000;
/// Bytes of extra data before clique's signers, and after them (EIP-225).
const VANITY: usize = 32;
const SEAL: usize = 65;

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) spec: Arc<ChainSpec>,
    pub(crate) senders: Vec<Key>,
    pub(crate) signers: Vec<Key>,
    /// Accounts with wei from the start that do not send.
    pub(crate) idle: Vec<Address>,
    pub(crate) tokens: Vec<Address>,
    pub(crate) churns: Vec<Address>,
    pub(crate) factory: Address,
}

impl Setup {
    /// # Panics
    /// When the options make no network: forks out of order, no senders, clique without signers.
    pub(crate) fn new(options: Options) -> Self {
        let count = options.senders.min(options.accounts);
        assert!(count > 1, "transactions need senders");
        let (senders, idle) = (keys::senders(count), keys::idle(options.accounts - count));
        let clique = options.config.clique.is_some();
        let signers = if clique { keys::signers(options.signers) } else { Vec::new() };
        let tokens = contracts_at(0x70, options.tokens);
        let churns = contracts_at(0xc0, options.churns);
        let factory = Address::repeat_byte(0xfa);
        let mut alloc: BTreeMap<_, _> = senders
            .iter()
            .map(|key| key.address)
            .chain(idle.iter().copied())
            .map(|address| (address, GenesisAccount::default().with_balance(U256::from(WEALTH))))
            .collect();
        let holders: BTreeMap<_, _> = senders
            .iter()
            .map(|key| (contracts::balance_slot(key.address), B256::from(U256::from(WEALTH))))
            .collect();
        let token = contract(&TOKEN).with_storage(Some(holders));
        alloc.extend(tokens.iter().map(|address| (*address, token.clone())));
        alloc.extend(churns.iter().map(|address| (*address, contract(&CHURN))));
        alloc.insert(factory, contract(&FACTORY));
        if options.config.terminal_total_difficulty.is_some() {
            alloc.extend(system_contracts());
        }
        let genesis = Genesis {
            config: Some(options.config.clone()),
            timestamp: GENESIS_TIME,
            extra_data: genesis_extra(&signers),
            gas_limit: options.gas_limit,
            difficulty: Some(genesis_difficulty(&options)),
            alloc,
            ..Genesis::default()
        };
        let spec = Arc::new(ChainSpec::new(genesis).expect("the options make a network"));
        let clique = matches!(spec.consensus(), Consensus::Clique { .. });
        assert!(!clique || !signers.is_empty(), "clique needs signers");
        Self { options, spec, senders, signers, idle, tokens, churns, factory }
    }

    /// One of the accounts that had wei at genesis.
    pub(crate) fn account(&self, index: usize) -> Address {
        match index.checked_sub(self.senders.len()) {
            None => self.senders[index].address,
            Some(index) => self.idle[index],
        }
    }
}

fn genesis_difficulty(options: &Options) -> U256 {
    if options.config.terminal_total_difficulty == Some(U256::ZERO) {
        U256::ZERO
    } else if options.config.clique.is_some() {
        U256::ONE
    } else {
        options.difficulty
    }
}

fn genesis_extra(signers: &[Key]) -> Bytes {
    if signers.is_empty() {
        return Bytes::new();
    }
    let addresses = signers.iter().flat_map(|key| key.address);
    [0; VANITY].into_iter().chain(addresses).chain([0; SEAL]).collect()
}

fn contracts_at(first: u8, count: usize) -> Vec<Address> {
    (0..count)
        .map(|index| Address::repeat_byte(first + u8::try_from(index).expect("few contracts")))
        .collect()
}

fn contract(code: &Bytes) -> GenesisAccount {
    GenesisAccount::default().with_nonce(Some(1)).with_code(Some(code.clone()))
}

/// Contracts that blocks of proof of stake call.
fn system_contracts() -> [(Address, GenesisAccount); 4] {
    [
        (BEACON_ROOTS_ADDRESS, contract(&BEACON_ROOTS_CODE)),
        (HISTORY_STORAGE_ADDRESS, contract(&HISTORY_STORAGE_CODE)),
        (WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, contract(&WITHDRAWAL_REQUEST_PREDEPLOY_CODE)),
        (CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, contract(&CONSOLIDATION_REQUEST_PREDEPLOY_CODE)),
    ]
}
