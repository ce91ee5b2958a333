//! The parts of a header's extra data: vanity, signers (in checkpoints), seal.

use crate::{CliqueError, EXTRA_SEAL, EXTRA_VANITY};
use alloy_primitives::{Address, B256};
use quintet_types::Header;

/// The hash that a signer signs: that of the header without the seal at the end of its extra data, with the
/// fields of later forks (base fee) where it has them.
///
/// # Errors
/// When the extra data is too short for a seal.
pub fn seal_hash(header: &Header) -> Result<B256, CliqueError> {
    let (unsealed, _) = split_seal(header)?;
    let extra_data = header.extra_data.slice_ref(unsealed);
    Ok(Header { extra_data, ..header.clone() }.hash_slow())
}

/// The signers that a checkpoint (genesis is one) lists, in its order; bytes that are not a whole address at
/// the list's end are left out.
///
/// # Errors
/// When the extra data is too short for vanity and seal.
pub fn signers_of_checkpoint(header: &Header) -> Result<Vec<Address>, CliqueError> {
    Ok(signer_bytes(header)?.as_chunks().0.iter().map(Address::from).collect())
}

/// What is between vanity and seal.
pub(crate) fn signer_bytes(header: &Header) -> Result<&[u8], CliqueError> {
    let after_vanity = header.extra_data.get(EXTRA_VANITY..).ok_or(CliqueError::MissingVanity)?;
    let end = after_vanity.len().checked_sub(EXTRA_SEAL).ok_or(CliqueError::MissingSignature)?;
    after_vanity.get(..end).ok_or(CliqueError::MissingSignature)
}

/// The extra data before the seal, and the seal.
pub(crate) fn split_seal(header: &Header) -> Result<(&[u8], &[u8; EXTRA_SEAL]), CliqueError> {
    header.extra_data.split_last_chunk().ok_or(CliqueError::MissingSignature)
}
