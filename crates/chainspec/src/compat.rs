//! Whether a chain that was made under one configuration may go on under another: geth's `CheckCompatible`.

use crate::classic::Classic;
use crate::config::schedule;
use crate::{Activation, ChainConfig};
use std::fmt;

/// Two configurations that differ in a fork which the chain has already passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigMismatch {
    /// What differs, as `Homestead fork block`.
    pub what: &'static str,
    /// When the database has it.
    pub stored: Option<Activation>,
    /// When the new configuration has it.
    pub new: Option<Activation>,
    /// The chain can go on under the new configuration once its head is set back to here.
    pub rewind_to: Activation,
}

impl fmt::Display for ConfigMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.rewind_to {
            Activation::Block(_) => "block",
            Activation::Time(_) => "timestamp",
        };
        let when = |at: Option<Activation>| at.map_or_else(|| format!("{kind} nil"), |at| at.to_string());
        let (have, want) = (when(self.stored), when(self.new));
        write!(
            f,
            "mismatching {} in database (have {have}, want {want}, rewindto {})",
            self.what, self.rewind_to
        )
    }
}

impl std::error::Error for ConfigMismatch {}

impl ConfigMismatch {
    fn block(what: &'static str, stored: Option<u64>, new: Option<u64>) -> Self {
        Self {
            what,
            stored: stored.map(Activation::Block),
            new: new.map(Activation::Block),
            rewind_to: Activation::Block(before_first(stored, new)),
        }
    }

    fn time(what: &'static str, stored: Option<u64>, new: Option<u64>) -> Self {
        Self {
            what,
            stored: stored.map(Activation::Time),
            new: new.map(Activation::Time),
            rewind_to: Activation::Time(before_first(stored, new)),
        }
    }
}

fn before_first(stored: Option<u64>, new: Option<u64>) -> u64 {
    stored.into_iter().chain(new).min().map_or(0, |first| first.saturating_sub(1))
}

/// Whether a chain whose head has this number and timestamp, and which was made under `stored`, may go on
/// under `new`.
///
/// # Errors
/// Names the difference that needs the longest way back.
pub fn check_compatible(
    stored: &ChainConfig,
    new: &ChainConfig,
    head_number: u64,
    head_time: u64,
) -> Result<(), ConfigMismatch> {
    let (mut number, mut time) = (head_number, head_time);
    let mut last: Option<ConfigMismatch> = None;
    // After a rewind an earlier difference may remain, so the search repeats until nothing moves.
    while let Err(mismatch) = check_at(stored, new, number, time) {
        if last.is_some_and(|last| last.rewind_to == mismatch.rewind_to) {
            break;
        }
        last = Some(mismatch);
        match mismatch.rewind_to {
            Activation::Block(to) => number = to,
            Activation::Time(to) => time = to,
        }
    }
    last.map_or(Ok(()), Err)
}

fn check_at(stored: &ChainConfig, new: &ChainConfig, number: u64, time: u64) -> Result<(), ConfigMismatch> {
    for (old, now) in schedule(stored).into_iter().zip(schedule(new)) {
        check_fork(stored, old.label, old.at, now.at, number, time)?;
        let passed = |at: Option<u64>| at.is_some_and(|at| at <= number);
        if old.field == "daoForkBlock"
            && passed(stored.dao_fork_block)
            && stored.dao_fork_support != new.dao_fork_support
        {
            let what = "DAO fork support flag";
            return Err(ConfigMismatch::block(what, stored.dao_fork_block, new.dao_fork_block));
        }
        if old.field == "eip158Block" && passed(stored.eip158_block) && stored.chain_id != new.chain_id {
            let what = "EIP158 chain ID";
            return Err(ConfigMismatch::block(what, stored.eip158_block, new.eip158_block));
        }
    }
    check_classic(stored, new, number, time)
}

fn check_classic(
    stored: &ChainConfig,
    new: &ChainConfig,
    number: u64,
    time: u64,
) -> Result<(), ConfigMismatch> {
    let (old, now) = (Classic::of(stored), Classic::of(new));
    for (before, after) in old.schedule().into_iter().zip(now.schedule()) {
        check_fork(stored, before.label, before.at, after.at, number, time)?;
    }
    let by_era = old.era_block.is_some_and(|at| at <= number);
    if by_era && old.era_length() != now.era_length() {
        return Err(ConfigMismatch::block("ECIP1017 era rounds", old.era_block, now.era_block));
    }
    Ok(())
}

