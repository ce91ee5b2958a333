//! What a generated chain is to be like.

use alloy_primitives::U256;
use quintet_chainspec::{BlobParams, ChainConfig, CliqueConfig, EthashConfig};

/// Who makes a network's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Proof of work, Homestead to Petersburg from the start: what geth 1.8.27 knows. The difficulties are the
    /// real ones, the seals are not: to be imported without looking at seals (geth's `--fakepow`).
    Ethash,
    /// Proof of authority with the same forks, really signed by three signers.
    Clique,
    /// Proof of stake, every fork to Osaka from the start.
    Beacon,
}

/// How often each kind of transaction occurs: weights, whose sum means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Wei from an account to another, one in ten to an address that never was; 21,000 gas.
    pub transfer: u64,
    /// `transfer` of a token; about 37,000 gas, 52,000 to a new holder.
    pub token: u64,
    /// Slots of a contract written, rewritten, cleared or read, a few to a few dozen at once; about 110,000 gas.
    pub churn: u64,
    /// A contract created, its code unlike any other.
    pub create: u64,
    /// A contract created by CREATE2, written to, sent wei, destroyed, or created again.
    pub child: u64,
    /// A transaction that fails: reverted, out of gas, or stopped by an invalid instruction.
    pub fail: u64,
}

/// What a generated chain is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything random follows from it.
    pub seed: u64,
    /// The chain configuration: engine and forks.
    pub config: ChainConfig,
    /// Accounts that have wei from the start, the senders among them.
    pub accounts: usize,
    /// How many of them have keys, send transactions, and hold every token.
    pub senders: usize,
    /// Clique's signers.
    pub signers: usize,
    /// Gas limit of every block (doubled at London, where that is not at genesis).
    pub gas_limit: u64,
    /// Transactions of a block, where they fit.
    pub transactions: usize,
    /// The genesis block's difficulty; proof of work only.
    pub difficulty: U256,
    /// One in this many blocks has an uncle; zero for none. Proof of work only.
    pub uncle_every: u64,
    /// Token contracts.
    pub tokens: usize,
    /// Contracts with storage churn.
    pub churns: usize,
    /// Slots of each of them that are written, about.
    pub slots: u64,
    /// Contracts that are created, destroyed and created again, in turn.
    pub children: u64,
    /// Kinds of transactions.
    pub mix: Mix,
}

impl Options {
    /// The chain that imports are measured with: many accounts, about 43,000 gas a transaction.
    pub fn benchmark(network: Network) -> Self {
        Self {
            seed: 1,
            config: config(network),
            accounts: 20_000,
            senders: 20_000,
            signers: 3,
            gas_limit: if network == Network::Beacon { 30_000_000 } else { 10_000_000 },
            transactions: 160,
            difficulty: U256::from(131_072),
            uncle_every: 20,
            tokens: 3,
            churns: 4,
            slots: 50_000,
            children: 64,
            mix: Mix { transfer: 50, token: 33, churn: 13, create: 1, child: 2, fail: 1 },
        }
    }

    /// A chain for tests: few accounts and contracts, so that blocks of different branches meet in them.
    pub fn small(network: Network) -> Self {
        Self {
            accounts: 24,
            senders: 16,
            gas_limit: if network == Network::Beacon { 20_000_000 } else { 8_000_000 },
            transactions: 10,
            difficulty: U256::from(1_000_000),
            uncle_every: 4,
            tokens: 1,
            churns: 2,
            slots: 60,
            children: 3,
            mix: Mix { transfer: 6, token: 6, churn: 5, create: 1, child: 8, fail: 2 },
            ..Self::benchmark(network)
        }
    }

    /// The same with another seed.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

fn config(network: Network) -> ChainConfig {
    let zero = Some(0);
    let petersburg = ChainConfig {
        chain_id: 1337,
        homestead_block: zero,
        eip150_block: zero,
        eip155_block: zero,
        eip158_block: zero,
        byzantium_block: zero,
        constantinople_block: zero,
        petersburg_block: zero,
        ..ChainConfig::default()
    };
    match network {
        Network::Ethash => ChainConfig { ethash: Some(EthashConfig {}), ..petersburg },
        Network::Clique => {
            let clique = CliqueConfig { period: Some(1), epoch: Some(30_000) };
            ChainConfig { clique: Some(clique), ..petersburg }
        }
        Network::Beacon => ChainConfig {
            istanbul_block: zero,
            berlin_block: zero,
            london_block: zero,
            shanghai_time: zero,
            cancun_time: zero,
            prague_time: zero,
            osaka_time: zero,
            terminal_total_difficulty: Some(U256::ZERO),
            terminal_total_difficulty_passed: true,
            blob_schedule: [
                ("cancun".to_owned(), BlobParams::cancun()),
                ("prague".to_owned(), BlobParams::prague()),
                ("osaka".to_owned(), BlobParams::prague()),
            ]
            .into(),
            ..petersburg
        },
    }
}
