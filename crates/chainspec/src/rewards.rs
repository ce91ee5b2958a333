//! What proof of work pays for a block (yellow paper, 11.3; EIP-649, EIP-1234, ECIP-1017).

use crate::ChainSpec;
use crate::spec::is_passed;
use alloy_primitives::{U256, U512};
use quintet_types::Header;

const ETHER: u64 = 1_000_000_000_000_000_000;
/// The reward falls to four fifths with every era (ECIP-1017).
const ERA_NUMERATOR: u64 = 4;
const ERA_DENOMINATOR: u64 = 5;
/// From this era on less than one wei is left.
const LAST_ERA: u64 = 193;
/// The part of the block reward for including an uncle.
const INCLUSION_DIVISOR: u64 = 32;
/// An uncle's reward falls by so many parts with every generation.
const UNCLE_DIVISOR: u64 = 8;

/// What a block pays, in wei.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewards {
    /// To the block's beneficiary.
    pub miner: U256,
    /// To each uncle's beneficiary, in the block's order.
    pub uncles: Vec<U256>,
}

/// The rewards of a block made by proof of work; the caller pays none for other blocks. The uncles must have
/// been checked: each is one to six generations older than the block.
pub fn rewards(spec: &ChainSpec, header: &Header, uncles: &[Header]) -> Rewards {
    let reward = block_reward(spec, header.number);
    let inclusion = reward / U256::from(INCLUSION_DIVISOR);
    // Every era but the first pays uncles as it pays for including them.
    let flat = era(spec, header.number).is_some_and(|era| era > 0);
    let uncle_reward = |uncle: &Header| {
        let depth = header.number.saturating_sub(uncle.number);
        let parts = UNCLE_DIVISOR.saturating_sub(depth);
        if flat { inclusion } else { reward * U256::from(parts) / U256::from(UNCLE_DIVISOR) }
    };
    Rewards {
        miner: reward + inclusion * U256::from(uncles.len()),
        uncles: uncles.iter().map(uncle_reward).collect(),
    }
}

/// The reward of a block by proof of work without uncles, in wei.
pub fn block_reward(spec: &ChainSpec, number: u64) -> U256 {
    if let Some(era) = era(spec, number) {
        return era_reward(era);
    }
    let ether = if spec.is_constantinople_active(number) {
        2
    } else if spec.is_byzantium_active(number) {
        3
    } else {
        5
    };
    U256::from(ether) * U256::from(ETHER)
}

/// The era of a block, the first being zero, where rewards go by eras.
fn era(spec: &ChainSpec, number: u64) -> Option<u64> {
    let classic = spec.classic();
    let active = is_passed(classic.era_block, number);
    active.then(|| number.saturating_sub(1) / classic.era_length())
}

/// Rounded down once, at the end.
fn era_reward(era: u64) -> U256 {
    if era >= LAST_ERA {
        return U256::ZERO;
    }
    let power = |base: u64| U512::from(base).pow(U512::from(era));
    let reward = U512::from(5 * ETHER) * power(ERA_NUMERATOR) / power(ERA_DENOMINATOR);
    U256::from(reward)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(config: &str) -> ChainSpec {
        let text = format!(
            r#"{{"config": {{"chainId": 1, {config}}}, "gasLimit": 1, "difficulty": 1, "alloc": {{}}}}"#
        );
        ChainSpec::from_json(&text).unwrap()
    }

    fn block(number: u64) -> Header {
        Header { number, ..Header::default() }
    }

    fn wei(value: u128) -> U256 {
        U256::from(value)
    }

    #[test]
    fn mainnet() {
        let spec = ChainSpec::preset("mainnet").unwrap();
        let ether = u128::from(ETHER);
        let of = |number| rewards(&spec, &block(number), &[block(number - 1), block(number - 6)]);
        for (number, base) in [(4_369_999, 5), (4_370_000, 3), (7_279_999, 3), (7_280_000, 2)] {
            let base = base * ether;
            let expected =
                Rewards { miner: wei(base + base / 16), uncles: vec![wei(base / 8 * 7), wei(base / 8 * 2)] };
            assert_eq!(of(number), expected, "{number}");
        }
    }

    /// ECIP-1017's own table.
    #[test]
    fn eras() {
        let spec = spec(r#""ecip1017FBlock": 5000000, "ecip1017EraRounds": 5000000, "homesteadBlock": 0"#);
        let cases = [
            (4_999_999, 5_000_000_000_000_000_000),
            (5_000_000, 5_000_000_000_000_000_000),
            (5_000_001, 4_000_000_000_000_000_000),
            (10_000_000, 4_000_000_000_000_000_000),
            (10_000_001, 3_200_000_000_000_000_000),
            (15_000_001, 2_560_000_000_000_000_000),
            (20_000_001, 2_048_000_000_000_000_000),
        ];
        for (number, expected) in cases {
            assert_eq!(block_reward(&spec, number), wei(expected), "{number}");
        }
        let first = rewards(&spec, &block(5_000_000), &[block(4_999_999)]);
        assert_eq!(first.uncles, [wei(5_000_000_000_000_000_000 / 8 * 7)]);
        let second = rewards(&spec, &block(5_000_001), &[block(5_000_000), block(4_999_995)]);
        assert_eq!(second.uncles, [wei(125_000_000_000_000_000); 2]);
        assert_eq!(second.miner, wei(4_250_000_000_000_000_000));
    }

    #[test]
    fn rewards_end_and_are_rounded_down_once() {
        let spec = spec(r#""ecip1017FBlock": 0, "ecip1017EraRounds": 2, "homesteadBlock": 0"#);
        let of = |era: u64| block_reward(&spec, era * 2 + 1);
        // 5e18 * 4^20 / 5^20
        assert_eq!(of(20), wei(57_646_075_230_342_348));
        assert_eq!(of(192), wei(1));
        assert_eq!(of(193), wei(0));
        assert_eq!(of(1_000_000), wei(0));
        assert_eq!(block_reward(&spec, 0), wei(5_000_000_000_000_000_000));
    }
}
