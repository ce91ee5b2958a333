//! What a header's base fee (EIP-1559) and blob gas (EIP-4844, EIP-7840, EIP-7918) must be.

use crate::config::blob_forks;
use crate::spec::is_passed;
use crate::{BaseFeeParams, BlobParams, ChainSpec};
use alloy_eips::eip1559::{INITIAL_BASE_FEE, calc_next_block_base_fee};
use alloy_eips::eip4844::DATA_GAS_PER_BLOB;
use alloy_eips::eip7594::MAX_BLOBS_PER_TX_FUSAKA;
use alloy_eips::eip7840::BLOB_BASE_COST;
use quintet_types::Header;

impl ChainSpec {
    /// How fast the base fee moves: Ethereum's values on every network.
    pub const fn base_fee_params(&self) -> BaseFeeParams {
        BaseFeeParams::ethereum()
    }

    /// The base fee, in wei, of a child of this header; `None` when the child comes before London.
    pub fn next_base_fee(&self, parent: &Header) -> Option<u64> {
        let number = parent.number.saturating_add(1);
        if !self.is_london_active(number) {
            return None;
        }
        // The fork's first block starts at the initial fee, whatever its parent held.
        let (true, Some(base_fee)) = (self.is_london_active(parent.number), parent.base_fee_per_gas) else {
            return Some(INITIAL_BASE_FEE);
        };
        Some(calc_next_block_base_fee(parent.gas_used, parent.gas_limit, base_fee, self.base_fee_params()))
    }

    /// The blob parameters in force at a block's timestamp; `None` before Cancun.
    pub fn blob_params_at(&self, timestamp: u64) -> Option<BlobParams> {
        let forks = blob_forks(self.config()).into_iter().rev();
        let mut active = forks.filter(|(_, time)| is_passed(*time, timestamp));
        let mut params = active.find_map(|(name, _)| self.config().blob_schedule.get(name).copied())?;
        if is_passed(self.config().osaka_time, timestamp) {
            params.max_blobs_per_tx = MAX_BLOBS_PER_TX_FUSAKA;
            params.blob_base_cost = BLOB_BASE_COST;
        }
        Some(params)
    }

    /// The excess blob gas of a child of this header that has this timestamp; `None` when the child comes
    /// before Cancun.
    pub fn next_excess_blob_gas(&self, parent: &Header, timestamp: u64) -> Option<u64> {
        let params = self.blob_params_at(timestamp)?;
        let excess = parent.excess_blob_gas.unwrap_or_default();
        let used = parent.blob_gas_used.unwrap_or_default();
        let target = params.target_blob_count.saturating_mul(DATA_GAS_PER_BLOB);
        let sum = excess.saturating_add(used);
        if sum < target {
            return Some(0);
        }
        let base_fee = u128::from(parent.base_fee_per_gas.unwrap_or_default());
        let reserve = u128::from(params.blob_base_cost).saturating_mul(base_fee);
        let price = u128::from(DATA_GAS_PER_BLOB).saturating_mul(params.calc_blob_fee(excess));
        if params.blob_base_cost == 0 || reserve <= price {
            return Some(sum.saturating_sub(target));
        }
        // EIP-7918: execution dominates the price of a blob, so the target no longer lowers it.
        let above = params.max_blob_count.saturating_sub(params.target_blob_count);
        let scaled = u128::from(used).saturating_mul(above.into()).checked_div(params.max_blob_count.into());
        let scaled = u64::try_from(scaled.unwrap_or_default()).unwrap_or(u64::MAX);
        Some(excess.saturating_add(scaled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sepolia() -> ChainSpec {
        ChainSpec::preset("sepolia").unwrap()
    }

    #[test]
    fn blob_params_follow_the_schedule() {
        let spec = sepolia();
        assert_eq!(spec.blob_params_at(1_706_655_071), None);
        assert_eq!(spec.blob_params_at(1_706_655_072), Some(BlobParams::cancun()));
        assert_eq!(spec.blob_params_at(1_741_159_776), Some(BlobParams::prague()));
        assert_eq!(spec.blob_params_at(1_760_427_360), Some(BlobParams::osaka()));
        assert_eq!(spec.blob_params_at(1_761_017_184), Some(BlobParams::bpo1()));
        assert_eq!(spec.blob_params_at(u64::MAX), Some(BlobParams::bpo2()));
    }

    /// The same numbers as alloy's own functions, on ordinary headers.
    #[test]
    fn excess_blob_gas_agrees_with_alloy() {
        let spec = sepolia();
        for time in [1_706_655_072_u64, 1_741_159_776, 1_760_427_360, 1_761_607_008] {
            let params = spec.blob_params_at(time).unwrap();
            for blobs in 0..=params.max_blob_count {
                for (excess, base_fee) in [(0, 7), (1 << 20, 1 << 30), (1 << 27, 7), (1 << 25, 1 << 40)] {
                    let used = blobs * DATA_GAS_PER_BLOB;
                    let parent = Header {
                        excess_blob_gas: Some(excess),
                        blob_gas_used: Some(used),
                        base_fee_per_gas: Some(base_fee),
                        ..Header::default()
                    };
                    let expected = params.next_block_excess_blob_gas_osaka(excess, used, base_fee);
                    assert_eq!(spec.next_excess_blob_gas(&parent, time), Some(expected));
                }
            }
        }
    }

    #[test]
    fn extreme_headers_do_not_overflow() {
        let parent = Header {
            number: u64::MAX,
            excess_blob_gas: Some(u64::MAX),
            blob_gas_used: Some(u64::MAX),
            base_fee_per_gas: Some(u64::MAX),
            ..Header::default()
        };
        assert!(sepolia().next_excess_blob_gas(&parent, u64::MAX).is_some());
        assert_eq!(sepolia().next_base_fee(&parent), Some(u64::MAX));
    }

    #[test]
    fn the_base_fee_begins_with_london() {
        let spec = ChainSpec::preset("mainnet").unwrap();
        let parent = |number| Header {
            number,
            gas_limit: 30_000_000,
            gas_used: 30_000_000,
            base_fee_per_gas: Some(1_000_000_000),
            ..Header::default()
        };
        assert_eq!(spec.next_base_fee(&parent(12_964_998)), None);
        assert_eq!(spec.next_base_fee(&parent(12_964_999)), Some(1_000_000_000));
        assert_eq!(spec.next_base_fee(&parent(12_965_000)), Some(1_125_000_000));
    }
}
