//! What Ethereum Classic's networks have of their own: the fate of the bomb (ECIP-1010, ECIP-1041), monetary
//! policy (ECIP-1017) and longer epochs (ECIP-1099).
//!
//! In a genesis file they are spelled as core-geth does, and so written. Besu's spelling, which names a fork
//! and leaves out those before it at the same block, is read too. The forks of the EVM are Ethereum's
//! (`eip150Block`, `byzantiumBlock`, …).

use crate::config::Scheduled;
use crate::json::Object;
use crate::{Activation, BlobParams, ChainConfig, ChainSpecError};
use serde_json::Value;

/// Blocks of an era where the configuration says none (ECIP-1017).
const ERA_ROUNDS: u64 = 5_000_000;

/// The fields as written, in the order of [`Classic::fields`].
const FIELDS: [&str; 9] = [
    "ecip1010PauseBlock",
    "ecip1010Length",
    "ecip1017FBlock",
    "ecip1017EraRounds",
    "disposalBlock",
    "ecip1099FBlock",
    "classicForkBlock",
    "mystiqueBlock",
    "spiralBlock",
];
/// What else they are called.
const ALIASES: [(&str, &str); 4] = [
    ("disposalBlock", "ecip1041Block"),
    ("ecip1017FBlock", "ecip1017Block"),
    ("ecip1099FBlock", "ecip1099Block"),
    ("ecip1099FBlock", "thanosBlock"),
];
/// Besu's names of Classic's forks, in their order: each has the rules of all before it.
const BESU_FORKS: [&str; 12] = [
    "homesteadBlock",
    "ecip1015Block",
    "dieHardBlock",
    "gothamBlock",
    "ecip1041Block",
    "atlantisBlock",
    "aghartaBlock",
    "phoenixBlock",
    "thanosBlock",
    "magnetoBlock",
    "mystiqueBlock",
    "spiralBlock",
];

/// Ethereum Classic's options; all absent elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classic {
    /// From this block on the bomb does not grow (ECIP-1010).
    pub pause_block: Option<u64>,
    /// After so many blocks it grows again; `None` for never (ECIP-1010).
    pub pause_length: Option<u64>,
    /// From this block on rewards shrink by era (ECIP-1017).
    pub era_block: Option<u64>,
    /// Blocks of an era (ECIP-1017).
    pub era_rounds: Option<u64>,
    /// From this block on there is no bomb (ECIP-1041).
    pub disposal_block: Option<u64>,
    /// From this block on an ethash epoch has 60,000 blocks (ECIP-1099).
    pub etchash_block: Option<u64>,
    /// The block at which the network refused the DAO fork.
    pub fork_block: Option<u64>,
    /// London without base fees (ECIP-1104), which only the fork id knows here: the EVM stays at Berlin.
    pub mystique_block: Option<u64>,
    /// Shanghai without withdrawals (ECIP-1109), which only the fork id knows here.
    pub spiral_block: Option<u64>,
}

impl Classic {
    /// The options that a configuration carries.
    pub fn of(config: &ChainConfig) -> Self {
        let mut classic = Self::default();
        for (name, field) in FIELDS.iter().zip(classic.fields()) {
            *field = config.extra_fields.get(*name).and_then(Value::as_u64);
        }
        classic
    }

    /// Blocks of an era; see [`Classic::era_rounds`].
    pub fn era_length(&self) -> u64 {
        self.era_rounds.filter(|rounds| *rounds != 0).unwrap_or(ERA_ROUNDS)
    }

    fn fields(&mut self) -> [&mut Option<u64>; 9] {
        [
            &mut self.pause_block,
            &mut self.pause_length,
            &mut self.era_block,
            &mut self.era_rounds,
            &mut self.disposal_block,
            &mut self.etchash_block,
            &mut self.fork_block,
            &mut self.mystique_block,
            &mut self.spiral_block,
        ]
    }

    fn put_into(mut self, config: &mut ChainConfig) {
        for (name, field) in FIELDS.iter().zip(self.fields()) {
            if let Some(value) = *field {
                config.extra_fields.insert((*name).to_owned(), Value::from(value));
            }
        }
    }

    /// The block at which the bomb grows again.
    fn resume_block(&self) -> Option<u64> {
        self.pause_block.and_then(|pause| pause.checked_add(self.pause_length?))
    }

