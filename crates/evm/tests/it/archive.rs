//! Runs the files of an archive of vectors, and reports what came of their cases.

use quintet_testkit::vectors::{archive, files};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

/// Runs every `sample`th file of an archive on two threads; all of them with `QUINTET_FULL=1`.
pub(crate) fn run_archive(number: &str, sample: usize, run_file: impl Fn(&Path) -> Report + Sync) {
    let Some(root) = archive(number) else { return };
    let every = if std::env::var_os("QUINTET_FULL").is_some() { 1 } else { sample };
    // From the middle: the first of each twenty blockchain tests has one that hashes 1.4 GB, ten seconds of honest
    // work.
    let files: Vec<_> = files(&root, "json").into_iter().skip(every / 2).step_by(every).collect();
    assert!(!files.is_empty(), "no vectors in {}", root.display());
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (files, report, run_file) = (&files, &report, &run_file);
            scope.spawn(move || {
                for file in files.iter().skip(half).step_by(2) {
                    let result = run_file(file);
                    report.lock().unwrap().merge(result);
                }
            });
        }
    });
    report.into_inner().unwrap().finish(number, files.len());
}

/// What came of all cases, by fork.
#[derive(Default)]
pub(crate) struct Report {
    passed: BTreeMap<String, usize>,
    skipped: BTreeMap<&'static str, usize>,
    pub(crate) failed: Vec<String>,
}

impl Report {
    pub(crate) fn pass(&mut self, fork: &str) {
        *self.passed.entry(fork.to_owned()).or_default() += 1;
    }

    pub(crate) fn skip(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    /// Prints what came of an archive's files, and fails if any case did.
    fn finish(self, archive: &str, files: usize) {
        println!("archive {archive}: {files} files, passed {:?}", self.passed);
        for (reason, count) in &self.skipped {
            println!("SKIPPED {count} cases: {reason}");
        }
        assert!(self.failed.is_empty(), "{} failed:\n{}", self.failed.len(), self.failed.join("\n"));
    }

    fn merge(&mut self, other: Self) {
        for (fork, count) in other.passed {
            *self.passed.entry(fork).or_default() += count;
        }
        for (reason, count) in other.skipped {
            *self.skipped.entry(reason).or_default() += count;
        }
        self.failed.extend(other.failed);
    }
}
