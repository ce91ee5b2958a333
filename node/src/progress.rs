//! How far a long command is: a bar where standard error is a terminal, else a line in the log now and then.

use indicatif::{FormattedDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// Time between two lines of the log, as geth has it.
const REPORT_INTERVAL: Duration = Duration::from_secs(8);
const BLOCKS: &str = "{prefix} {wide_bar} block {pos} of {len}, {per_sec}, ETA {eta}";
const BYTES: &str = "{prefix} {wide_bar} {percent}% {msg}";

/// A command's progress.
pub(crate) struct Progress {
    action: &'static str,
    bar: Option<ProgressBar>,
    start: Instant,
    reported: Instant,
    first: u64,
    last: u64,
}

impl Progress {
    /// Through the blocks `first..=last`.
    pub(crate) fn blocks(action: &'static str, first: u64, last: u64) -> Self {
        Self::new(action, BLOCKS, first, last)
    }

    /// Through the bytes of a file.
    pub(crate) fn bytes(action: &'static str, bytes: u64) -> Self {
        Self::new(action, BYTES, 0, bytes)
    }

    fn new(action: &'static str, template: &str, first: u64, last: u64) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(last), ProgressDrawTarget::stderr_with_hz(5));
            // A template that does not parse would show in the first run: the default then.
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            bar.set_prefix(action);
            bar.set_position(first);
            bar.reset_eta();
            bar
        });
        Self { action, bar, start: now, reported: now, first, last }
    }

    /// Everything up to block `number` is done.
    pub(crate) fn at_block(&mut self, number: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(number);
        } else if self.is_due() {
            let done = number.saturating_sub(self.first) + 1;
            let rate = done as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
            let rest = self.last.saturating_sub(number) as f64 / rate.max(1e-9);
            tracing::info!(number, last = self.last, eta = %seconds(rest), "{} blocks", self.action);
        }
    }

    /// This many bytes are done; the bar shows `message`. Whether there is a bar.
    pub(crate) fn at_byte(&mut self, bytes: u64, message: impl FnOnce() -> String) -> bool {
        let Some(bar) = &self.bar else { return false };
        bar.set_position(bytes.min(self.last));
        bar.set_message(message());
        true
    }

    /// Whether it is time for a line in the log. Never with a bar.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.bar.is_none() && self.reported.elapsed() >= REPORT_INTERVAL;
        if due {
            self.reported = Instant::now();
        }
        due
    }

    /// Takes the bar away.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Seconds as people read a time. What would take centuries is not known.
pub(crate) fn seconds(seconds: f64) -> String {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    if time > Duration::from_hours(24 * 365 * 100) {
        return "unknown".to_owned();
    }
    FormattedDuration(time).to_string()
}
