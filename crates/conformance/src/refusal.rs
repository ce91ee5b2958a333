//! What the vectors call a reason for refusal, and which rules of this node's may stand for it.
//!
//! The vectors speak two languages: retesteth's (`TR_NoFunds`) and execution-spec-tests'
//! (`TransactionException.INSUFFICIENT_ACCOUNT_FUNDS`). Where a block breaks several rules, clients may name any
//! of them, so a class stands for the rules that its vectors break.

use crate::runner::Refusals;

/// A rule, and what its message has in it.
const RULES: &[(&str, &str)] = &[
    ("transaction type", "transaction type not supported"),
    ("sender is a contract", "sender not an eoa"),
    ("funds", "insufficient funds"),
    ("intrinsic gas", "intrinsic gas too low"),
    ("floor gas", "insufficient gas for floor data gas cost"),
    ("init code size", "max initcode size exceeded"),
    ("nonce has its maximum", "nonce has max value"),
    ("nonce too low", "nonce too low"),
    ("nonce too high", "nonce too high"),
    ("gas cap of a transaction", "transaction gas limit too high"),
    ("tip above fee cap", "max priority fee per gas higher than max fee per gas"),
    ("fee cap below base fee", "max fee per gas less than block base fee"),
    ("blob fee cap below blob base fee", "max fee per blob gas less than"),
    ("blob hash version", "invalid hash version"),
    ("too many blobs", "too many blobs"),
    ("blob gas limit", "blob gas limit reached"),
    ("blob gas used", "blob gas used"),
    ("no blobs", "missing blob hashes"),
    ("blob transaction creates", "blob transaction of type create"),
    ("set code transaction creates", "cannot be used to create contract"),
    ("no authorizations", "empty auth list"),
    ("block gas limit reached", "gas limit reached"),
    ("chain id", "invalid chain id"),
    ("replay protection", "invalid transaction v, r, s"),
    ("signature", "invalid signature"),
    ("undecodable transaction", "undecodable transaction"),
    ("undecodable block", "undecodable block"),
    ("number", "invalid block number"),
    ("timestamp", "timestamp older than parent"),
    ("extra data of the DAO fork", "DAO"),
    ("extra data", "extra-data too long"),
    ("difficulty", "invalid difficulty"),
    ("gas limit", "invalid gas limit"),
    ("gas limit", "invalid gasLimit"),
    ("gas used above limit", "invalid gasUsed"),
    ("gas used", "invalid gas used"),
    ("base fee", "invalid baseFee"),
    ("missing field", "header is missing"),
    ("field before its fork", "expected 'nil'"),
    ("fork without this engine", "does not support"),
    ("excess blob gas", "invalid excessBlobGas"),
    ("nonce of proof of stake", "invalid nonce"),
    ("uncles of proof of stake", "invalid uncle hash"),
    ("uncle root", "uncle root hash mismatch"),
    ("transaction root", "transaction root hash mismatch"),
    ("withdrawals root", "withdrawals root hash mismatch"),
    ("withdrawals", "withdrawals"),
    ("block size", "block RLP-encoded size"),
    ("duplicate uncle", "duplicate uncle"),
    ("uncle is an ancestor", "uncle is ancestor"),
    ("dangling uncle", "uncle's parent is not ancestor"),
    ("too many uncles", "too many uncles"),
    ("uncle", "uncle"),
    ("state root", "invalid merkle root"),
    ("receipt root", "invalid receipt root"),
    ("bloom", "invalid bloom"),
    ("requests", "invalid requests hash"),
    ("deposit", "deposit"),
    ("system contract", "system contract"),
    ("system call", "system call"),
    ("unknown parent", "unknown ancestor"),
    ("links to a bad block", "links to previously rejected block"),
    ("known bad block", "known bad block"),
    ("block in the future", "block in the future"),
    ("seal", "proof-of-work"),
    ("seal", "mix digest"),
];

