//! Caches and datasets by epoch: the last few in memory and on disk, each made once however many ask, and
//! the next one made ahead.

use crate::cache::Cache;
use crate::dataset::Dataset;
use crate::epoch::Epoch;
use crate::error::DatasetError;
use crate::files::{FileError, FileStore, Stored};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The part of an epoch that is left when the next epoch's cache is made ahead.
const AHEAD: u64 = 5;

/// How many are kept, in memory and on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In memory; at least one is.
    pub in_memory: usize,
    /// On disk; none are written if zero.
    pub on_disk: usize,
}

impl Limits {
    /// geth's for caches: `--ethash.cachesinmem`, `--ethash.cachesondisk`.
    pub const CACHES: Self = Self { in_memory: 2, on_disk: 3 };
    /// geth's for datasets: `--ethash.dagsinmem`, `--ethash.dagsondisk`.
    pub const DATASETS: Self = Self { in_memory: 1, on_disk: 2 };
}

/// One epoch's place: whoever locks it first makes what belongs there, the others wait.
type Slot<T> = Arc<Mutex<Option<Arc<T>>>>;

/// The last few of one kind.
#[derive(Debug)]
struct Kept<T> {
    limits: Limits,
    files: Option<FileStore>,
    /// The last used at the end.
    slots: Mutex<Vec<(Epoch, Slot<T>)>>,
}

impl<T: Stored> Kept<T> {
    fn new(folder: Option<PathBuf>, limits: Limits) -> Self {
        let files = folder.filter(|_| limits.on_disk > 0).map(FileStore::new);
        Self { limits, files, slots: Mutex::new(Vec::new()) }
    }

    /// An epoch's, from memory, from disk, or made.
    fn get<E>(&self, epoch: Epoch, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let slot = self.slot(epoch);
        let mut place = slot.lock();
        if let Some(found) = place.as_ref() {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(if let Some(read) = self.read(epoch) {
            read
        } else {
            let made = make()?;
            self.write(&made);
            made
        });
        *place = Some(Arc::clone(&found));
        Ok(found)
    }

    fn slot(&self, epoch: Epoch) -> Slot<T> {
        let mut slots = self.slots.lock();
        let found = slots.iter().position(|(kept, _)| *kept == epoch);
        let entry = found.map_or_else(|| (epoch, Slot::default()), |at| slots.remove(at));
        let slot = Arc::clone(&entry.1);
        slots.push(entry);
        let surplus = slots.len().saturating_sub(self.limits.in_memory.max(1));
        slots.drain(..surplus);
        slot
    }

    fn holds(&self, epoch: Epoch) -> bool {
        self.slots.lock().iter().any(|(kept, _)| *kept == epoch)
    }

    /// A file that cannot be read is as good as none.
    fn read(&self, epoch: Epoch) -> Option<T> {
        self.files.as_ref()?.read(epoch).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read a file of ethash, computing it anew");
            None
        })
    }

    /// What cannot be written has to be computed again after a restart, and nothing worse.
    fn write(&self, made: &T) {
        let Some(files) = &self.files else { return };
        let written = files.write(made).and_then(|()| files.prune::<T>(made.epoch(), self.limits.on_disk));
        written.unwrap_or_else(|error: FileError| tracing::warn!(%error, "cannot store a file of ethash"));
    }
}

/// The caches that seals are checked with.
#[derive(Clone, Debug)]
pub struct EpochCaches {
    kept: Arc<Kept<Cache>>,
    /// Whether one is being made ahead.
    busy: Arc<AtomicBool>,
}

impl EpochCaches {
    /// Keeps this many in memory, and on disk in this folder if there is one.
    pub fn new(folder: Option<PathBuf>, limits: Limits) -> Self {
        Self { kept: Arc::new(Kept::new(folder, limits)), busy: Arc::default() }
    }

    /// An epoch's cache. If it is not there it is made on this thread, which takes from half a second to
    /// seconds; others who ask meanwhile wait.
    pub fn get(&self, epoch: Epoch) -> Arc<Cache> {
        let made = self.kept.get(epoch, || Ok::<_, std::convert::Infallible>(Cache::generate(epoch)));
        match made {
            Ok(cache) => cache,
            Err(never) => match never {},
        }
    }

    /// The cache of a block's epoch. When the epoch nears its end, the next epoch's cache is made ahead on a
    /// thread of its own, one at a time.
    pub fn at_block(&self, epoch: Epoch, number: u64) -> Arc<Cache> {
        let cache = self.get(epoch);
        let passed = number.saturating_sub(epoch.first_block());
        if passed >= epoch.length() - epoch.length() / AHEAD
            && let Some(next) = epoch.next()
        {
            self.prepare(next);
        }
        cache
    }

    /// Makes an epoch's cache on a thread of its own, unless it is there or another one is being made so.
    pub fn prepare(&self, epoch: Epoch) {
        // Another place in memory would push out the one that is in use.
        if self.kept.limits.in_memory < 2 || self.kept.holds(epoch) || self.busy.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let caches = self.clone();
        let work = move || {
            caches.get(epoch);
            caches.busy.store(false, Ordering::Release);
        };
        if thread::Builder::new().name("ethash-cache".to_owned()).spawn(work).is_err() {
            // Without a thread the cache is made when it is needed.
            self.busy.store(false, Ordering::Release);
        }
    }
}

/// The datasets that a miner searches in.
#[derive(Clone, Debug)]
pub struct EpochDatasets {
    kept: Arc<Kept<Dataset>>,
    caches: EpochCaches,
}

impl EpochDatasets {
    /// Keeps this many in memory, and on disk in this folder if there is one; `caches` is what they are made
    /// from.
    pub fn new(folder: Option<PathBuf>, limits: Limits, caches: EpochCaches) -> Self {
        Self { kept: Arc::new(Kept::new(folder, limits)), caches }
    }

