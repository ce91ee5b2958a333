//! Finds the files, has each read by the suite that it belongs to, and adds up what comes of them.
//!
//! A file that no suite knows, or that its suite did not read, is a failure. Cases run on threads of their own,
//! and not on rayon's: the code under test waits for rayon while it holds locks.

use crate::report::{Outcome, Refusal, Report};
use crate::suites::{self, Route};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Bytes of stack of a worker.
const STACK: usize = 32 << 20;
/// The suite that a file belongs to that no suite knows.
const UNKNOWN: &str = "unknown files";

/// One case in this many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How many.
    pub part: u64,
    /// Of how many.
    pub of: u64,
}

impl std::str::FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((part, of)) if part > 0 && part <= of => Ok(Self { part, of }),
            _ => Err(format!("{text:?} is not of the form N/M with 0 < N <= M")),
        }
    }
}

/// Which cases run, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only suites whose name contains one of these; empty for all.
    pub suites: Vec<String>,
    /// Only cases whose file or name contains this.
    pub filter: Option<String>,
    /// Only a sample, the same in every run.
    pub sample: Option<Sample>,
    /// Threads; zero for one per processor.
    pub jobs: usize,
}

impl Options {
    fn wants_suite(&self, suite: &str) -> bool {
        self.suites.is_empty() || self.suites.iter().any(|wanted| suite.contains(wanted.as_str()))
    }

    fn wants_case(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }

    /// FNV-1a of the name decides, so that a case is in the sample or not whatever is run beside it.
    fn samples(&self, name: &str) -> bool {
        let Some(Sample { part, of }) = self.sample else { return true };
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // The low bits of FNV are poor.
        (hash ^ (hash >> 32)) % of < part
    }
}

/// A file of an archive.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its path in the archive.
    pub(crate) name: String,
    size: u64,
}

/// What a suite tells of its cases.
pub(crate) struct Sink<'a> {
    options: &'a Options,
    suite: &'static str,
    file: &'a File,
    read: &'a Mutex<BTreeSet<PathBuf>>,
    report: Report,
}

impl Sink<'_> {
    /// The file's bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, String> {
        self.bytes_of(&self.file.path)
    }

    /// The bytes of a file beside this one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn sibling(&self, name: &str) -> Result<Vec<u8>, String> {
        self.bytes_of(&self.file.path.with_file_name(name))
    }

    fn bytes_of(&self, path: &Path) -> Result<Vec<u8>, String> {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.read.lock().insert(path.to_owned());
        Ok(bytes)
    }

    /// The file's name in its folder, without its extension.
    pub(crate) fn stem(&self) -> &str {
        self.file.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
    }

    /// Whether the sample has cases of this test. Tests without a case count as one left out.
    pub(crate) fn samples(&mut self, test: &str) -> bool {
        let wanted = self.options.samples(test);
        self.report.left_out += usize::from(!wanted);
        wanted
    }

    /// Runs a case, unless the filter leaves it out. A panic is a failure.
    pub(crate) fn case(&mut self, fork: &str, name: &str, run: impl FnOnce(&mut Refusals) -> Outcome) {
        let name = format!("{} {name}", self.file.name);
        if !self.options.wants_case(&name) {
            self.report.left_out += 1;
            return;
        }
        let mut refusals = Refusals(Vec::new());
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&mut refusals)))
            .unwrap_or_else(|panic| Outcome::Failed(format!("panicked: {}", panic_text(&*panic))));
        self.report.add(self.suite, fork, name, outcome, start.elapsed());
        for (expected, rule) in refusals.0 {
            *self.report.refusals.entry(Refusal { suite: self.suite, expected, rule }).or_default() += 1;
        }
    }

    /// A case that has one answer.
    pub(crate) fn check(&mut self, fork: &str, name: &str, run: impl FnOnce() -> Result<(), String>) {
        self.case(fork, name, |_| run().into());
    }
}

/// What a case saw refused.
pub(crate) struct Refusals(Vec<(String, String)>);

