//! The contracts of generated chains. They use instructions of Frontier, but for `REVERT` and `CREATE2`, so that
//! they run under every fork; what a fork does not have fails there, as it should.

use super::assembler::assemble;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use std::sync::LazyLock;

/// An ERC-20 token: `transfer` and `balanceOf`, the mapping of balances at slot 0.
pub(crate) static TOKEN: LazyLock<Bytes> = LazyLock::new(|| {
    assemble(
        "0x0100000000000000000000000000000000000000000000000000000000 0 CALLDATALOAD DIV
         DUP1 0xa9059cbb EQ @transfer JUMPI
         0x70a08231 EQ @balance JUMPI
         fail: 0 0 REVERT
         balance: 4 CALLDATALOAD 0 MSTORE 0x40 0 KECCAK256 SLOAD 0 MSTORE 0x20 0 RETURN
         transfer:
         CALLER 0 MSTORE 0x40 0 KECCAK256      ; the sender's slot
         DUP1 SLOAD 0x24 CALLDATALOAD          ; its balance, and the amount
         DUP1 DUP3 LT @fail JUMPI
         SWAP1 SUB SWAP1 SSTORE
         4 CALLDATALOAD 0 MSTORE 0x40 0 KECCAK256
         DUP1 SLOAD 0x24 CALLDATALOAD ADD SWAP1 SSTORE
         0x24 CALLDATALOAD 0 MSTORE
         4 CALLDATALOAD CALLER
         0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef
         0x20 0 LOG3                           ; Transfer(address,address,uint256)
         1 0 MSTORE 0x20 0 RETURN",
    )
});

/// Storage churn. With three words of call data, *first*, *count*, *factor*: each of *count* slots from *first* on
/// becomes *factor* × (its value + its key + 1), so that a factor of zero clears them. With two words: reads the
/// slots, and stores their sum in the caller's slot.
pub(crate) static CHURN: LazyLock<Bytes> = LazyLock::new(|| {
    assemble(
        "0x20 CALLDATALOAD 0 CALLDATALOAD DUP1 SWAP2 ADD SWAP1      ; end, key
         0x60 CALLDATASIZE LT @read JUMPI
         write: DUP2 DUP2 LT ISZERO @stop JUMPI
         DUP1 SLOAD DUP2 ADD 1 ADD 0x40 CALLDATALOAD MUL
         DUP2 SSTORE 1 ADD @write JUMP
         read: 0                                                    ; end, key, sum
         more: DUP3 DUP3 LT ISZERO @done JUMPI
         DUP2 SLOAD ADD SWAP1 1 ADD SWAP1 @more JUMP
         done: CALLER SSTORE
         stop: STOP",
    )
});

/// A contract that remembers the block of its creation, writes a slot when called with its key and value, and
/// destroys itself, for the caller, when called with nothing.
static CHILD: LazyLock<Bytes> = LazyLock::new(|| {
    assemble(
        "CALLDATASIZE @write JUMPI CALLER SELFDESTRUCT
         write: 0x20 CALLDATALOAD 0 CALLDATALOAD SSTORE STOP",
    )
});

/// What creates a child; `padding` follows its code, so that codes differ.
pub(crate) fn child_init_code(padding: &[u8]) -> Bytes {
    let length = CHILD.len() + padding.len();
    let constructor = assemble(&format!("NUMBER 1 SSTORE {length:#06x} DUP1 @end 0 CODECOPY 0 RETURN"));
    [constructor.as_ref(), CHILD.as_ref(), padding].concat().into()
}

/// Creates a child by CREATE2 with the first word of call data for a salt; with more call data, has it destroyed
/// in the same transaction.
pub(crate) static FACTORY: LazyLock<Bytes> = LazyLock::new(|| {
    let child = child_init_code(&[]);
    let length = child.len();
    let factory = assemble(&format!(
        "{length} @end 0 CODECOPY
         0 CALLDATALOAD {length} 0 0 CREATE2
         0x20 CALLDATASIZE GT @destroy JUMPI STOP
         destroy: 0 0 0 0 0 DUP6 GAS CALL STOP"
    ));
    [factory, child].concat().into()
});

/// The child that the factory makes with this salt.
pub(crate) fn child_address(factory: Address, salt: u64) -> Address {
    factory.create2(B256::from(U256::from(salt)), *CHILD_HASH)
}

static CHILD_HASH: LazyLock<B256> = LazyLock::new(|| keccak256(child_init_code(&[])));

/// The token's slot of an account's balance.
pub(crate) fn balance_slot(account: Address) -> B256 {
    keccak256([account.into_word(), B256::ZERO].concat())
}

/// Call data of the token's `transfer`.
pub(crate) fn transfer_call(to: Address, amount: U256) -> Bytes {
    let selector = [0xa9, 0x05, 0x9c, 0xbb];
    [selector.as_slice(), to.into_word().as_slice(), &amount.to_be_bytes::<32>()].concat().into()
}

/// Call data of these words.
pub(crate) fn words<const N: usize>(words: [u64; N]) -> Bytes {
    words.map(|word| U256::from(word).to_be_bytes::<32>()).concat().into()
}