/// What may refuse blocks and transactions of a class; a class that is not here may be refused by any rule.
const CLASSES: &[(&str, &[&str])] = &[
    ("TR_TypeNotSupported", &["transaction type"]),
    ("TYPE_1_TX_PRE_FORK", &["transaction type"]),
    ("SenderNotEOA", &["sender is a contract"]),
    ("SENDER_NOT_EOA", &["sender is a contract"]),
    ("TR_NoFunds", &["funds"]),
    ("INSUFFICIENT_ACCOUNT_FUNDS", &["funds"]),
    ("TR_NoFundsOrGas", &["funds", "intrinsic gas"]),
    ("INTRINSIC_GAS_TOO_LOW", &["intrinsic gas", "floor gas"]),
    ("IntrinsicGas", &["intrinsic gas"]),
    ("OutOfGasIntrinsic", &["intrinsic gas"]),
    ("TR_IntrinsicGas", &["intrinsic gas"]),
    ("INTRINSIC_GAS_BELOW_FLOOR_GAS_COST", &["floor gas"]),
    ("INITCODE_SIZE_EXCEEDED", &["init code size"]),
    ("TR_InitCodeLimitExceeded", &["init code size"]),
    ("TR_NonceHasMaxValue", &["nonce has its maximum", "undecodable transaction"]),
    ("NONCE_IS_MAX", &["nonce has its maximum"]),
    ("NONCE_MISMATCH_TOO_LOW", &["nonce too low"]),
    ("NONCE_MISMATCH_TOO_HIGH", &["nonce too high"]),
    ("GAS_LIMIT_EXCEEDS_MAXIMUM", &["gas cap of a transaction"]),
    // Some of its transactions offer less than the base fee, too, which geth asks for first.
    ("GAS_ALLOWANCE_EXCEEDED", &["block gas limit reached", "fee cap below base fee"]),
    ("TR_GasLimitReached", &["block gas limit reached"]),
    ("BlockGasLimitReached", &["block gas limit reached"]),
    ("TR_TipGtFeeCap", &["tip above fee cap"]),
    ("PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS", &["tip above fee cap"]),
    ("TR_FeeCapLessThanBlocks", &["fee cap below base fee"]),
    ("TR_FeeCapLessThanBlocksORNoFunds", &["fee cap below base fee", "funds"]),
    ("TR_FeeCapLessThanBlocksORGasLimitReached", &["fee cap below base fee", "block gas limit reached"]),
    ("TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH", &["blob hash version"]),
    ("TR_BLOBVERSION_INVALID", &["blob hash version"]),
    ("TYPE_3_TX_BLOB_COUNT_EXCEEDED", BLOBS),
    ("TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED", BLOBS),
    ("TR_BLOBLIST_OVERSIZE", BLOBS),
    (
        "TYPE_4_TX_CONTRACT_CREATION",
        &["set code transaction creates", "undecodable block", "undecodable transaction"],
    ),
    ("badpow-block", &["seal"]),
    ("1559BlockImportImpossible_BaseFeeWrong", &["base fee"]),
    ("1559BlockImportImpossible_HeaderIsLegacy", &["base fee"]),
    ("INCORRECT_EXCESS_BLOB_GAS", &["excess blob gas"]),
    ("INVALID_DEPOSIT_EVENT_LAYOUT", &["deposit", "requests"]),
    ("INVALID_REQUESTS", &["requests"]),
    ("INVALID_WITHDRAWALS_ROOT", &["withdrawals root"]),
    ("SYSTEM_CONTRACT_EMPTY", &["system contract"]),
    ("ExtraDataIncorrect", &["extra data of the DAO fork"]),
    ("ExtraDataTooBig", &["extra data"]),
    ("InvalidBlockNonce", &["seal"]),
    ("InvalidDifficulty", &["difficulty"]),
    ("InvalidGasLimit", &["gas limit"]),
    ("InvalidGasLimit2", &["gas limit"]),
    ("InvalidLogBloom", &["bloom"]),
    ("InvalidNumber", &["number"]),
    // One of its blocks was made by the rules of another fork: its gas is wrong, too, which geth asks for first.
    ("InvalidReceiptsStateRoot", &["receipt root", "gas used"]),
    ("InvalidGasUsed", &["gas used"]),
    ("InvalidStateRoot", &["state root"]),
    ("InvalidTimestamp", &["timestamp"]),
    ("InvalidTimestampOlderParent", &["timestamp"]),
    ("InvalidUncleParentHash", &["dangling uncle"]),
    ("InvalidUnclesHash", &["uncle root"]),
    ("InvalidWithdrawals", &["withdrawals root"]),
    ("PostParisDifficultyIsNot0", &["difficulty"]),
    ("PostParisUncleHashIsNotEmpty", &["uncles of proof of stake"]),
    ("TooManyUncles", &["too many uncles"]),
    ("TooMuchGasUsed", &["gas used above limit"]),
    ("UncleInChain", &["uncle is an ancestor"]),
    ("UncleIsAncestor", &["uncle is an ancestor"]),
    ("UncleParentIsNotAncestor", &["dangling uncle"]),
    // A parent that was refused is remembered for a while.
    ("UnknownParent", &["unknown parent", "links to a bad block"]),
    ("TR_RLP_WRONGVALUE", &["undecodable block", "undecodable transaction"]),
];

const BLOBS: &[&str] = &["too many blobs", "blob gas limit", "blob gas used"];

/// The rule that a message is of: its name, or the message itself.
pub(crate) fn rule(message: &str) -> &str {
    RULES.iter().find(|(_, part)| message.contains(part)).map_or(message, |(rule, _)| *rule)
}

/// Notes a refusal.
///
/// # Errors
/// When the rule that refused is none of those that the class stands for.
pub(crate) fn judge(expected: &str, message: &str, refusals: &mut Refusals) -> Result<(), String> {
    let rule = rule(message);
    refusals.add(expected, rule);
    if expected.split('|').any(|class| fits(class, rule)) {
        return Ok(());
    }
    Err(format!("refused for another reason: {message}, not {expected}"))
}

fn fits(class: &str, rule: &str) -> bool {
    let (language, name) = class.rsplit_once('.').unwrap_or(("", class));
    // The headers that retesteth made know nothing of the transactions that must be refused.
    let without = language.is_empty() && rule == "transaction root";
    let listed = CLASSES.iter().find(|(known, _)| *known == name);
    without || listed.is_none_or(|(_, rules)| rules.contains(&rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_rule_and_the_rule_must_fit_the_class() {
        assert_eq!(rule("nonce too low: address 0x, tx: 1 state: 2"), "nonce too low");
        assert_eq!(rule("blob gas limit reached: tx 1, available 0"), "blob gas limit");
        assert_eq!(rule("gas limit reached"), "block gas limit reached");
        assert_eq!(rule("something new"), "something new");
        assert!(fits("TR_NoFunds", "funds") && !fits("TR_NoFunds", "chain id"));
        assert!(fits("no class", "something new"));
        // Every class stands for rules that there are.
        let known = |rule: &&&str| RULES.iter().any(|(name, _)| *name == **rule);
        assert!(CLASSES.iter().flat_map(|(_, rules)| rules.iter()).all(|rule| known(&rule)));
    }
}
