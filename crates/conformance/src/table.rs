//! The report as text, in Markdown's tables.

use crate::report::{Counts, Report};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

/// How much of a report is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The report.
    pub report: &'a Report,
    /// Most failures with their details.
    pub failures: usize,
    /// Whether each rule that refused something is listed.
    pub refusals: bool,
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        table(self.report, f)?;
        skips(self.report, f)?;
        if self.refusals {
            refusals(self.report, f)?;
        }
        failures(self.report, self.failures, f)
    }
}

fn table(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let mut rows = vec![["suite", "fork", "passed", "failed", "skipped", "seconds"].map(str::to_owned)];
    let mut last = "";
    for ((suite, fork), counts) in &report.counts {
        rows.push(row(if *suite == last { "" } else { suite }, fork, counts));
        last = suite;
    }
    rows.push(row("all", "", &report.total()));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for (index, row) in rows.iter().enumerate() {
        let [suite, fork, numbers @ ..] = row;
        write!(f, "| {suite:0$} | {fork:1$} |", widths[0], widths[1])?;
        for (cell, width) in numbers.iter().zip(&widths[2..]) {
            write!(f, " {cell:>width$} |")?;
        }
        writeln!(f)?;
        if index == 0 {
            let line = |width: &usize| "-".repeat(width + 1);
            write!(f, "|{}-|{}-|", line(&(widths[0])), line(&(widths[1])))?;
            widths[2..].iter().try_for_each(|width| write!(f, "{}:|", line(width)))?;
            writeln!(f)?;
        }
    }
    writeln!(f, "\n{} files read", report.files)?;
    if report.left_out > 0 {
        writeln!(f, "{} cases left out by the filter or the sample", report.left_out)?;
    }
    Ok(())
}

fn row(suite: &str, fork: &str, counts: &Counts) -> [String; 6] {
    [
        suite.to_owned(),
        fork.to_owned(),
        counts.passed.to_string(),
        counts.failed.to_string(),
        counts.skipped.to_string(),
        format!("{:.1}", counts.time.as_secs_f64()),
    ]
}

fn skips(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    if report.skips.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nSkipped, and why:\n")?;
    for ((suite, reason), count) in &report.skips {
        writeln!(f, "- {suite}: {count} × {reason}")?;
    }
    Ok(())
}

/// By what the vectors expect: one line each, with the rules that refused and how often.
fn refusals(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let mut by_class: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (refusal, count) in &report.refusals {
        *by_class.entry(&refusal.expected).or_default().entry(&refusal.rule).or_default() += count;
    }
    if by_class.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nRefused as expected, by the vectors' class, and by which rule here:\n")?;
    for (class, rules) in by_class {
        let rules: Vec<String> = rules.iter().map(|(rule, count)| format!("{rule} ({count})")).collect();
        writeln!(f, "- `{}`: {}", if class.is_empty() { "(not named)" } else { class }, rules.join("; "))?;
    }
    Ok(())
}

fn failures(report: &Report, most: usize, f: &mut Formatter<'_>) -> fmt::Result {
    if report.failures.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{} failed:\n", report.failures.len())?;
    for failure in report.failures.iter().take(most) {
        writeln!(f, "- {} {} {}: {}", failure.suite, failure.name, failure.fork, failure.why)?;
    }
    let rest = report.failures.len().saturating_sub(most);
    if rest > 0 {
        writeln!(f, "- and {rest} more (--verbose shows them)")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;
    use std::time::Duration;

    #[test]
    fn a_report_says_what_failed_and_why_something_was_skipped() {
        let mut report = Report::default();
        report.add("01 state", "Berlin", "a", Outcome::Passed, Duration::ZERO);
        report.add("01 state", "Berlin", "b", Outcome::Failed("root".to_owned()), Duration::ZERO);
        report.add("06 abi", "", "c", Outcome::Skipped("no ABI".into()), Duration::ZERO);
        let shown = Shown { report: &report, failures: 0, refusals: true }.to_string();
        assert!(shown.contains("| 01 state | Berlin |      1 |      1 |       0 |     0.0 |"), "{shown}");
        assert!(shown.contains("- 06 abi: 1 × no ABI"), "{shown}");
        assert!(shown.contains("and 1 more"), "{shown}");
        let shown = Shown { report: &report, failures: 1, refusals: true }.to_string();
        assert!(shown.contains("- 01 state b Berlin: root"), "{shown}");
        assert!(!report.is_success());
    }
}
