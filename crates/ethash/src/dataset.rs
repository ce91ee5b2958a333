//! The dataset of an epoch: a gigabyte and more that a miner reads at random.

use crate::cache::Cache;
use crate::epoch::Epoch;
use crate::error::DatasetError;
use crate::memory::{Memory, NO_ROW, Row};
use crate::mix::{Item, Modulus};
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Items computed side by side; see [`Cache::dataset_items`].
const BATCH: usize = 16;
/// Items between two looks at whether to stop.
const CHUNK: usize = 1 << 14;

/// An epoch's dataset.
#[derive(Debug)]
pub struct Dataset {
    epoch: Epoch,
    memory: Memory,
    pages: Modulus,
}

impl Dataset {
    /// Computes the dataset of a cache's epoch on the threads of the rayon pool that it is called from: a
    /// minute or more of processor time. `progress` hears the items done and all of them, from any of the
    /// threads; once `stop` is set the work ends.
    ///
    /// # Errors
    /// [`DatasetError::Stopped`] and [`DatasetError::OutOfMemory`].
    pub fn generate(
        cache: &Cache,
        progress: &(dyn Fn(u64, u64) + Sync),
        stop: &AtomicBool,
    ) -> Result<Self, DatasetError> {
        let epoch = cache.epoch();
        let out_of_memory = DatasetError::OutOfMemory { bytes: epoch.dataset_size() };
        let mut dataset = Self::blank(epoch).ok_or(out_of_memory)?;
        fill(cache, dataset.memory.rows_mut(), progress, stop)?;
        Ok(dataset)
    }

    /// A dataset yet to be filled; `None` if there is no memory for it.
    pub(crate) fn blank(epoch: Epoch) -> Option<Self> {
        Some(Self { epoch, memory: Memory::try_zeroed(epoch.dataset_items())?, pages: pages(epoch) })
    }

    /// The epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }

    pub(crate) const fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// The page that a number chooses.
    #[inline]
    pub(crate) fn page(&self, number: u32) -> &[Row; 2] {
        static NO_PAGE: [Row; 2] = [NO_ROW; 2];
        self.memory.pages().get(self.pages.of(number)).unwrap_or(&NO_PAGE)
    }
}

/// How a number becomes that of a page.
pub(crate) fn pages(epoch: Epoch) -> Modulus {
    Modulus::new(epoch.dataset_items() / 2)
}

/// Fills the first rows of a dataset.
fn fill(
    cache: &Cache,
    rows: &mut [Row],
    progress: &(dyn Fn(u64, u64) + Sync),
    stop: &AtomicBool,
) -> Result<(), DatasetError> {
    let total = rows.len() as u64;
    let done = AtomicU64::new(0);
    rows.par_chunks_mut(CHUNK).enumerate().try_for_each(|(chunk, rows)| {
        if stop.load(Ordering::Relaxed) {
            return Err(DatasetError::Stopped);
        }
        // The numbers of items are below 2^29.
        let first = u32::try_from(chunk * CHUNK).unwrap_or(u32::MAX);
        fill_chunk(cache, first, rows);
        let count = rows.len() as u64;
        progress(done.fetch_add(count, Ordering::Relaxed).saturating_add(count), total);
        Ok(())
    })
}

fn fill_chunk(cache: &Cache, first: u32, rows: &mut [Row]) {
    let mut numbers = first..;
    let mut next = || numbers.next().unwrap_or_default();
    let (batches, rest) = rows.as_chunks_mut::<BATCH>();
    for batch in batches {
        *batch = cache.dataset_items([(); BATCH].map(|()| next())).map(Item::to_bytes);
    }
    for row in rest {
        [*row] = cache.dataset_items([next()]).map(Item::to_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn items(cache: &Cache, count: usize) -> Vec<Row> {
        let mut rows = vec![NO_ROW; count];
        fill(cache, &mut rows, &|_, _| (), &AtomicBool::new(false)).unwrap();
        rows
    }

    /// However they are batched, items are the same. The expected one follows the specification's text.
    #[test]
    fn items_do_not_depend_on_their_batch() {
        let cache = Cache::generate(Epoch::of_block(0).unwrap());
        let rows = items(&cache, BATCH * 2 + 3);
        for (number, row) in (0..).zip(&rows) {
            let [item] = cache.dataset_items([number]);
            assert_eq!(item, Item::from_bytes(row), "{number}");
        }
        let words = cache.items();
        let mut mix = words[7];
        mix.0[0] ^= 7;
        mix = crate::keccak::keccak512(&mix);
        for parent in 0..256u32 {
            let chosen = (7 ^ parent).wrapping_mul(0x0100_0193) ^ mix.0[parent as usize % 16];
            let chosen = words[chosen as usize % words.len()];
            for (word, other) in mix.0.iter_mut().zip(chosen.0) {
                *word = word.wrapping_mul(0x0100_0193) ^ other;
            }
        }
        assert_eq!(crate::keccak::keccak512(&mix).to_bytes(), rows[7]);
    }

    #[test]
    fn the_work_tells_how_far_it_is_and_stops() {
        let cache = Cache::blank(Epoch::of_block(0).unwrap());
        let mut rows = vec![NO_ROW; CHUNK + 5];
        let heard = Mutex::new(Vec::new());
        let stop = AtomicBool::new(false);
        fill(&cache, &mut rows, &|done, total| heard.lock().unwrap().push((done, total)), &stop).unwrap();
        let mut heard = heard.into_inner().unwrap();
        heard.sort_unstable();
        let total = rows.len() as u64;
        assert_eq!(heard.len(), 2);
        assert_eq!(heard.last(), Some(&(total, total)));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(fill(&cache, &mut rows, &|_, _| (), &stop), Err(DatasetError::Stopped));
        assert_eq!(Dataset::generate(&cache, &|_, _| (), &stop).unwrap_err(), DatasetError::Stopped);
    }
}