impl Refusals {
    /// Notes that what the vectors call `expected` was refused by `rule`.
    pub(crate) fn add(&mut self, expected: &str, rule: &str) {
        self.0.push((expected.to_owned(), rule.to_owned()));
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// Runs everything that the options ask for.
///
/// # Errors
/// When an archive is not there, or its folder cannot be read.
pub fn run(options: &Options) -> io::Result<Report> {
    quintet_types::install_crypto();
    let mut jobs = Vec::new();
    let mut report = Report::default();
    for number in suites::ARCHIVES {
        if !suites::names(number).any(|suite| options.wants_suite(suite)) {
            continue;
        }
        let root = quintet_testkit::vectors::archive(number).ok_or_else(|| {
            io::Error::other(format!("no archive {number} of vectors: set --vectors or QUINTET_VECTORS"))
        })?;
        for file in files(&root)? {
            jobs.extend(job(options, number, file, &mut report));
        }
    }
    // The longest first, so that no thread is left alone with them.
    jobs.sort_by(|a, b| {
        (b.1.weight(), b.0.size).cmp(&(a.1.weight(), a.0.size)).then(a.0.name.cmp(&b.0.name))
    });
    report.merge(work(options, &jobs)?);
    Ok(report.finish())
}

/// What there is to do about a file, if anything.
fn job(options: &Options, archive: &str, file: File, report: &mut Report) -> Option<(File, Route)> {
    let route = suites::route(archive, &file.name);
    match route {
        Some(route) if !options.wants_suite(route.suite()) => None,
        Some(Route::NoVectors { suite, reason }) => {
            report.add(suite, "", file.name, Outcome::Skipped(reason.into()), Duration::ZERO);
            None
        }
        Some(route) => Some((file, route)),
        None => {
            let failed = Outcome::Failed("no suite knows this file".to_owned());
            report.add(UNKNOWN, "", format!("{archive} {}", file.name), failed, Duration::ZERO);
            None
        }
    }
}

fn files(root: &Path) -> io::Result<Vec<File>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let size = fs::metadata(&path)?.len();
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            found.push(File { path, name, size });
        }
    }
    Ok(found)
}

fn work(options: &Options, jobs: &[(File, Route)]) -> io::Result<Report> {
    let threads = match options.jobs {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let next = AtomicUsize::new(0);
    let read = Mutex::new(BTreeSet::new());
    let total = Mutex::new(Report::default());
    thread::scope(|scope| {
        for index in 0..threads {
            let worker = || {
                while let Some((file, route)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = run_file(options, file, *route, &read);
                    total.lock().merge(report);
                }
            };
            let name = format!("worker {index}");
            thread::Builder::new().name(name).stack_size(STACK).spawn_scoped(scope, worker)?;
        }
        io::Result::Ok(())
    })?;
    let (mut report, read) = (total.into_inner(), read.into_inner());
    for (file, route) in jobs {
        if read.contains(&file.path) {
            report.files += 1;
        } else {
            let failed = Outcome::Failed("the file was not read".to_owned());
            report.add(route.suite(), "", file.name.clone(), failed, Duration::ZERO);
        }
    }
    Ok(report)
}

fn run_file(options: &Options, file: &File, route: Route, read: &Mutex<BTreeSet<PathBuf>>) -> Report {
    let Route::Suite { suite, run, .. } = route else { return Report::default() };
    let mut sink = Sink { options, suite, file, read, report: Report::default() };
    let result = catch_unwind(AssertUnwindSafe(|| run(&mut sink)));
    let failed = match result {
        Ok(Ok(())) => return sink.report,
        Ok(Err(why)) => why,
        Err(panic) => format!("panicked: {}", panic_text(&*panic)),
    };
    sink.report.add(suite, "", file.name.clone(), Outcome::Failed(failed), Duration::ZERO);
    sink.report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_the_same_every_time() {
        assert_eq!("1/20".parse(), Ok(Sample { part: 1, of: 20 }));
        assert!(["0/2", "3/2", "1", "x/y", ""].iter().all(|text| text.parse::<Sample>().is_err()));
        let options = Options { sample: Some(Sample { part: 1, of: 4 }), ..Options::default() };
        let picked = (0..4000).filter(|number| options.samples(&format!("case {number}"))).count();
        assert!((800..1200).contains(&picked), "{picked}");
        assert!(Options::default().samples("anything"));
    }
}
