//! The extra data of the DAO fork's blocks (EIP-779).

use crate::error::EthashError;
use quintet_chainspec::ChainSpec;
use quintet_types::Header;

/// What the fork's blocks say.
const EXTRA: &[u8] = b"dao-hard-fork";
/// How many of them say it.
const BLOCKS: u64 = 10;

/// Checks that the first ten blocks of the fork carry its extra data, or, on a network that refused the fork,
/// do not.
///
/// # Errors
/// [`EthashError::BadProDaoForkExtra`] or [`EthashError::BadNoDaoForkExtra`].
pub fn check_dao_extra(spec: &ChainSpec, header: &Header) -> Result<(), EthashError> {
    let Some(fork) = spec.dao_fork() else { return Ok(()) };
    if header.number.checked_sub(fork.block).is_none_or(|after| after >= BLOCKS) {
        return Ok(());
    }
    match (fork.support, header.extra_data.as_ref() == EXTRA) {
        (true, false) => Err(EthashError::BadProDaoForkExtra),
        (false, true) => Err(EthashError::BadNoDaoForkExtra),
        (true, true) | (false, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Bytes;

    fn check(support: bool, number: u64, extra: &'static [u8]) -> Option<String> {
        let text = format!(
            r#"{{"config": {{"chainId": 1, "homesteadBlock": 0, "daoForkBlock": 50, "daoForkSupport": {support}}},
                "gasLimit": 1, "difficulty": 1, "alloc": {{}}}}"#
        );
        let spec = ChainSpec::from_json(&text).unwrap();
        let header = Header { number, extra_data: Bytes::from_static(extra), ..Header::default() };
        check_dao_extra(&spec, &header).err().map(|error| error.to_string())
    }

    #[test]
    fn ten_blocks_say_which_side_they_are_on() {
        for number in [49, 60] {
            for support in [true, false] {
                assert_eq!(check(support, number, EXTRA), None);
                assert_eq!(check(support, number, b""), None);
            }
        }
        for number in [50, 59] {
            assert_eq!(check(true, number, EXTRA), None);
            assert_eq!(check(true, number, b"x"), Some("bad DAO pro-fork extra-data".to_owned()));
            assert_eq!(check(false, number, EXTRA), Some("bad DAO no-fork extra-data".to_owned()));
            assert_eq!(check(false, number, b"x"), None);
        }
    }
}
