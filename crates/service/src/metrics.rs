//! Prometheus metrics behind the `metrics` facade. Without a recorder the facade's macros cost nothing.
//!
//! [`catalogue`] names them all.

pub mod catalogue;
mod peers;

use crate::error::ServiceError;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::fmt::Write;
use std::sync::OnceLock;

/// Upper bounds in seconds of every histogram whose name ends in `_seconds`: from a read in the cache to a
/// block import that takes as long as a slot.
const SECONDS: [f64; 18] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 12.0,
];

/// Clock ticks in a second, as `/proc` counts: the same on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// The process's recorder.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Installs the recorder of this process, or gives the one that is.
    ///
    /// # Errors
    /// When another recorder is installed.
    pub fn install() -> Result<Self, ServiceError> {
        if let Some(handle) = RECORDER.get() {
            return Ok(Self { handle: handle.clone() });
        }
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| ServiceError::Metrics(error);
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .map_err(|error| failed(error.into()))?
            .build_recorder();
        let handle = recorder.handle();
        match metrics::set_global_recorder(recorder) {
            Ok(()) => {
                catalogue::describe();
                Ok(Self { handle: RECORDER.get_or_init(|| handle).clone() })
            }
            // Another thread was first; without its handle the recorder is a foreign one.
            Err(error) => match RECORDER.get() {
                Some(handle) => Ok(Self { handle: handle.clone() }),
                None => Err(failed(error.to_string().into())),
            },
        }
    }

    /// Everything recorded, and the process's own figures, as Prometheus text.
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        render_process(&mut text);
        text
    }

    /// Moves recorded samples into their histograms. Must run every few seconds, or they pile up unscraped.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Appends the figures of this process that `/proc` has, under Prometheus' customary names.
fn render_process(text: &mut String) {
    let mut metric = |name: &str, kind: &str, help: &str, value: f64| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    if let Some(seconds) = cpu_seconds() {
        metric("process_cpu_seconds_total", "counter", "User and system CPU time.", seconds);
    }
    if let Some(bytes) = resident_bytes() {
        metric("process_resident_memory_bytes", "gauge", "Resident memory.", bytes);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        let count = u32::try_from(entries.count()).unwrap_or(u32::MAX);
        metric("process_open_fds", "gauge", "Open file descriptors.", f64::from(count));
    }
    if let Some(most) = most_fds() {
        metric("process_max_fds", "gauge", "File descriptors that may be open.", most);
    }
    if let Some(moment) = start_time() {
        metric("process_start_time_seconds", "gauge", "Start of the process since the Unix epoch.", moment);
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields are counted from the end of the name, which may have spaces: utime and stime are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// The soft limit; none where there is no limit.
fn most_fds() -> Option<f64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn start_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let since_boot: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + since_boot / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}
