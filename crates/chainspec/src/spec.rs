//! One network: its genesis, checked, and the questions that the rest of the node asks about its rules.

use crate::{
    ChainConfig, ChainSpecError, Classic, ConfigMismatch, Fork, Genesis, check_compatible, check_fork_order,
};
use alloy_primitives::{Address, B256, U256};
use quintet_types::{Block, Header, StateDiff};
use revm::primitives::hardfork::SpecId;

/// Clique's epoch where the configuration says none or zero (EIP-225).
const CLIQUE_EPOCH: u64 = 30_000;
/// Bytes of extra data before clique's signers, and after them (EIP-225).
const CLIQUE_VANITY: usize = 32;
const CLIQUE_SEAL: usize = 65;

/// Who may make a block before the merge, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consensus {
    /// Proof of work.
    Ethash,
    /// Proof of authority (EIP-225).
    Clique {
        /// Least seconds between two blocks.
        period: u64,
        /// Blocks between two checkpoints.
        epoch: u64,
    },
    /// Proof of stake from the start: blocks come from elsewhere.
    Beacon,
    /// The development network: proof-of-stake rules, and this node makes the blocks.
    Dev {
        /// Seconds between blocks; zero makes one for every transaction.
        period: u64,
    },
}

/// The DAO fork (EIP-779).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaoFork {
    /// The block in which the balances move, the first of ten with the fork's extra data.
    pub block: u64,
    /// Whether this network made the fork, or refuses those blocks.
    pub support: bool,
}

/// A network's genesis and fork schedule.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    genesis: Genesis,
    config: ChainConfig,
    classic: Classic,
    genesis_header: Header,
    genesis_hash: B256,
    pub(crate) name: Option<&'static str>,
    pub(crate) dev_period: Option<u64>,
}

impl ChainSpec {
    /// A network from its genesis.
    ///
    /// # Errors
    /// When the genesis has no configuration, its forks are out of order, or it is a clique network without
    /// signers.
    pub fn new(genesis: Genesis) -> Result<Self, ChainSpecError> {
        let config = genesis.config.clone().ok_or(ChainSpecError::NoConfig)?;
        check_fork_order(&config)?;
        if config.clique.is_some() && genesis.extra_data.len() < CLIQUE_VANITY + CLIQUE_SEAL {
            return Err(ChainSpecError::NoCliqueSigners);
        }
        let genesis_header = genesis.header();
        let genesis_hash = genesis_header.hash_slow();
        let classic = Classic::of(&config);
        Ok(Self { genesis, config, classic, genesis_header, genesis_hash, name: None, dev_period: None })
    }

    /// A network from its `genesis.json`.
    ///
    /// # Errors
    /// See [`Genesis::from_json`] and [`ChainSpec::new`].
    pub fn from_json(text: &str) -> Result<Self, ChainSpecError> {
        Self::new(Genesis::from_json(text)?)
    }

    /// The chain id (EIP-155).
    pub const fn chain_id(&self) -> u64 {
        self.config.chain_id
    }

    /// The network id of the `eth` handshake where the operator sets none: the chain id.
    pub const fn network_id(&self) -> u64 {
        self.config.chain_id
    }

