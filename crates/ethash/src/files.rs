//! Caches and datasets on disk.
//!
//! A file holds a header of [`HEADER_BYTES`] and the items, all little-endian. Its checksum covers both, so a
//! damaged file is told from a good one; a file appears under its name only when it is whole.

use crate::cache::Cache;
use crate::dataset::Dataset;
use crate::epoch::Epoch;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

const MAGIC: [u8; 8] = *b"QTETHASH";
const VERSION: u32 = 1;
/// Magic, version, kind, epoch length, epoch, items, checksum, zeros.
const HEADER_BYTES: usize = 64;
/// Where the checksum is in the header.
const CHECKSUM_AT: usize = 40;
/// Bytes read at once: what the processor's cache holds until the checksum is taken.
const CHUNK: usize = 1 << 18;

/// What is wrong with a file, or with the folder.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what its name says: another version or epoch, cut short, or damaged.
    #[error("{path}: {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not match.
        reason: &'static str,
    },
}

/// What is kept on disk, one for each epoch.
pub(crate) trait Stored: Sized {
    /// The first part of the file's name.
    const KIND: &'static str;
    /// The kind in the header.
    const CODE: u32;
    /// How many items an epoch has.
    fn count(epoch: Epoch) -> u32;
    fn epoch(&self) -> Epoch;
    fn bytes(&self) -> &[u8];
    /// One of zeros, to be read into; `None` where there is no memory for it.
    fn blank(epoch: Epoch) -> Option<Self>;
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl Stored for Cache {
    const KIND: &'static str = "cache";
    const CODE: u32 = 1;

    fn count(epoch: Epoch) -> u32 {
        epoch.cache_items()
    }

    fn epoch(&self) -> Epoch {
        self.epoch()
    }

    fn bytes(&self) -> &[u8] {
        self.bytes()
    }

    fn blank(epoch: Epoch) -> Option<Self> {
        Some(Self::blank(epoch))
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory_mut().bytes_mut()
    }
}

impl Stored for Dataset {
    const KIND: &'static str = "full";
    const CODE: u32 = 2;

    fn count(epoch: Epoch) -> u32 {
        epoch.dataset_items()
    }

    fn epoch(&self) -> Epoch {
        self.epoch()
    }

    fn bytes(&self) -> &[u8] {
        self.bytes()
    }

    fn blank(epoch: Epoch) -> Option<Self> {
        Self::blank(epoch)
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory_mut().bytes_mut()
    }
}

/// A folder of caches and datasets.
#[derive(Clone, Debug)]
pub struct FileStore {
    folder: PathBuf,
}

impl FileStore {
    /// Keeps files in this folder, which is made at the first write.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where an epoch's cache is, or would be.
    pub fn cache_path(&self, epoch: Epoch) -> PathBuf {
        self.path::<Cache>(epoch)
    }

    /// Where an epoch's dataset is, or would be.
    pub fn dataset_path(&self, epoch: Epoch) -> PathBuf {
        self.path::<Dataset>(epoch)
    }

    /// Reads an epoch's cache; `None` if there is no file.
    ///
    /// # Errors
    /// [`FileError`]; the caller computes the cache anew.
    pub fn read_cache(&self, epoch: Epoch) -> Result<Option<Cache>, FileError> {
        self.read(epoch)
    }

    /// Reads an epoch's dataset; `None` if there is no file.
    ///
    /// # Errors
    /// [`FileError`]; the caller computes the dataset anew.
    pub fn read_dataset(&self, epoch: Epoch) -> Result<Option<Dataset>, FileError> {
        self.read(epoch)
    }

    /// Writes a cache.
    ///
    /// # Errors
    /// When the folder or file cannot be written.
    pub fn write_cache(&self, cache: &Cache) -> Result<(), FileError> {
        self.write(cache)
    }

    /// Writes a dataset.
    ///
    /// # Errors
    /// When the folder or file cannot be written.
    pub fn write_dataset(&self, dataset: &Dataset) -> Result<(), FileError> {
        self.write(dataset)
    }

