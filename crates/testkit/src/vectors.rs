//! The conformance vectors: archives of test data that others wrote, kept outside the project.
//!
//! `QUINTET_VECTORS` names their folder; without it, `../shared/vectors` from the project's root is tried. A
//! test whose archive is absent says so and passes: the data is not part of the project.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io, process};

/// Unpacks the archive whose file name begins with `number` and a dash, as `13`, and gives the folder of its
/// files. Every archive is unpacked once per machine, into the system's temporary folder. `None`, with a line
/// on standard error that says why, when there is no such archive: the caller returns.
///
/// # Panics
/// When the archive is there and cannot be unpacked (`tar` and `zstd` are needed).
pub fn archive(number: &str) -> Option<PathBuf> {
    let folder = folder();
    let Some(packed) = find(&folder, number) else {
        // Not `eprintln!`, whose text the test harness hides when the test passes.
        let missing = folder.display();
        let _ = writeln!(
            io::stderr(),
            "SKIPPED: no archive {number}-*.tar.zst in {missing} (set QUINTET_VECTORS)"
        );
        return None;
    };
    Some(unpacked(&packed).unwrap_or_else(|error| panic!("cannot unpack {}: {error}", packed.display())))
}

/// All files below `root` with this extension, in the order of their paths.
///
/// # Panics
/// When a folder cannot be read.
pub fn files(root: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    env::var_os("QUINTET_VECTORS").map_or_else(|| root.join("../shared/vectors"), PathBuf::from)
}

fn find(folder: &Path, number: &str) -> Option<PathBuf> {
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(&format!("{number}-")) && name.ends_with(".tar.zst")
    };
    fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).find(named)
}

/// The folder is named after the archive's name and size, so that a changed archive is unpacked anew, and
/// appears in one step, so that no other test sees it half full.
fn unpacked(packed: &Path) -> io::Result<PathBuf> {
    static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    let name = packed.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.trim_end_matches(".tar.zst");
    let cache = env::temp_dir().join("quintet-vectors");
    let done = cache.join(format!("{stem}.{}", fs::metadata(packed)?.len()));
    if !done.is_dir() {
        let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let partial = cache.join(format!(".{stem}.{}.{attempt}", process::id()));
        fs::create_dir_all(&partial)?;
        let output =
            Command::new("tar").arg("--zstd").arg("-xf").arg(packed).arg("-C").arg(&partial).output()?;
        if !output.status.success() {
            fs::remove_dir_all(&partial)?;
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        // Another process may have been faster; its copy is as good.
        if fs::rename(&partial, &done).is_err() {
            fs::remove_dir_all(&partial)?;
        }
    }
    let inner = done.join(stem);
    Ok(if inner.is_dir() { inner } else { done })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_archive_is_none_and_a_present_one_is_a_folder() {
        assert_eq!(archive("00"), None);
        let Some(folder) = archive("09") else { return };
        assert!(folder.join("eip2124-forkid.json").is_file());
        assert_eq!(archive("09"), Some(folder.clone()));
        assert!(files(&folder, "json").len() >= 5);
    }
}
