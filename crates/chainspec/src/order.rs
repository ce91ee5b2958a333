//! Whether a schedule of forks can work: geth's `CheckConfigForkOrder`.

use crate::classic::Classic;
use crate::config::{blob_forks, schedule};
use crate::{Activation, ChainConfig, ChainSpecError};

/// Checks that forks are scheduled in their order without gaps, and that every fork with blobs has its
/// parameters; and that what Ethereum Classic adds can work.
///
/// # Errors
/// Names the first fork that is out of order, and in geth's words.
pub fn check_fork_order(config: &ChainConfig) -> Result<(), ChainSpecError> {
    let mut previous: Option<(&'static str, Option<Activation>)> = None;
    for fork in schedule(config) {
        if let (Some((name, last)), Some(at)) = (previous, fork.at) {
            check_pair(name, last, fork.field, at)?;
        }
        if !fork.optional || fork.at.is_some() {
            previous = Some((fork.field, fork.at));
        }
    }
    Classic::of(config).check()?;
    check_blob_schedule(config)
}

fn check_pair(
    previous: &'static str,
    previous_at: Option<Activation>,
    fork: &'static str,
    at: Activation,
) -> Result<(), ChainSpecError> {
    match (previous_at, at) {
        (None, _) => Err(ChainSpecError::ForkNotEnabled { previous, fork, at }),
        (Some(Activation::Block(last)), Activation::Block(number)) if last > number => {
            Err(ChainSpecError::ForkTooEarly { previous, previous_at: Activation::Block(last), fork, at })
        }
        (Some(Activation::Time(last)), Activation::Time(time)) if last > time => {
            Err(ChainSpecError::ForkTooEarly { previous, previous_at: Activation::Time(last), fork, at })
        }
        (Some(_), _) => Ok(()),
    }
}

fn check_blob_schedule(config: &ChainConfig) -> Result<(), ChainSpecError> {
    for (fork, time) in blob_forks(config) {
        let Some(entry) = config.blob_schedule.get(fork) else {
            if time.is_some() {
                return Err(ChainSpecError::MissingBlobSchedule { fork });
            }
            continue;
        };
        let invalid = |reason| Err(ChainSpecError::InvalidBlobSchedule { fork: fork.to_owned(), reason });
        if entry.update_fraction == 0 {
            return invalid("update fraction must be defined and non-zero");
        }
        if entry.target_blob_count > entry.max_blob_count {
            return invalid("target > max");
        }
        // Above this, blob gas in a block would not fit into its header field.
        if entry.max_blob_count > u64::from(u32::MAX) {
            return invalid("max is too large");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BlobParams;

    fn refused(config: &ChainConfig) -> String {
        check_fork_order(config).unwrap_err().to_string()
    }

    #[test]
    fn gaps_and_reversals_are_refused() {
        let mut config = ChainConfig { eip150_block: Some(5), ..ChainConfig::default() };
        assert_eq!(
            refused(&config),
            "unsupported fork ordering: homesteadBlock not enabled, but eip150Block enabled at block 5"
        );
        config.homestead_block = Some(7);
        assert_eq!(
            refused(&config),
            "unsupported fork ordering: homesteadBlock enabled at block 7, but eip150Block enabled at block 5"
        );
        config.homestead_block = Some(5);
        check_fork_order(&config).unwrap();
        config.shanghai_time = Some(1);
        assert_eq!(
            refused(&config),
            "unsupported fork ordering: londonBlock not enabled, but shanghaiTime enabled at timestamp 1"
        );
    }

    #[test]
    fn blobs_need_their_parameters() {
        let zero = Some(0);
        let mut config = ChainConfig {
            homestead_block: zero,
            eip150_block: zero,
            eip155_block: zero,
            eip158_block: zero,
            byzantium_block: zero,
            constantinople_block: zero,
            petersburg_block: zero,
            istanbul_block: zero,
            berlin_block: zero,
            london_block: zero,
            shanghai_time: zero,
            cancun_time: Some(9),
            prague_time: Some(8),
            ..ChainConfig::default()
        };
        assert_eq!(
            refused(&config),
            "unsupported fork ordering: cancunTime enabled at timestamp 9, but pragueTime enabled at timestamp 8"
        );
        config.prague_time = None;
        assert_eq!(
            refused(&config),
            "invalid chain configuration: missing entry for fork \"cancun\" in blobSchedule"
        );
        let broken = BlobParams { update_fraction: 0, ..BlobParams::cancun() };
        config.blob_schedule.insert("cancun".to_owned(), broken);
        assert_eq!(
            refused(&config),
            "invalid chain configuration in blobSchedule for fork \"cancun\": update fraction must be defined \
             and non-zero"
        );
        config.blob_schedule.insert("cancun".to_owned(), BlobParams::cancun());
        check_fork_order(&config).unwrap();
    }
}
