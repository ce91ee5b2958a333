//! Writes a file of blocks so that half of one is never taken for a whole one: a new file has another name until it
//! is complete, and a file that is appended to has another name meanwhile.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Bytes written to the file at once.
const BUFFER: usize = 256 << 10;

/// An export that could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An earlier export was ended while it appended.
    #[error(
        "an export was stopped while it appended to {}: {} holds what was there before and a part of what it wrote; \
         take from it what you need, and move it away", path.display(), left.display()
    )]
    LeftOver {
        /// The file to append to.
        path: PathBuf,
        /// What it is called since.
        left: PathBuf,
    },
}

/// A file that blocks are exported to. Dropped before [`ExportFile::finish`], it leaves things as they were.
pub(crate) struct ExportFile {
    output: Option<Output>,
    path: PathBuf,
    working: Working,
}

/// What the file is while it is written.
enum Working {
    /// A new one beside it.
    Beside(PathBuf),
    /// The file itself, under another name, of which this many bytes were there.
    Renamed(PathBuf, u64),
    /// No regular file but a pipe or a device, which is written to as it is.
    Itself,
}

enum Output {
    Plain(BufWriter<File>),
    Packed(GzEncoder<BufWriter<File>>),
}

impl ExportFile {
    /// Begins to write `path`, packed by gzip when it is named `.gz`; `append` keeps what it holds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn create(path: &Path, append: bool) -> Result<Self, ExportError> {
        let failed = |source| ExportError::Write { path: path.to_owned(), source };
        // What a symbolic link points to is written, not the link.
        let path = if path.exists() { path.canonicalize().map_err(failed)? } else { path.to_owned() };
        let begun = Self::begin(&path, append)?;
        let packed = path.extension().is_some_and(|extension| extension == "gz");
        let (file, working) = begun;
        let file = BufWriter::with_capacity(BUFFER, file);
        let output = if packed {
            Output::Packed(GzEncoder::new(file, Compression::default()))
        } else {
            Output::Plain(file)
        };
        Ok(Self { output: Some(output), path, working })
    }

    fn begin(path: &Path, append: bool) -> Result<(File, Working), ExportError> {
        let failed = |source| ExportError::Write { path: path.to_owned(), source };
        let renamed = with_suffix(path, "appending");
        if append && renamed.exists() {
            return Err(ExportError::LeftOver { path: path.to_owned(), left: renamed });
        }
        match path.metadata() {
            Ok(there) if !there.is_file() => {
                let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
                Ok((file, Working::Itself))
            }
            Ok(there) if append => {
                let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
                fs::rename(path, &renamed).map_err(failed)?;
                Ok((file, Working::Renamed(renamed, there.len())))
            }
            _ => {
                let beside = with_suffix(path, "partial");
                let file = File::create(&beside).map_err(failed)?;
                Ok((file, Working::Beside(beside)))
            }
        }
    }

    /// Writes the next block's RLP.
    ///
    /// # Errors
    /// When the disk is full, or fails.
    pub(crate) fn write(&mut self, rlp: &[u8]) -> Result<(), ExportError> {
        let written = match &mut self.output {
            Some(Output::Plain(file)) => file.write_all(rlp),
            Some(Output::Packed(file)) => file.write_all(rlp),
            None => Ok(()),
        };
        written.map_err(|source| ExportError::Write { path: self.path.clone(), source })
    }

    /// Completes the file: after this it has its name, and is on the disk.
    ///
    /// # Errors
    /// When the disk is full, or fails; everything is as it was then.
    pub(crate) fn finish(mut self) -> Result<(), ExportError> {
        self.complete().map_err(|source| ExportError::Write { path: self.path.clone(), source })?;
        self.working = Working::Itself;
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        let file = match self.output.take() {
            Some(Output::Plain(file)) => file,
            Some(Output::Packed(file)) => file.finish()?,
            None => return Ok(()),
        };
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        match &self.working {
            Working::Beside(working) | Working::Renamed(working, _) => {
                file.sync_all()?;
                fs::rename(working, &self.path)
            }
            Working::Itself => Ok(()),
        }
    }
}

impl Drop for ExportFile {
    fn drop(&mut self) {
        // What is buffered must not be written after the file was put back.
        match self.output.take() {
            Some(Output::Plain(file)) => drop(file.into_parts()),
            // The packer writes its end to the file when it is dropped: before the file is put back.
            Some(Output::Packed(file)) => drop(file),
            None => {}
        }
        let restored = match &self.working {
            Working::Beside(partial) => fs::remove_file(partial),
            Working::Renamed(working, length) => restore(working, *length, &self.path),
            Working::Itself => Ok(()),
        };
        if let Err(error) = restored {
            tracing::warn!(%error, path = %self.path.display(), "could not undo the export");
        }
    }
}

fn restore(working: &Path, length: u64, path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(working)?.set_len(length)?;
    fs::rename(working, path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_when_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chain.rlp");
        let mut file = ExportFile::create(&path, false).unwrap();
        file.write(b"one").unwrap();
        assert_eq!(names(directory.path()), ["chain.rlp.partial"]);
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");

        let mut file = ExportFile::create(&path, false).unwrap();
        file.write(b"two").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"one", "an export that failed changes nothing");
        assert_eq!(names(directory.path()), ["chain.rlp"]);
    }

    #[test]
    fn what_is_appended_to_is_kept_and_a_stopped_append_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["chain.rlp", "chain.rlp.gz"] {
            let path = directory.path().join(name);
            for text in [b"one", b"two"] {
                let mut file = ExportFile::create(&path, true).unwrap();
                file.write(text).unwrap();
                file.finish().unwrap();
            }
            let whole = fs::read(&path).unwrap();
            assert!(name == "chain.rlp.gz" || whole == b"onetwo");
            let mut file = ExportFile::create(&path, true).unwrap();
            file.write(&vec![7; 3 * BUFFER]).unwrap();
            assert!(!path.exists());
            let again = ExportFile::create(&path, true).err().unwrap().to_string();
            assert!(again.contains("was stopped while it appended"), "{again}");
            drop(file);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn a_device_is_written_as_it_is() {
        let mut file = ExportFile::create(Path::new("/dev/null"), false).unwrap();
        file.write(b"one").unwrap();
        file.finish().unwrap();
        assert!(!Path::new("/dev/null").is_file() && Path::new("/dev/null").exists());
    }
}
