//! How hard the next block is: the adjustment by the time since the last one, and the bomb.

use alloy_consensus::constants::EMPTY_OMMER_ROOT_HASH;
use alloy_primitives::U256;
use quintet_chainspec::ChainSpec;
use quintet_types::Header;

/// No block is easier, except by Ethash's first version of the rule, which had the same floor.
const MINIMUM: U256 = U256::from_limbs([131_072, 0, 0, 0]);
/// The part of the difficulty by which it moves.
const BOUND_DIVISOR: u64 = 2048;
/// Most steps down at once, from Homestead on.
const MOST_STEPS_DOWN: u64 = 99;
/// Seconds below which Frontier's rule goes up.
const FRONTIER_DURATION: u64 = 13;
/// Seconds of one step, by Homestead (EIP-2) and by Byzantium (EIP-100).
const HOMESTEAD_STEP: u64 = 10;
const BYZANTIUM_STEP: u64 = 9;
/// Blocks after which the bomb doubles.
const BOMB_PERIOD: u64 = 100_000;

/// The difficulty of the child of `parent` with this timestamp (Unix seconds).
pub fn next_difficulty(spec: &ChainSpec, timestamp: u64, parent: &Header) -> U256 {
    let number = parent.number.saturating_add(1);
    adjusted(spec, number, timestamp, parent).max(MINIMUM).saturating_add(bomb(spec, number))
}

fn adjusted(spec: &ChainSpec, number: u64, timestamp: u64, parent: &Header) -> U256 {
    let step = parent.difficulty / U256::from(BOUND_DIVISOR);
    let elapsed = timestamp.saturating_sub(parent.timestamp);
    let (up, down) = if spec.is_byzantium_active(number) {
        let uncles = parent.ommers_hash != EMPTY_OMMER_ROOT_HASH;
        (if uncles { 2 } else { 1 }, elapsed / BYZANTIUM_STEP)
    } else if spec.is_homestead_active(number) {
        (1, elapsed / HOMESTEAD_STEP)
    } else {
        (1, if elapsed < FRONTIER_DURATION { 0 } else { 2 })
    };
    let steps = |count: u64| step.saturating_mul(U256::from(count));
    if up >= down {
        parent.difficulty.saturating_add(steps(up - down))
    } else {
        parent.difficulty.saturating_sub(steps((down - up).min(MOST_STEPS_DOWN)))
    }
}

/// What the bomb adds: two to the power of the periods passed, less two.
fn bomb(spec: &ChainSpec, number: u64) -> U256 {
    let Some(block) = bomb_block(spec, number) else { return U256::ZERO };
    match (block / BOMB_PERIOD).checked_sub(2) {
        None => U256::ZERO,
        Some(power @ 0..256) => U256::ONE << power,
        Some(_) => U256::MAX,
    }
}

/// The block that the bomb takes this one for; `None` where it is defused.
fn bomb_block(spec: &ChainSpec, number: u64) -> Option<u64> {
    let classic = spec.classic();
    // ECIP-1041 ends the bomb; ECIP-1010 stops it, and later lets it go on where it stopped.
    if classic.disposal_block.is_some_and(|block| block <= number) {
        return None;
    }
    if let Some(pause) = classic.pause_block.filter(|block| *block <= number) {
        let passed = number.saturating_sub(pause);
        let beyond = classic.pause_length.map_or(0, |length| passed.saturating_sub(length));
        return Some(pause.saturating_add(beyond));
    }
    Some(number.saturating_sub(bomb_delay(spec, number)))
}

/// Blocks by which the bomb is late. A network may skip any of the forks that delay it.
fn bomb_delay(spec: &ChainSpec, number: u64) -> u64 {
    if spec.is_gray_glacier_active(number) {
        11_400_000 // EIP-5133
    } else if spec.is_arrow_glacier_active(number) {
        10_700_000 // EIP-4345
    } else if spec.is_london_active(number) {
        9_700_000 // EIP-3554
    } else if spec.is_muir_glacier_active(number) {
        9_000_000 // EIP-2384
    } else if spec.is_constantinople_active(number) {
        5_000_000 // EIP-1234
    } else if spec.is_byzantium_active(number) {
        3_000_000 // EIP-649
    } else {
        0
    }
}
