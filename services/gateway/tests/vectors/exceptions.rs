//! Where our answers may differ from the vectors', and why. Each entry must be needed.

use crate::compare::Difference;

/// Methods, or beginnings of their names, that the gateway does not have yet, and why.
pub(crate) const SKIPPED: &[(&str, &str)] = &[
    ("debug_", "tracing and raw reads are not there yet"),
    ("eth_config", "EIP-7910 is not there yet"),
    ("eth_simulateV1", "simulation of several blocks is not there yet"),
    ("testing_", "blocks are built by the miner"),
];

/// A difference that is right.
#[derive(Debug)]
pub(crate) struct Exception {
    /// The method's name.
    method: &'static str,
    /// A part of the file's path.
    file: &'static str,
    /// Where in the response, as [`Difference::place`].
    place: &'static str,
    /// Why it is right.
    #[expect(dead_code, reason = "for the reader, and in the failure's text")]
    reason: &'static str,
}

impl Exception {
    /// Whether this is the difference.
    pub(crate) fn allows(&self, method: &str, file: &str, difference: &Difference) -> bool {
        self.method == method && file.contains(self.file) && self.place == difference.place
    }
}

/// Fields that this node shows and the newest geth no longer does.
const TOTAL_DIFFICULTY: &str = "networks of proof of work choose their chain by it: shown as geth did up to 1.14";

/// The chain of all forks.
pub(crate) const OSAKA: &[Exception] = &[
    Exception {
        method: "eth_getBlockByHash",
        file: "",
        place: "result.totalDifficulty",
        reason: TOTAL_DIFFICULTY,
    },
    Exception {
        method: "eth_getBlockByNumber",
        file: "",
        place: "result.totalDifficulty",
        reason: TOTAL_DIFFICULTY,
    },
];

/// The older, short chain of proof of work.
pub(crate) const PREMERGE: &[Exception] = &[];

/// Besu's, on its chain from Frontier to Cancun.
pub(crate) const BESU: &[Exception] = &[];

/// Besu's, on its chain from Prague to Osaka.
pub(crate) const BESU_LATEST: &[Exception] = &[];
