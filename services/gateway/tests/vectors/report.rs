//! What became of each request, per method, and whether that is a pass.

use crate::compare::Difference;
use crate::exceptions::{Exception, SKIPPED};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const METHOD_NOT_FOUND: i64 = -32601;

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// The outcomes of one suite.
pub(crate) struct Report {
    suite: &'static str,
    exceptions: &'static [Exception],
    used: BTreeSet<usize>,
    methods: BTreeMap<String, Count>,
    files: usize,
    failures: Vec<String>,
}

impl Report {
    /// An empty report of a suite, whose differences may be `exceptions`.
    pub(crate) fn new(suite: &'static str, exceptions: &'static [Exception]) -> Self {
        Self {
            suite,
            exceptions,
            used: BTreeSet::new(),
            methods: BTreeMap::new(),
            files: 0,
            failures: Vec::new(),
        }
    }

    /// Takes in one answer to `method`, asked by `file`. `compare` is asked for the differences of an answer
    /// to a method that is there.
    pub(crate) fn answered(
        &mut self,
        method: &str,
        file: &str,
        response: &Value,
        compare: impl FnOnce() -> Vec<Difference>,
    ) {
        let is_absent = response["error"]["code"] == METHOD_NOT_FOUND;
        let count = self.methods.entry(method.to_owned()).or_default();
        match (skip_reason(method), is_absent) {
            (Some(_), true) => count.skipped += 1,
            (Some(_), false) => {
                count.failed += 1;
                self.failures.push(format!("{file}: {method} is there: take it off the skipped methods"));
            }
            (None, _) => {
                let differences = compare();
                self.compared(method, file, &differences);
            }
        }
    }

    fn compared(&mut self, method: &str, file: &str, differences: &[Difference]) {
        let mut failures = Vec::new();
        for difference in differences {
            let allowed =
                self.exceptions.iter().position(|exception| exception.allows(method, file, difference));
            match allowed {
                Some(index) => {
                    self.used.insert(index);
                }
                None => failures.push(format!("{file}: {}", difference.text)),
            }
        }
        let count = self.methods.entry(method.to_owned()).or_default();
        if failures.is_empty() {
            count.passed += 1;
        } else {
            count.failed += 1;
            self.failures.append(&mut failures);
        }
    }

    /// A file's exchanges are all answered.
    pub(crate) const fn file_done(&mut self) {
        self.files += 1;
    }

    /// A file that could not be used.
    pub(crate) fn unreadable(&mut self, file: &str, why: &str) {
        self.failures.push(format!("{file}: unreadable: {why}"));
    }

    /// Prints the table.
    ///
    /// # Panics
    /// When something failed, an exception is not needed, or not `files` files were read.
    pub(crate) fn finish(mut self, files: usize) {
        if self.files != files {
            self.failures.push(format!("{} of {files} files were read", self.files));
        }
        for (index, exception) in self.exceptions.iter().enumerate() {
            if !self.used.contains(&index) {
                self.failures.push(format!("this exception is not needed: {exception:?}"));
            }
        }
        let table = self.table();
        assert!(self.failures.is_empty(), "{table}\n{}", self.failures.join("\n"));
        println!("{table}");
    }

    fn table(&self) -> String {
        let mut table = format!("{}\n{:42} passed failed skipped\n", self.suite, "method");
        for (method, count) in &self.methods {
            let Count { passed, failed, skipped } = count;
            let reason = skip_reason(method).filter(|_| *skipped > 0).unwrap_or_default();
            let _ = writeln!(table, "{method:42} {passed:6} {failed:6} {skipped:7}  {reason}");
        }
        table
    }
}

fn skip_reason(method: &str) -> Option<&'static str> {
    SKIPPED.iter().find(|(name, _)| method.starts_with(name)).map(|(_, reason)| *reason)
}