    /// The forks among them, for fork ids and for the comparison of configurations. The refusal of the DAO
    /// fork changes nothing, and is not in the network's fork ids.
    pub(crate) fn schedule(&self) -> [Scheduled; 7] {
        let fork = |field, label, at: Option<u64>| Scheduled {
            field,
            label,
            at: at.map(Activation::Block),
            optional: true,
        };
        [
            fork("ecip1010PauseBlock", "ECIP1010 pause block", self.pause_block),
            fork("ecip1010Length", "ECIP1010 continue block", self.resume_block()),
            fork("ecip1017FBlock", "ECIP1017 fork block", self.era_block),
            fork("disposalBlock", "ECIP1041 fork block", self.disposal_block),
            fork("ecip1099FBlock", "ECIP1099 fork block", self.etchash_block),
            fork("mystiqueBlock", "Mystique fork block", self.mystique_block),
            fork("spiralBlock", "Spiral fork block", self.spiral_block),
        ]
    }

    pub(crate) fn check(&self) -> Result<(), ChainSpecError> {
        let invalid = |field, reason| Err(ChainSpecError::InvalidClassic { field, reason });
        if self.pause_length.is_some() && self.pause_block.is_none() {
            return invalid("ecip1010Length", "ecip1010PauseBlock is not set");
        }
        if self.pause_length.is_some() && self.resume_block().is_none() {
            return invalid("ecip1010Length", "the end of the pause does not fit into 64 bits");
        }
        if self.era_rounds == Some(0) {
            return invalid("ecip1017EraRounds", "an era has at least one block");
        }
        Ok(())
    }
}

/// Reads Classic's options, and besu's forks, into a configuration that has Ethereum's.
pub(crate) fn read_classic(object: &Object<'_>, config: &mut ChainConfig) -> Result<(), ChainSpecError> {
    let mut classic = Classic::default();
    for (name, field) in FIELDS.iter().zip(classic.fields()) {
        *field = object.u64(name)?;
        for (_, alias) in ALIASES.iter().filter(|(of, _)| of == name) {
            *field = field.or(object.u64(alias)?);
        }
    }
    if BESU_FORKS.iter().skip(1).any(|fork| *fork != "ecip1041Block" && object.get(fork).is_some()) {
        read_besu_forks(object, config, &mut classic)?;
    }
    if is_besu(object)? {
        fill_gaps(config);
        fill_blob_schedule(config);
    }
    classic.put_into(config);
    Ok(())
}

fn read_besu_forks(
    object: &Object<'_>,
    config: &mut ChainConfig,
    classic: &mut Classic,
) -> Result<(), ChainSpecError> {
    let mut forks = [None; BESU_FORKS.len()];
    for (fork, name) in forks.iter_mut().zip(BESU_FORKS) {
        *fork = object.u64(name)?;
    }
    fill_backwards(&mut forks.each_mut());
    let [homestead, ecip1015, die_hard, gotham, defused, atlantis, agharta, phoenix, thanos, magneto, ..] =
        forks;
    let c = config;
    let ethereum = [
        (&mut c.homestead_block, homestead),
        (&mut c.eip150_block, ecip1015),
        (&mut c.eip155_block, die_hard),
        (&mut c.eip158_block, atlantis),
        (&mut c.byzantium_block, atlantis),
        (&mut c.constantinople_block, agharta),
        (&mut c.petersburg_block, agharta),
        (&mut c.istanbul_block, phoenix),
        (&mut c.berlin_block, magneto),
    ];
    let own = [
        (&mut classic.era_block, gotham),
        (&mut classic.disposal_block, defused),
        (&mut classic.etchash_block, thanos),
    ];
    for (field, block) in ethereum.into_iter().chain(own) {
        *field = field.or(block);
    }
    // The pause begins with Die Hard and ends with Gotham.
    if classic.pause_block.is_none() && die_hard.is_some() && die_hard != gotham {
        classic.pause_block = die_hard;
        classic.pause_length = die_hard.zip(gotham).map(|(from, to)| to.saturating_sub(from));
    }
    Ok(())
}

/// Whether a file has what only besu writes.
fn is_besu(object: &Object<'_>) -> Result<bool, ChainSpecError> {
    let clique = object.object("clique")?;
    let besu_clique = clique.is_some_and(|clique| clique.get("blockPeriodSeconds").is_some());
    Ok(besu_clique || object.get("discovery").is_some())
}