    /// The preset's name, for networks made by [`ChainSpec::preset`] or [`ChainSpec::dev`].
    pub const fn name(&self) -> Option<&'static str> {
        self.name
    }

    /// The chain configuration.
    pub const fn config(&self) -> &ChainConfig {
        &self.config
    }

    /// What only Ethereum Classic's networks have.
    pub const fn classic(&self) -> &Classic {
        &self.classic
    }

    /// The genesis file's contents.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The genesis header.
    pub const fn genesis_header(&self) -> &Header {
        &self.genesis_header
    }

    /// The genesis block's hash.
    pub const fn genesis_hash(&self) -> B256 {
        self.genesis_hash
    }

    /// The genesis block.
    pub fn genesis_block(&self) -> Block {
        self.genesis.block()
    }

    /// The genesis state; see [`Genesis::state`].
    pub fn genesis_state(&self) -> StateDiff {
        self.genesis.state()
    }

    /// Whether a database that was initialised with another genesis hash and configuration may go on under
    /// this one, its head being at this number and timestamp.
    ///
    /// # Errors
    /// [`ChainSpecError::GenesisMismatch`] for another genesis block, [`ChainSpecError::ConfigMismatch`] when
    /// the two configurations differ in a fork that the chain has passed.
    pub fn check_database(
        &self,
        stored_hash: B256,
        stored: &ChainConfig,
        head_number: u64,
        head_time: u64,
    ) -> Result<(), ChainSpecError> {
        if stored_hash != self.genesis_hash {
            return Err(ChainSpecError::GenesisMismatch { stored: stored_hash, new: self.genesis_hash });
        }
        check_compatible(stored, &self.config, head_number, head_time)
            .map_err(|mismatch: ConfigMismatch| mismatch.into())
    }

    /// Who makes blocks before the merge.
    pub fn consensus(&self) -> Consensus {
        if let Some(period) = self.dev_period {
            return Consensus::Dev { period };
        }
        if self.config.terminal_total_difficulty == Some(U256::ZERO) {
            return Consensus::Beacon;
        }
        match self.config.clique {
            Some(clique) => Consensus::Clique {
                period: clique.period.unwrap_or_default(),
                epoch: clique.epoch.filter(|epoch| *epoch != 0).unwrap_or(CLIQUE_EPOCH),
            },
            None => Consensus::Ethash,
        }
    }

    /// The total difficulty at which proof of stake begins (EIP-3675); `None` if it never does.
    pub const fn terminal_total_difficulty(&self) -> Option<U256> {
        self.config.terminal_total_difficulty
    }

    /// Whether the children of a block with this total difficulty (its own included) are made by proof of
    /// stake (EIP-3675).
    pub fn is_merged_after(&self, parent_total_difficulty: U256) -> bool {
        self.config.terminal_total_difficulty.is_some_and(|ttd| parent_total_difficulty >= ttd)
    }

    /// The DAO fork, where the network has one or refused it.
    pub fn dao_fork(&self) -> Option<DaoFork> {
        let support = self.config.dao_fork_support;
        let fork = self.config.dao_fork_block.map(|block| DaoFork { block, support });
        fork.or(self.classic.fork_block.map(|block| DaoFork { block, support: false }))
    }

    /// The deposit contract whose logs are requests (EIP-6110); without one no log is.
    pub const fn deposit_contract(&self) -> Option<Address> {
        self.config.deposit_contract_address
    }

    /// The rules of a block. `merged` says whether proof of stake made it
    /// ([`ChainSpec::is_merged_after`] its parent); forks from Shanghai on need that, as in geth.
    pub fn fork_at(&self, number: u64, timestamp: u64, merged: bool) -> Fork {
        if merged { self.fork_after_merge(number, timestamp) } else { self.fork_before_merge(number) }
    }

    /// revm's name for the rules of a block; see [`Fork::spec_id`].
    pub fn spec_id(&self, number: u64, timestamp: u64, merged: bool) -> SpecId {
        self.fork_at(number, timestamp, merged).spec_id()
    }

    fn fork_after_merge(&self, number: u64, timestamp: u64) -> Fork {
        let forks = [
            (self.config.osaka_time, Fork::Osaka),
            (self.config.prague_time, Fork::Prague),
            (self.config.cancun_time, Fork::Cancun),
            (self.config.shanghai_time, Fork::Shanghai),
        ];
        let mut active = forks.into_iter().filter(|(time, _)| self.is_time_active(*time, number, timestamp));
        active.next().map_or(Fork::Paris, |(_, fork)| fork)
    }

    fn fork_before_merge(&self, number: u64) -> Fork {
        let c = &self.config;
        let forks = [
            (c.gray_glacier_block, Fork::GrayGlacier),
            (c.arrow_glacier_block, Fork::ArrowGlacier),
            (c.london_block, Fork::London),
            (c.berlin_block, Fork::Berlin),
            (c.muir_glacier_block, Fork::MuirGlacier),
            (c.istanbul_block, Fork::Istanbul),
            (c.petersburg_block.or(c.constantinople_block), Fork::Petersburg),
            (c.constantinople_block, Fork::Constantinople),
            (c.byzantium_block, Fork::Byzantium),
            (c.eip158_block, Fork::SpuriousDragon),
            (c.eip150_block, Fork::TangerineWhistle),
            (c.homestead_block, Fork::Homestead),
        ];
        let mut active = forks.into_iter().filter(|(block, _)| is_passed(*block, number));
        active.next().map_or(Fork::Frontier, |(_, fork)| fork)
    }

    fn is_time_active(&self, time: Option<u64>, number: u64, timestamp: u64) -> bool {
        is_passed(self.config.london_block, number) && is_passed(time, timestamp)
    }

    /// Whether transactions may carry replay protection (EIP-155), whose block may differ from EIP-158's.
    pub fn is_eip155_active(&self, number: u64) -> bool {
        is_passed(self.config.eip155_block, number)
    }

    /// Whether Homestead's rules hold.
    pub fn is_homestead_active(&self, number: u64) -> bool {
        is_passed(self.config.homestead_block, number)
    }

    /// Whether empty accounts are cleared (EIP-161).
    pub fn is_eip158_active(&self, number: u64) -> bool {
        is_passed(self.config.eip158_block, number)
    }

    /// Whether Byzantium's rules hold.
    pub fn is_byzantium_active(&self, number: u64) -> bool {
        is_passed(self.config.byzantium_block, number)
    }

    /// Whether Constantinople's rules hold.
    pub fn is_constantinople_active(&self, number: u64) -> bool {
        is_passed(self.config.constantinople_block, number)
    }

    /// Whether Muir Glacier's bomb delay holds (EIP-2384).
    pub fn is_muir_glacier_active(&self, number: u64) -> bool {
        is_passed(self.config.muir_glacier_block, number)
    }

    /// Whether Berlin's rules hold.
    pub fn is_berlin_active(&self, number: u64) -> bool {
        is_passed(self.config.berlin_block, number)
    }

    /// Whether London's rules hold: headers have a base fee.
    pub fn is_london_active(&self, number: u64) -> bool {
        is_passed(self.config.london_block, number)
    }

    /// Whether Arrow Glacier's bomb delay holds (EIP-4345).
    pub fn is_arrow_glacier_active(&self, number: u64) -> bool {
        is_passed(self.config.arrow_glacier_block, number)
    }

    /// Whether Gray Glacier's bomb delay holds (EIP-5133).
    pub fn is_gray_glacier_active(&self, number: u64) -> bool {
        is_passed(self.config.gray_glacier_block, number)
    }

    /// Whether Shanghai's rules hold: blocks have withdrawals.
    pub fn is_shanghai_active(&self, number: u64, timestamp: u64) -> bool {
        self.is_time_active(self.config.shanghai_time, number, timestamp)
    }

    /// Whether Cancun's rules hold: blocks have blobs and a beacon root.
    pub fn is_cancun_active(&self, number: u64, timestamp: u64) -> bool {
        self.is_time_active(self.config.cancun_time, number, timestamp)
    }

    /// Whether Prague's rules hold: blocks have requests.
    pub fn is_prague_active(&self, number: u64, timestamp: u64) -> bool {
        self.is_time_active(self.config.prague_time, number, timestamp)
    }

    /// Whether Osaka's rules hold.
    pub fn is_osaka_active(&self, number: u64, timestamp: u64) -> bool {
        self.is_time_active(self.config.osaka_time, number, timestamp)
    }
}