fn check_fork(
    stored: &ChainConfig,
    what: &'static str,
    old: Option<Activation>,
    now: Option<Activation>,
    number: u64,
    time: u64,
) -> Result<(), ConfigMismatch> {
    let values = |at: Option<Activation>| match at {
        Some(Activation::Block(at) | Activation::Time(at)) => Some(at),
        None => None,
    };
    let timed = matches!(old.or(now), Some(Activation::Time(_)));
    let (old, now) = (values(old), values(now));
    if !differs_below(old, now, if timed { time } else { number }) {
        return Ok(());
    }
    // A configuration from before Petersburg had a name may set it to Constantinople's block afterwards.
    let harmless =
        what == "Petersburg fork block" && !differs_below(stored.constantinople_block, now, number);
    match (harmless, timed) {
        (true, _) => Ok(()),
        (false, true) => Err(ConfigMismatch::time(what, old, now)),
        (false, false) => Err(ConfigMismatch::block(what, old, now)),
    }
}

fn differs_below(old: Option<u64>, now: Option<u64>, head: u64) -> bool {
    let passed = |at: Option<u64>| at.is_some_and(|at| at <= head);
    (passed(old) || passed(now)) && old != now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(homestead: Option<u64>, eip150: Option<u64>, shanghai: Option<u64>) -> ChainConfig {
        ChainConfig {
            homestead_block: homestead,
            eip150_block: eip150,
            shanghai_time: shanghai,
            ..ChainConfig::default()
        }
    }

    #[test]
    fn a_fork_ahead_may_move_and_a_passed_one_may_not() {
        let stored = config(Some(30), None, None);
        assert_eq!(check_compatible(&stored, &config(Some(20), None, None), 9, 0), Ok(()));
        let mismatch = check_compatible(&stored, &config(Some(20), None, None), 25, 0).unwrap_err();
        assert_eq!(
            mismatch.to_string(),
            "mismatching Homestead fork block in database (have block 30, want block 20, rewindto block 19)"
        );
    }

    #[test]
    fn the_lowest_difference_decides_how_far_to_rewind() {
        let stored = config(Some(30), Some(10), None);
        let mismatch = check_compatible(&stored, &config(Some(25), Some(20), None), 25, 0).unwrap_err();
        assert_eq!(mismatch.rewind_to, Activation::Block(9));
        assert_eq!(mismatch.what, "EIP150 fork block");
    }

    #[test]
    fn timestamps_and_absent_forks() {
        let stored = config(None, None, Some(10));
        assert_eq!(check_compatible(&stored, &config(None, None, Some(20)), 0, 9), Ok(()));
        let mismatch = check_compatible(&stored, &config(None, None, Some(20)), 0, 25).unwrap_err();
        assert_eq!(
            mismatch.to_string(),
            "mismatching Shanghai fork timestamp in database (have timestamp 10, want timestamp 20, rewindto \
             timestamp 9)"
        );
        let mismatch = check_compatible(&stored, &config(None, None, None), 0, 25).unwrap_err();
        assert!(mismatch.to_string().contains("have timestamp 10, want timestamp nil"), "{mismatch}");
    }

    #[test]
    fn petersburg_may_be_named_later() {
        let at = |petersburg| ChainConfig {
            constantinople_block: Some(30),
            petersburg_block: petersburg,
            ..ChainConfig::default()
        };
        assert_eq!(check_compatible(&at(None), &at(Some(30)), 40, 0), Ok(()));
        let mismatch = check_compatible(&at(None), &at(Some(31)), 40, 0).unwrap_err();
        assert_eq!(mismatch.what, "Petersburg fork block");
    }

    #[test]
    fn the_dao_vote_and_the_chain_id_stay() {
        let dao = |support| ChainConfig {
            dao_fork_block: Some(5),
            dao_fork_support: support,
            ..ChainConfig::default()
        };
        assert_eq!(check_compatible(&dao(true), &dao(false), 4, 0), Ok(()));
        assert_eq!(
            check_compatible(&dao(true), &dao(false), 5, 0).unwrap_err().what,
            "DAO fork support flag"
        );
        let id = |chain_id| ChainConfig { chain_id, eip158_block: Some(5), ..ChainConfig::default() };
        assert_eq!(check_compatible(&id(1), &id(2), 5, 0).unwrap_err().what, "EIP158 chain ID");
    }
}
