//! What came of the cases: counts by suite and fork, reasons of skips, failures, and which rules refused what
//! had to be refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As the vectors want it.
    Passed,
    /// Not run, and why.
    Skipped(Cow<'static, str>),
    /// Not as the vectors want it: what was, and what should have been.
    Failed(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(why) => Self::Failed(why),
        }
    }
}

/// A case that failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// Its suite.
    pub suite: &'static str,
    /// Its fork or network; empty where there is none.
    pub fork: String,
    /// File and case.
    pub name: String,
    /// What was wrong.
    pub why: String,
}

/// How many cases ended how, and how long they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As wanted.
    pub passed: usize,
    /// Not as wanted.
    pub failed: usize,
    /// Not run.
    pub skipped: usize,
    /// Sum over the cases, whichever thread they ran on.
    pub time: Duration,
}

impl Counts {
    /// All cases.
    pub const fn total(&self) -> usize {
        self.passed + self.failed + self.skipped
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.time += other.time;
    }
}

/// What the vectors want a block or transaction refused for, in their words, and what it was refused for here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The suite.
    pub suite: &'static str,
    /// The vectors' class.
    pub expected: String,
    /// The rule that refused, in this node's words, without the values.
    pub rule: String,
}

/// What came of all cases.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By suite and fork.
    pub counts: BTreeMap<(&'static str, String), Counts>,
    /// Cases skipped, by suite and reason.
    pub skips: BTreeMap<(&'static str, Cow<'static, str>), usize>,
    /// What had to be refused and was, how often.
    pub refusals: BTreeMap<Refusal, usize>,
    /// In no order until [`Report::finish`].
    pub failures: Vec<Failure>,
    /// Cases that the filter or the sample left out.
    pub left_out: usize,
    /// Files read.
    pub files: usize,
}

impl Report {
    /// Notes a case.
    pub fn add(
        &mut self,
        suite: &'static str,
        fork: &str,
        name: impl Into<String>,
        outcome: Outcome,
        time: Duration,
    ) {
        let counts = self.counts.entry((suite, fork.to_owned())).or_default();
        counts.time += time;
        match outcome {
            Outcome::Passed => counts.passed += 1,
            Outcome::Skipped(reason) => {
                counts.skipped += 1;
                *self.skips.entry((suite, reason)).or_default() += 1;
            }
            Outcome::Failed(why) => {
                counts.failed += 1;
                self.failures.push(Failure { suite, fork: fork.to_owned(), name: name.into(), why });
            }
        }
    }

    /// Takes over what another thread has.
    pub fn merge(&mut self, other: Self) {
        for (key, counts) in other.counts {
            self.counts.entry(key).or_default().add(counts);
        }
        for (key, count) in other.skips {
            *self.skips.entry(key).or_default() += count;
        }
        for (key, count) in other.refusals {
            *self.refusals.entry(key).or_default() += count;
        }
        self.failures.extend(other.failures);
        self.left_out += other.left_out;
        self.files += other.files;
    }

    /// Orders the failures, so that two runs read the same.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.failures.sort();
        self
    }

    /// Whether nothing failed, and something ran.
    pub fn is_success(&self) -> bool {
        self.failures.is_empty() && self.total().total() > 0
    }

    /// The sum over all suites.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.counts.values() {
            total.add(*counts);
        }
        total
    }
}