    /// An epoch's dataset. If it is not there it is read, or made on the rayon pool that this is called from
    /// (see [`Dataset::generate`]); others who ask meanwhile wait.
    ///
    /// # Errors
    /// [`DatasetError`], and the next who asks tries again.
    pub fn get(
        &self,
        epoch: Epoch,
        progress: &(dyn Fn(u64, u64) + Sync),
        stop: &AtomicBool,
    ) -> Result<Arc<Dataset>, DatasetError> {
        self.kept.get(epoch, || Dataset::generate(&self.caches.get(epoch), progress, stop))
    }

    /// An epoch's dataset if it is in memory already, without waiting.
    pub fn ready(&self, epoch: Epoch) -> Option<Arc<Dataset>> {
        let slots = self.kept.slots.lock();
        let (_, slot) = slots.iter().find(|(kept, _)| *kept == epoch)?;
        slot.try_lock().and_then(|place| place.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use std::convert::Infallible;
    use std::fs;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;
    use std::time::{Duration, Instant};

    /// Four rows, whatever the epoch.
    #[derive(Debug)]
    struct Small(Epoch, Memory);

    impl Stored for Small {
        const KIND: &'static str = "small";
        const CODE: u32 = 3;

        fn count(_: Epoch) -> u32 {
            4
        }

        fn epoch(&self) -> Epoch {
            self.0
        }

        fn bytes(&self) -> &[u8] {
            self.1.bytes()
        }

        fn blank(epoch: Epoch) -> Option<Self> {
            Some(Self(epoch, Memory::zeroed(4)))
        }

        fn bytes_mut(&mut self) -> &mut [u8] {
            self.1.bytes_mut()
        }
    }

    fn epoch(index: u64) -> Epoch {
        Epoch::of_block(index * crate::EPOCH_LENGTH).unwrap()
    }

    /// The epoch's, and whether it had to be made.
    fn get(kept: &Kept<Small>, index: u64) -> (Arc<Small>, bool) {
        let mut made = false;
        let small = kept.get(epoch(index), || {
            made = true;
            let mut small = Small::blank(epoch(index)).unwrap();
            small.bytes_mut().fill(7);
            Ok::<_, Infallible>(small)
        });
        (small.unwrap(), made)
    }

    #[test]
    fn the_last_used_stay_in_memory() {
        let kept = Kept::new(None, Limits { in_memory: 2, on_disk: 3 });
        assert!(get(&kept, 0).1 && get(&kept, 1).1);
        assert!(!get(&kept, 0).1);
        assert!(get(&kept, 2).1);
        assert!(!get(&kept, 0).1 && get(&kept, 1).1);
    }

    #[test]
    fn the_last_epochs_stay_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { in_memory: 1, on_disk: 2 };
        let kept = || Kept::new(Some(folder.path().to_owned()), limits);
        for index in 0..4 {
            assert!(get(&kept(), index).1);
        }
        let (read, made) = get(&kept(), 3);
        assert!(!made && read.bytes() == [7; 256]);
        assert!(!get(&kept(), 2).1 && get(&kept(), 1).1);
        assert!(get(&Kept::new(None, limits), 3).1);
    }

    #[test]
    fn a_damaged_file_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let kept = || Kept::new(Some(folder.path().to_owned()), Limits::CACHES);
        get(&kept(), 5);
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        fs::write(&path, b"nonsense").unwrap();
        assert!(get(&kept(), 5).1);
        assert!(!get(&kept(), 5).1);
    }

    #[test]
    fn a_folder_that_cannot_be_written_does_no_harm() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let kept = Kept::new(Some(file.path().join("folder")), Limits::CACHES);
        assert!(get(&kept, 0).1 && !get(&kept, 0).1);
    }

    #[test]
    fn many_who_ask_at_once_get_one() {
        let kept = Kept::<Small>::new(None, Limits::CACHES);
        let (made, start) = (AtomicU32::new(0), Barrier::new(4));
        let ask = || {
            start.wait();
            let make = || {
                made.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
                Ok::<_, Infallible>(Small::blank(epoch(0)).unwrap())
            };
            kept.get(epoch(0), make).unwrap()
        };
        let found: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.into_inner(), 1);
        assert!(found.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
    }

    #[test]
    fn who_was_refused_may_ask_again() {
        let kept = Kept::<Small>::new(None, Limits::DATASETS);
        let stopped = kept.get(epoch(0), || Err(DatasetError::Stopped));
        assert_eq!(stopped.unwrap_err(), DatasetError::Stopped);
        assert!(get(&kept, 0).1);
    }

    /// The files of both epochs are there beforehand, so that nothing is computed.
    #[test]
    fn the_next_epoch_is_prepared_near_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let files = FileStore::new(folder.path());
        for index in [0, 1] {
            files.write_cache(&Cache::blank(epoch(index))).unwrap();
        }
        let caches = EpochCaches::new(Some(folder.path().to_owned()), Limits::CACHES);
        caches.at_block(epoch(0), 23_999);
        assert!(!caches.kept.holds(epoch(1)) && !caches.busy.load(Ordering::Acquire));
        assert_eq!(caches.at_block(epoch(0), 24_000).epoch(), epoch(0));
        let end = Instant::now() + Duration::from_secs(30);
        while !caches.kept.holds(epoch(1)) || caches.busy.load(Ordering::Acquire) {
            assert!(Instant::now() < end);
            thread::sleep(Duration::from_millis(5));
        }
        let datasets = EpochDatasets::new(None, Limits::DATASETS, caches);
        assert!(datasets.ready(epoch(0)).is_none());
    }
}
