//! The gas a transaction must bring before its first opcode: intrinsic gas and the calldata floor.

use crate::Rules;

const TX_GAS: u64 = 21_000;
const TX_CREATE_GAS: u64 = 53_000;
const ZERO_BYTE_GAS: u64 = 4;
const NONZERO_BYTE_GAS_FRONTIER: u64 = 68;
const NONZERO_BYTE_GAS: u64 = 16;
const INIT_CODE_WORD_GAS: u64 = 2;
const ACCESS_LIST_ADDRESS_GAS: u64 = 2_400;
const ACCESS_LIST_SLOT_GAS: u64 = 1_900;
const AUTHORIZATION_GAS: u64 = 25_000;
const FLOOR_TOKEN_GAS: u64 = 10;
const TOKENS_PER_NONZERO_BYTE: u64 = 4;

/// The gas that `transaction` costs before it runs: base, calldata (EIP-2028), init code (EIP-3860), access
/// list (EIP-2930) and authorizations (EIP-7702). Saturates, which no gas limit reaches.
pub fn intrinsic_gas(transaction: &impl alloy_consensus::Transaction, rules: &Rules) -> u64 {
    let create = transaction.is_create();
    let base = if create && rules.homestead { TX_CREATE_GAS } else { TX_GAS };
    let (zero, nonzero) = count_bytes(transaction.input());
    let per_byte = if rules.istanbul { NONZERO_BYTE_GAS } else { NONZERO_BYTE_GAS_FRONTIER };
    let mut gas = base
        .saturating_add(zero.saturating_mul(ZERO_BYTE_GAS))
        .saturating_add(nonzero.saturating_mul(per_byte));
    if create && rules.shanghai {
        let words = zero.saturating_add(nonzero).div_ceil(32);
        gas = gas.saturating_add(words.saturating_mul(INIT_CODE_WORD_GAS));
    }
    if let Some(list) = transaction.access_list() {
        let slots = list.iter().map(|item| item.storage_keys.len()).sum::<usize>();
        gas = gas
            .saturating_add(to_u64(list.len()).saturating_mul(ACCESS_LIST_ADDRESS_GAS))
            .saturating_add(to_u64(slots).saturating_mul(ACCESS_LIST_SLOT_GAS));
    }
    let authorizations = transaction.authorization_list().map_or(0, <[_]>::len);
    gas.saturating_add(to_u64(authorizations).saturating_mul(AUTHORIZATION_GAS))
}

/// The least gas that a transaction with this calldata pays from Prague on (EIP-7623).
pub fn floor_data_gas(input: &[u8]) -> u64 {
    let (zero, nonzero) = count_bytes(input);
    let tokens = zero.saturating_add(nonzero.saturating_mul(TOKENS_PER_NONZERO_BYTE));
    TX_GAS.saturating_add(tokens.saturating_mul(FLOOR_TOKEN_GAS))
}

/// Zero and other bytes, counted.
fn count_bytes(input: &[u8]) -> (u64, u64) {
    let nonzero = to_u64(input.iter().filter(|byte| **byte != 0).count());
    (to_u64(input.len()).saturating_sub(nonzero), nonzero)
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{TxEip7702, TxLegacy};
    use alloy_eips::eip2930::{AccessList, AccessListItem};
    use alloy_primitives::{Address, B256, Bytes, TxKind};

    fn legacy(to: TxKind, input: Vec<u8>) -> TxLegacy {
        TxLegacy { to, input: Bytes::from(input), ..TxLegacy::default() }
    }

    #[test]
    fn intrinsic_gas_follows_the_forks() {
        let (old, new) = (Rules::frontier(1), Rules::osaka(1));
        let call = legacy(TxKind::Call(Address::ZERO), vec![0, 0, 1]);
        assert_eq!(intrinsic_gas(&call, &old), 21_000 + 2 * 4 + 68);
        assert_eq!(intrinsic_gas(&call, &new), 21_000 + 2 * 4 + 16);
        let create = legacy(TxKind::Create, vec![1; 33]);
        assert_eq!(intrinsic_gas(&create, &old), 21_000 + 33 * 68);
        assert_eq!(intrinsic_gas(&create, &Rules { homestead: true, ..old }), 53_000 + 33 * 68);
        assert_eq!(intrinsic_gas(&create, &new), 53_000 + 33 * 16 + 2 * 2);
    }

    #[test]
    fn lists_cost_by_entry() {
        let item = |keys| AccessListItem { address: Address::ZERO, storage_keys: vec![B256::ZERO; keys] };
        let tx = TxEip7702 { access_list: AccessList(vec![item(2), item(1)]), ..TxEip7702::default() };
        assert_eq!(intrinsic_gas(&tx, &Rules::osaka(1)), 21_000 + 2 * 2_400 + 3 * 1_900);
    }

    #[test]
    fn floor_counts_tokens() {
        assert_eq!(floor_data_gas(&[]), 21_000);
        assert_eq!(floor_data_gas(&[0, 7]), 21_000 + 5 * 10);
    }
}