/// Whether a fork scheduled `at` is in force at block number or timestamp `now`.
pub(crate) fn is_passed(at: Option<u64>, now: u64) -> bool {
    at.is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mainnet() -> ChainSpec {
        ChainSpec::preset("mainnet").unwrap()
    }

    #[test]
    fn mainnet_went_through_every_fork() {
        let spec = mainnet();
        let blocks = [
            (0, Fork::Frontier),
            (1_150_000, Fork::Homestead),
            (2_463_000, Fork::TangerineWhistle),
            (2_675_000, Fork::SpuriousDragon),
            (4_370_000, Fork::Byzantium),
            (7_280_000, Fork::Petersburg),
            (9_069_000, Fork::Istanbul),
            (9_200_000, Fork::MuirGlacier),
            (12_244_000, Fork::Berlin),
            (12_965_000, Fork::London),
            (13_773_000, Fork::ArrowGlacier),
            (15_050_000, Fork::GrayGlacier),
        ];
        let mut before = Fork::Frontier;
        for (number, fork) in blocks {
            assert_eq!(spec.fork_at(number, u64::MAX, false), fork);
            assert_eq!(spec.fork_at(number.saturating_sub(1), 0, false), before);
            before = fork;
        }
        let times = [
            (0, Fork::Paris),
            (1_681_338_455, Fork::Shanghai),
            (1_710_338_135, Fork::Cancun),
            (1_746_612_311, Fork::Prague),
            (1_764_798_551, Fork::Osaka),
        ];
        for (time, fork) in times {
            assert_eq!(spec.fork_at(15_537_394, time, true), fork);
        }
        let ttd = spec.terminal_total_difficulty().unwrap();
        assert!(spec.is_merged_after(ttd) && !spec.is_merged_after(ttd - U256::ONE));
        assert_eq!(spec.dao_fork(), Some(DaoFork { block: 1_920_000, support: true }));
        assert_eq!((spec.consensus(), spec.network_id()), (Consensus::Ethash, 1));
    }

    #[test]
    fn constantinople_without_its_fix_is_a_fork_of_its_own() {
        let spec = ChainSpec::preset("ropsten").unwrap();
        assert_eq!(spec.fork_at(4_230_000, 0, false), Fork::Constantinople);
        assert_eq!(spec.fork_at(4_939_394, 0, false), Fork::Petersburg);
        let mut genesis = spec.genesis().clone();
        if let Some(config) = genesis.config.as_mut() {
            *config = ChainConfig { petersburg_block: None, istanbul_block: None, ..config.clone() };
            config.muir_glacier_block = None;
            config.berlin_block = None;
            config.london_block = None;
        }
        let spec = ChainSpec::new(genesis).unwrap();
        assert_eq!(spec.fork_at(4_230_000, 0, false), Fork::Petersburg);
    }

    #[test]
    fn replay_protection_has_a_block_of_its_own() {
        let text = r#"{"config": {"chainId": 9, "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 3,
            "eip158Block": 5}, "gasLimit": 1, "difficulty": 1, "alloc": {}}"#;
        let spec = ChainSpec::from_json(text).unwrap();
        assert!(spec.is_eip155_active(3) && !spec.is_eip158_active(4));
        assert_eq!(spec.fork_at(4, 0, false), Fork::TangerineWhistle);
    }

    #[test]
    fn a_database_of_another_network_or_schedule_is_refused() {
        let spec = mainnet();
        let config = spec.config();
        spec.check_database(spec.genesis_hash(), config, 20_000_000, 1_700_000_000).unwrap();
        let error = spec.check_database(B256::repeat_byte(1), config, 0, 0).unwrap_err().to_string();
        let stored = "01".repeat(32);
        let new = "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3";
        assert_eq!(error, format!("database contains incompatible genesis (have {stored}, new {new})"));
        let other = ChainConfig { homestead_block: Some(1), ..config.clone() };
        let error = spec.check_database(spec.genesis_hash(), &other, 5, 0).unwrap_err().to_string();
        assert_eq!(
            error,
            "mismatching Homestead fork block in database (have block 1, want block 1150000, rewindto block 0)"
        );
    }
}
