//! The forks' names, in order.

use revm::primitives::hardfork::SpecId;

/// The rules in force at a block, oldest first, so that `fork >= Fork::Berlin` asks for Berlin's rules.
///
/// The order holds for the EVM. A network may skip one of the *Glacier* forks, which only delay the ethash
/// bomb: ask [`ChainSpec::is_muir_glacier_active`](crate::ChainSpec::is_muir_glacier_active) and its like for
/// those. The DAO fork is a rule of one block and not listed
/// ([`ChainSpec::dao_fork`](crate::ChainSpec::dao_fork)); blob-parameter-only forks change
/// [`ChainSpec::blob_params_at`](crate::ChainSpec::blob_params_at) alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fork {
    /// The first rules.
    Frontier,
    /// EIP-606.
    Homestead,
    /// EIP-608: `eip150Block`.
    TangerineWhistle,
    /// EIP-607: `eip158Block` (EIP-160, 161, 170). Replay protection has a block of its own,
    /// [`ChainSpec::is_eip155_active`](crate::ChainSpec::is_eip155_active).
    SpuriousDragon,
    /// EIP-609.
    Byzantium,
    /// EIP-1013, with the storage gas of EIP-1283.
    Constantinople,
    /// EIP-1716: Constantinople without EIP-1283.
    Petersburg,
    /// EIP-1679.
    Istanbul,
    /// EIP-2387: bomb delay.
    MuirGlacier,
    /// EIP-2070.
    Berlin,
    /// EIP-1559 and others.
    London,
    /// EIP-4345: bomb delay.
    ArrowGlacier,
    /// EIP-5133: bomb delay.
    GrayGlacier,
    /// EIP-3675: proof of stake.
    Paris,
    /// Withdrawals and others.
    Shanghai,
    /// EIP-7569.
    Cancun,
    /// EIP-7600.
    Prague,
    /// EIP-7607.
    Osaka,
}

impl Fork {
    /// revm's name for these rules. revm has no Constantinople with EIP-1283: it gets Petersburg, which prices
    /// `SSTORE` differently.
    pub const fn spec_id(self) -> SpecId {
        match self {
            Self::Frontier => SpecId::FRONTIER,
            Self::Homestead => SpecId::HOMESTEAD,
            Self::TangerineWhistle => SpecId::TANGERINE,
            Self::SpuriousDragon => SpecId::SPURIOUS_DRAGON,
            Self::Byzantium => SpecId::BYZANTIUM,
            Self::Constantinople | Self::Petersburg => SpecId::PETERSBURG,
            Self::Istanbul | Self::MuirGlacier => SpecId::ISTANBUL,
            Self::Berlin => SpecId::BERLIN,
            Self::London | Self::ArrowGlacier | Self::GrayGlacier => SpecId::LONDON,
            Self::Paris => SpecId::MERGE,
            Self::Shanghai => SpecId::SHANGHAI,
            Self::Cancun => SpecId::CANCUN,
            Self::Prague => SpecId::PRAGUE,
            Self::Osaka => SpecId::OSAKA,
        }
    }
}