/// Where a fork is not named, it comes with the next one that is.
fn fill_gaps(config: &mut ChainConfig) {
    fill_backwards(&mut [
        &mut config.homestead_block,
        &mut config.eip150_block,
        &mut config.eip155_block,
        &mut config.eip158_block,
        &mut config.byzantium_block,
        &mut config.constantinople_block,
        &mut config.petersburg_block,
        &mut config.istanbul_block,
        &mut config.berlin_block,
        &mut config.london_block,
    ]);
}

/// Besu knows the first parameters of blobs by itself (EIP-4844, EIP-7691).
fn fill_blob_schedule(config: &mut ChainConfig) {
    let known = [
        ("cancun", config.cancun_time, BlobParams::cancun()),
        ("prague", config.prague_time, BlobParams::prague()),
        ("osaka", config.osaka_time, BlobParams::prague()),
    ];
    for (fork, _, params) in known.into_iter().filter(|(_, time, _)| time.is_some()) {
        config.blob_schedule.entry(fork.to_owned()).or_insert(params);
    }
}

fn fill_backwards(forks: &mut [&mut Option<u64>]) {
    let mut next = None;
    for fork in forks.iter_mut().rev() {
        **fork = fork.or(next);
        next = **fork;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config_from_json, config_to_json};

    fn classic(fields: &str) -> Classic {
        Classic::of(&config_from_json(&format!(r#"{{"chainId": 61, {fields}}}"#)).unwrap())
    }

    #[test]
    fn core_geth_spells_them_so_and_they_survive() {
        let text = r#"{"chainId": 61, "ecip1010PauseBlock": 1, "ecip1010Length": "0x2", "ecip1017FBlock": 3,
            "ecip1017EraRounds": 4, "disposalBlock": 5, "ecip1099FBlock": 6}"#;
        let config = config_from_json(text).unwrap();
        let expected = Classic {
            pause_block: Some(1),
            pause_length: Some(2),
            era_block: Some(3),
            era_rounds: Some(4),
            disposal_block: Some(5),
            etchash_block: Some(6),
            ..Classic::default()
        };
        assert_eq!(Classic::of(&config), expected);
        let written = config_to_json(&config).unwrap();
        assert_eq!(config_from_json(&written).unwrap(), config, "{written}");
        assert_eq!(Classic::of(&config_from_json(r#"{"chainId": 1}"#).unwrap()), Classic::default());
    }

    #[test]
    fn other_spellings() {
        let besu = classic(r#""ecip1041Block": 5, "thanosBlock": 6, "ecip1017EraRounds": 7"#);
        assert_eq!((besu.disposal_block, besu.etchash_block, besu.era_rounds), (Some(5), Some(6), Some(7)));
        assert_eq!(classic(r#""ecip1041Block": 5"#).disposal_block, Some(5));
        assert_eq!(classic(r#""gothamBlock": 50, "dieHardBlock": 30"#).pause_length, Some(20));
        let paused = classic(r#""dieHardBlock": 30"#);
        assert_eq!((paused.pause_block, paused.pause_length), (Some(30), None));
    }

    #[test]
    fn besus_forks_bring_those_before_them() {
        let text = r#"{"chainId": 6, "ecip1041Block": 0, "atlantisBlock": 7, "phoenixBlock": 9}"#;
        let config = config_from_json(text).unwrap();
        assert_eq!(
            (config.homestead_block, config.eip150_block, config.eip155_block),
            (Some(0), Some(0), Some(0))
        );
        assert_eq!((config.eip158_block, config.byzantium_block), (Some(7), Some(7)));
        assert_eq!((config.petersburg_block, config.istanbul_block), (Some(9), Some(9)));
        assert_eq!((config.berlin_block, Classic::of(&config).pause_block), (None, None));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let cases = [
            (r#""ecip1010Length": 5"#, "ecip1010PauseBlock is not set"),
            (r#""ecip1017EraRounds": 0"#, "an era has at least one block"),
            (r#""ecip1010PauseBlock": 5, "ecip1010Length": 18446744073709551615"#, "64 bits"),
        ];
        for (fields, expected) in cases {
            let error = classic(fields).check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
