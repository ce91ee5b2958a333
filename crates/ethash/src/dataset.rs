//! The dataset of an epoch: a gigabyte and more that a miner reads at random.

use crate::cache::Cache;
use crate::epoch::Epoch;
use crate::error::DatasetError;
use crate::mix::{Item, Modulus};
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Items computed side by side; see [`Cache::dataset_items`].
const BATCH: usize = 8;
/// Items between two looks at whether to stop.
const CHUNK: usize = 1 << 14;

/// An epoch's dataset.
#[derive(Clone, Debug)]
pub struct Dataset {
    epoch: Epoch,
    items: Vec<Item>,
    pages: Modulus,
}

impl Dataset {
    /// Computes the dataset of a cache's epoch on the threads of the rayon pool that it is called from:
    /// minutes of processor time, and more memory than [`Epoch::dataset_size`] says. `progress` hears the
    /// items done and all of them, from any of the threads; once `stop` is set the work ends.
    ///
    /// # Errors
    /// [`DatasetError::Stopped`] and [`DatasetError::OutOfMemory`].
    pub fn generate(
        cache: &Cache,
        progress: &(dyn Fn(u64, u64) + Sync),
        stop: &AtomicBool,
    ) -> Result<Self, DatasetError> {
        let epoch = cache.epoch();
        let count = epoch.dataset_items() as usize;
        let mut items = Vec::new();
        let out_of_memory = DatasetError::OutOfMemory { bytes: epoch.dataset_size() };
        items.try_reserve_exact(count).map_err(|_| out_of_memory)?;
        items.resize(count, Item::ZERO);
        fill(cache, &mut items, progress, stop)?;
        Ok(Self { epoch, items, pages: pages(epoch) })
    }

    /// The dataset of these items; `None` if they are too many or too few.
    pub(crate) fn from_items(epoch: Epoch, items: Vec<Item>) -> Option<Self> {
        (items.len() == epoch.dataset_items() as usize).then(|| Self { epoch, items, pages: pages(epoch) })
    }

    /// The epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its items.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The page that a number chooses.
    #[inline]
    pub(crate) fn page(&self, number: u32) -> &[Item; 2] {
        // Always there: the modulus is the number of pages.
        self.items.as_chunks().0.get(self.pages.of(number)).unwrap_or(&[Item::ZERO; 2])
    }
}

/// How a number becomes that of a page.
pub(crate) fn pages(epoch: Epoch) -> Modulus {
    Modulus::new(epoch.dataset_items() / 2)
}

/// Fills the first items of a dataset.
fn fill(
    cache: &Cache,
    items: &mut [Item],
    progress: &(dyn Fn(u64, u64) + Sync),
    stop: &AtomicBool,
) -> Result<(), DatasetError> {
    let total = items.len() as u64;
    let done = AtomicU64::new(0);
    items.par_chunks_mut(CHUNK).enumerate().try_for_each(|(chunk, items)| {
        if stop.load(Ordering::Relaxed) {
            return Err(DatasetError::Stopped);
        }
        // The numbers of items are below 2^29.
        let first = u32::try_from(chunk * CHUNK).unwrap_or(u32::MAX);
        fill_chunk(cache, first, items);
        let chunk = items.len() as u64;
        progress(done.fetch_add(chunk, Ordering::Relaxed).saturating_add(chunk), total);
        Ok(())
    })
}

fn fill_chunk(cache: &Cache, first: u32, items: &mut [Item]) {
    let (batches, rest) = items.as_chunks_mut::<BATCH>();
    let mut numbers = (first..).step_by(BATCH);
    for (batch, number) in batches.iter_mut().zip(&mut numbers) {
        *batch = cache.dataset_items(number);
    }
    for (item, number) in rest.iter_mut().zip(numbers.next().unwrap_or_default()..) {
        [*item] = cache.dataset_items(number);
    }
}
