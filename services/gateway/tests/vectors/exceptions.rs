//! Where our answers may differ from the vectors', and why. Each entry must be needed.

use crate::compare::Difference;

/// Methods, or beginnings of their names, that the gateway does not have yet, and why.
pub(crate) const SKIPPED: &[(&str, &str)] = &[
    ("debug_account", "reads of ranges of the state are not there yet"),
    ("debug_batch", "Besu's own"),
    ("debug_getRaw", "raw reads are not there yet"),
    ("debug_storage", "reads of ranges of the state are not there yet"),
    ("debug_trace", "tracing is not there yet"),
    ("eth_config", "EIP-7910 is not there yet"),
    ("eth_protocolVersion", "geth has dropped it"),
    ("eth_simulateV1", "simulation of several blocks is not there yet"),
    ("testing_", "blocks are built by the miner"),
];

/// A difference that is right.
#[derive(Debug)]
pub(crate) struct Exception {
    method: &'static str,
    file: &'static str,
    places: &'static [&'static str],
    #[expect(dead_code, reason = "for the reader, and for the text of a failure")]
    reason: &'static str,
}

/// Answers to `method` in files whose path contains `file` may differ at these places of the response
/// ([`Difference::place`]), because of `reason`.
const fn except(
    method: &'static str,
    file: &'static str,
    places: &'static [&'static str],
    reason: &'static str,
) -> Exception {
    Exception { method, file, places, reason }
}

impl Exception {
    /// Whether this is the difference.
    pub(crate) fn allows(&self, method: &str, file: &str, difference: &Difference) -> bool {
        let is_here = self.places.contains(&difference.place.as_str());
        self.method == method && file.contains(self.file) && is_here
    }
}

const TOTAL_DIFFICULTY: &str =
    "chains of proof of work are chosen by it: shown, as by the geths that had them";
const BLOCK_TIMESTAMP: &str = "newer than these files: later geths show it";
const NO_SUCH_BLOCK: &str = "for a block that is not there Besu answers null, and geth an error";
const PROOF_KEY: &str = "Besu shortens a key, geth gives one of 32 bytes back as it came";
const BAD_TRANSACTION: &str = "bytes that are no transaction are invalid parameters in Besu, not in geth";
const ERROR_OR_RESULT: &[&str] = &["error", "result"];

/// The chain of all forks.
pub(crate) const OSAKA: &[Exception] = &[
    except("eth_getBlockByHash", "", &["result.totalDifficulty"], TOTAL_DIFFICULTY),
    except("eth_getBlockByNumber", "", &["result.totalDifficulty"], TOTAL_DIFFICULTY),
];

/// The older, short chain of proof of work.
pub(crate) const PREMERGE: &[Exception] = &[
    except(
        "eth_estimateGas",
        "estimate-simple-contract",
        &["result"],
        "later geths end their search within 1.5 % of the least gas, and so does this node",
    ),
    except(
        "eth_feeHistory",
        "fee-history",
        &["result.baseFeePerBlobGas", "result.blobGasUsedRatio"],
        "newer than these files: geth answers zeros for blocks before blobs",
    ),
    except("eth_getBlockByHash", "", &["result.transactions[].blockTimestamp"], BLOCK_TIMESTAMP),
    except("eth_getBlockByNumber", "", &["result.transactions[].blockTimestamp"], BLOCK_TIMESTAMP),
    except("eth_getTransactionByBlockHashAndIndex", "", &["result.blockTimestamp"], BLOCK_TIMESTAMP),
    except(
        "eth_getProof",
        "with-storage",
        &["result.storageProof[].key"],
        "later geths give a key that was shorter than 32 bytes back as a quantity",
    ),
];

/// Besu's, on its chain from Frontier to Cancun.
pub(crate) const BESU: &[Exception] = &[
    except(
        "(batch)",
        "eth_call_gasPriceTooHigh",
        &["[].result", "[].error", "[].error.code"],
        "`strict` is Besu's own, and so is its code for a sender that cannot pay",
    ),
    except(
        "eth_call",
        "missing_maxFeePerBlobGas_strict",
        &["error.code"],
        "Besu takes a quantity with leading zeros, geth does not",
    ),
    except("eth_getBlockByNumber", "cancun", &["result.totalDifficulty"], TOTAL_DIFFICULTY),
    except(
        "eth_getBlockTransactionCountByNumber",
        "illegalRangeLessThan",
        ERROR_OR_RESULT,
        "a negative number is no block in Besu, and invalid in geth",
    ),
    except("eth_getCode", "NotExist", ERROR_OR_RESULT, NO_SUCH_BLOCK),
    except("eth_getCode", "illegalRangeGreaterThan", ERROR_OR_RESULT, NO_SUCH_BLOCK),
    except("eth_getProof", "illegalRangeGreaterThan", ERROR_OR_RESULT, NO_SUCH_BLOCK),
    except("eth_getStorageAt", "illegalRangeGreaterThan", ERROR_OR_RESULT, NO_SUCH_BLOCK),
    except("eth_getTransactionCount", "illegalRange", ERROR_OR_RESULT, NO_SUCH_BLOCK),
    except(
        "eth_getLogs",
        "invalidInput",
        ERROR_OR_RESULT,
        "the field `blockhash` is not `blockHash`, and unknown fields are passed over",
    ),
    except("eth_getProof", "block", &["result.storageProof[].key"], PROOF_KEY),
    except("eth_getProof", "pending", &["result.storageProof[].key"], PROOF_KEY),
    except("eth_sendRawTransaction", "", &["error.code"], BAD_TRANSACTION),
];

/// geth 1.8.27's, on a clique network.
pub(crate) const GETH_1_8: &[Exception] = &[
    except("eth_nope", "244", &["error.message"], "geth begins the text in lower case since 1.9"),
    except(
        "eth_sendRawTransaction",
        "247",
        &["error.message"],
        "since 1.10.2 (EIP-2718) geth takes a first byte below 0x80 for a transaction's type, not for bad RLP",
    ),
];

/// Besu's, on its chain from Prague to Osaka.
pub(crate) const BESU_LATEST: &[Exception] = &[];
