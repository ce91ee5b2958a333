//! A sample of the conformance vectors, the same every time. All of them: `cargo run --release -p quintet-conformance`.

use quintet_conformance::{Options, Sample, Shown, run};
use quintet_testkit::vectors::archive;

/// Runs a sample of suites, and fails with the table if any case does.
fn sample(suites: &[&str], sample: Sample) {
    // Absent vectors have been told of.
    if suites.iter().any(|suite| archive(&suite[..2]).is_none()) {
        return;
    }
    let suites = suites.iter().map(|suite| (*suite).to_owned()).collect();
    let options = Options { suites, sample: Some(sample), ..Options::default() };
    let report = run(&options).unwrap();
    assert!(report.is_success(), "{}", Shown { report: &report, failures: 50, refusals: false });
}

#[test]
fn state_tests() {
    sample(&["01", "02"], Sample { part: 1, of: 100 });
}

#[test]
fn blockchain_tests() {
    sample(&["03", "04", "05", "19"], Sample { part: 1, of: 100 });
}

#[test]
fn basic_suites() {
    sample(&["06", "09", "13", "17"], Sample { part: 1, of: 5 });
}

#[test]
fn chains() {
    // Those of archive 14 take longer than a test may.
    sample(&["12 chains", "14 genesis", "20"], Sample { part: 1, of: 1 });
}