    fn path<T: Stored>(&self, epoch: Epoch) -> PathBuf {
        self.folder.join(format!("{}-v{VERSION}-{}-{:04}", T::KIND, epoch.length(), epoch.index()))
    }

    pub(crate) fn read<T: Stored>(&self, epoch: Epoch) -> Result<Option<T>, FileError> {
        let path = self.path::<T>(epoch);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FileError::Io { path, source }),
        };
        match read_from::<T>(&mut file, epoch) {
            Ok(Ok(read)) => Ok(Some(read)),
            Ok(Err(reason)) => Err(FileError::Damaged { path, reason }),
            Err(source) => Err(FileError::Io { path, source }),
        }
    }

    pub(crate) fn write<T: Stored>(&self, data: &T) -> Result<(), FileError> {
        static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
        let path = self.path::<T>(data.epoch());
        let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_extension(format!("{}-{attempt}.tmp", process::id()));
        let written = fs::create_dir_all(&self.folder)
            .and_then(|()| File::create(&partial))
            .and_then(|mut file| write_to(&mut file, data))
            .and_then(|()| fs::rename(&partial, &path));
        written.map_err(|source| {
            // What went wrong first is what is told.
            let _ = fs::remove_file(&partial);
            FileError::Io { path, source }
        })
    }

    /// Deletes files of epochs that ended `keep` epochs before this one or earlier, as geth does, and what
    /// writers that died left behind.
    pub(crate) fn prune<T: Stored>(&self, epoch: Epoch, keep: usize) -> Result<(), FileError> {
        let failed = |source| FileError::Io { path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(failed(source)),
        };
        let oldest = (epoch.index() + 1).saturating_sub(keep as u64).saturating_mul(epoch.length());
        for path in entries.flatten().map(|entry| entry.path()) {
            let old = path.file_name().and_then(first_block::<T>).is_some_and(|first| first < oldest);
            if old || is_abandoned::<T>(&path) {
                fs::remove_file(&path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// The first block of the epoch whose file has this name.
fn first_block<T: Stored>(name: &OsStr) -> Option<u64> {
    let rest = name.to_str()?.strip_prefix(T::KIND)?.strip_prefix("-v")?;
    let (_, epoch) = rest.split_once('-')?;
    let (length, index) = epoch.split_once('-')?;
    length.parse::<u64>().ok()?.checked_mul(index.parse().ok()?)
}

/// Whether this is the unfinished file of an earlier process. (Two that run do not share a folder; if they did,
/// one would fail to write, and go on without the file.)
fn is_abandoned<T: Stored>(path: &Path) -> bool {
    let ours = format!("{}-", process::id());
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let writer = name.strip_suffix(".tmp").and_then(|name| name.rsplit_once('.'));
    name.starts_with(T::KIND) && writer.is_some_and(|(_, writer)| !writer.starts_with(&ours))
}

fn header<T: Stored>(epoch: Epoch) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let fields = MAGIC
        .into_iter()
        .chain(VERSION.to_le_bytes())
        .chain(T::CODE.to_le_bytes())
        .chain(epoch.length().to_le_bytes())
        .chain(epoch.index().to_le_bytes())
        .chain(u64::from(T::count(epoch)).to_le_bytes());
    for (byte, value) in header.iter_mut().zip(fields) {
        *byte = value;
    }
    header
}

fn write_to<T: Stored>(file: &mut File, data: &T) -> io::Result<()> {
    let mut header = header::<T>(data.epoch());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&header);
    checksum.update(data.bytes());
    if let Some(place) = header.get_mut(CHECKSUM_AT..CHECKSUM_AT + 4) {
        place.copy_from_slice(&checksum.finalize().to_le_bytes());
    }
    file.write_all(&header)?;
    file.write_all(data.bytes())?;
    file.sync_all()
}

/// The inner error says what is wrong with the file's contents.
fn read_from<T: Stored>(file: &mut File, epoch: Epoch) -> io::Result<Result<T, &'static str>> {
    let length = HEADER_BYTES as u64 + u64::from(T::count(epoch)) * 64;
    if file.metadata()?.len() != length {
        return Ok(Err("wrong length"));
    }
    let mut found = [0; HEADER_BYTES];
    file.read_exact(&mut found)?;
    let mut sum = [0; 4];
    if let Some(place) = found.get_mut(CHECKSUM_AT..CHECKSUM_AT + 4) {
        sum.copy_from_slice(place);
        place.fill(0);
    }
    if found != header::<T>(epoch) {
        return Ok(Err("not the header of its epoch"));
    }
    let mut read = T::blank(epoch).ok_or(io::ErrorKind::OutOfMemory)?;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&found);
    for part in read.bytes_mut().chunks_mut(CHUNK) {
        file.read_exact(part)?;
        checksum.update(part);
    }
    Ok(if checksum.finalize() == u32::from_le_bytes(sum) { Ok(read) } else { Err("wrong checksum") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// What a file holds is nothing to these tests, so they use a cache that is cheap to make.
    static CACHE: LazyLock<Cache> = LazyLock::new(|| {
        let epoch = Epoch::of_block(0).unwrap();
        let mut cache = Cache::blank(epoch);
        for (number, word) in (0u32..).zip(cache.memory_mut().bytes_mut().as_chunks_mut().0) {
            *word = number.to_le_bytes();
        }
        cache
    });

    fn stored() -> (tempfile::TempDir, FileStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::new(folder.path().join("ethash"));
        store.write_cache(&CACHE).unwrap();
        (folder, store)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_folder, store) = stored();
        let read = store.read_cache(CACHE.epoch()).unwrap().unwrap();
        assert!(read.bytes() == CACHE.bytes());
        assert!(store.read_cache(CACHE.epoch().next().unwrap()).unwrap().is_none());
        assert!(store.read_dataset(CACHE.epoch()).unwrap().is_none());
        let names = fs::read_dir(store.folder).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["cache-v1-30000-0000"]);
    }

    #[test]
    fn another_epochs_file_is_refused() {
        let (_folder, store) = stored();
        let epoch = CACHE.epoch();
        let other = FileStore::new(store.folder.join("other"));
        fs::create_dir_all(&other.folder).unwrap();
        fs::copy(store.cache_path(epoch), other.cache_path(epoch.next().unwrap())).unwrap();
        let error = other.read_cache(epoch.next().unwrap()).unwrap_err();
        assert!(matches!(error, FileError::Damaged { reason: "wrong length", .. }), "{error}");
    }

    #[test]
    fn old_files_and_abandoned_ones_are_deleted() {
        let (_folder, store) = stored();
        let kept = ["cache-v1-30000-0001", "full-v1-30000-0000", "cache-x", "full-v1-30000-0000.0-1.tmp"];
        for name in kept.into_iter().chain(["cache-v1-30000-0007.0-1.tmp"]) {
            fs::write(store.folder.join(name), b"").unwrap();
        }
        store.prune::<Cache>(Epoch::of_block(90_000).unwrap(), 3).unwrap();
        let names = fs::read_dir(&store.folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        assert_eq!(
            names,
            ["cache-v1-30000-0001", "cache-x", "full-v1-30000-0000", "full-v1-30000-0000.0-1.tmp"]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Any changed byte and any cut is noticed.
        #[test]
        fn damage_is_noticed(place: prop::sample::Index, head: bool, change in 1u8.., cut: bool) {
            let (_folder, store) = stored();
            let path = store.cache_path(CACHE.epoch());
            let mut bytes = fs::read(&path).unwrap();
            let place = place.index(if head { HEADER_BYTES } else { bytes.len() });
            if cut {
                bytes.truncate(place);
            } else {
                bytes[place] ^= change;
            }
            fs::write(&path, bytes).unwrap();
            let noticed = matches!(store.read_cache(CACHE.epoch()), Err(FileError::Damaged { .. }));
            prop_assert!(noticed);
        }
    }
}
