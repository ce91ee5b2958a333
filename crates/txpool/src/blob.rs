//! Blob sidecars: format, commitments and proofs (EIP-4844, EIP-7594).

use crate::{PoolError, Rules};
use alloy_eips::eip4844::BlobTransactionValidationError;
use alloy_eips::eip4844::kzg_to_versioned_hash;
use alloy_eips::eip7594::{BlobTransactionSidecarVariant, CELLS_PER_EXT_BLOB};
use alloy_primitives::B256;

/// The most blobs of a transaction in the pool, whatever the fork allows (geth's limit).
const MAX_BLOBS_PER_TX: usize = 6;
/// The least blob base fee there is, in wei.
pub(crate) const MIN_BLOB_BASE_FEE: u128 = 1;

/// 0 for proofs per blob (EIP-4844), 1 for proofs per cell (EIP-7594).
pub(crate) const fn sidecar_version(sidecar: &BlobTransactionSidecarVariant) -> u8 {
    match sidecar {
        BlobTransactionSidecarVariant::Eip4844(_) => 0,
        BlobTransactionSidecarVariant::Eip7594(_) => 1,
    }
}

/// Checks a blob transaction's sidecar against its blob hashes, KZG proofs last: they cost milliseconds per
/// blob.
pub(crate) fn validate_sidecar(
    sidecar: Option<&BlobTransactionSidecarVariant>,
    hashes: &[B256],
    blob_fee_cap: u128,
    rules: &Rules,
) -> Result<(), PoolError> {
    if blob_fee_cap < MIN_BLOB_BASE_FEE {
        return Err(PoolError::BlobFeeCapTooLow { fee: blob_fee_cap, needed: MIN_BLOB_BASE_FEE });
    }
    let sidecar = sidecar.ok_or(PoolError::MissingSidecar)?;
    check_commitments(sidecar, hashes)?;
    let limit = rules.max_blobs_per_tx.min(MAX_BLOBS_PER_TX);
    if hashes.len() > limit {
        return Err(PoolError::BlobLimitExceeded { count: hashes.len(), limit });
    }
    check_format(sidecar, rules)?;
    sidecar.validate(hashes, kzg_settings()).map_err(|error| {
        PoolError::KzgVerification(match error {
            BlobTransactionValidationError::InvalidProof => "invalid proof".into(),
            other => other.to_string(),
        })
    })
}

/// The trusted setup, without tables computed ahead: those take seconds and 100 MiB, and help only those who
/// compute proofs all day. Loaded at the first call.
pub fn kzg_settings() -> &'static c_kzg::KzgSettings {
    c_kzg::ethereum_kzg_settings(0)
}

/// The commitments must be those signed for.
fn check_commitments(sidecar: &BlobTransactionSidecarVariant, hashes: &[B256]) -> Result<(), PoolError> {
    let commitments = sidecar.commitments();
    if commitments.len() != hashes.len() {
        return Err(PoolError::CommitmentCount { commitments: commitments.len(), hashes: hashes.len() });
    }
    for (index, (commitment, expected)) in commitments.iter().zip(hashes).enumerate() {
        let computed = kzg_to_versioned_hash(commitment.as_slice());
        if computed != *expected {
            return Err(PoolError::BlobHashMismatch { index, computed, expected: *expected });
        }
    }
    Ok(())
}

/// The sidecar must have the fork's version, and as many proofs and blobs as it has commitments.
fn check_format(sidecar: &BlobTransactionSidecarVariant, rules: &Rules) -> Result<(), PoolError> {
    let (want, got) = (u8::from(rules.osaka), sidecar_version(sidecar));
    if want != got {
        return Err(PoolError::SidecarVersion { want, got });
    }
    let commitments = sidecar.commitments().len();
    let (proofs, expected) = match sidecar {
        BlobTransactionSidecarVariant::Eip4844(sidecar) => (sidecar.proofs.len(), commitments),
        BlobTransactionSidecarVariant::Eip7594(sidecar) => {
            (sidecar.cell_proofs.len(), commitments.saturating_mul(CELLS_PER_EXT_BLOB))
        }
    };
    if proofs != expected {
        return Err(PoolError::ProofCount { proofs, expected });
    }
    let blobs = sidecar.blobs().len();
    if blobs == 0 {
        return Err(PoolError::Blobless);
    }
    if blobs != commitments {
        return Err(PoolError::BlobCount { blobs, commitments });
    }
    Ok(())
}
