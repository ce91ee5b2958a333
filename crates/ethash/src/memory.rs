//! Where caches and datasets lie. They are read at random, so the memory is asked for in large pages: with
//! small ones nearly every read would wait for the address first.

use memmap2::MmapMut;

/// An item as it lies in memory, its words little-endian.
pub(crate) type Row = [u8; 64];
/// What a read beyond the end gives. There are none: every index is a remainder by the number of rows.
pub(crate) static NO_ROW: Row = [0; 64];

/// Rows of items.
#[derive(Debug)]
pub(crate) struct Memory(Kind);

#[derive(Debug)]
enum Kind {
    Pages(MmapMut),
    Heap(Vec<u8>),
}

impl Memory {
    /// So many rows of zeros; `None` where there is no memory for them.
    pub(crate) fn try_zeroed(rows: u32) -> Option<Self> {
        let bytes = usize::try_from(u64::from(rows) * 64).ok()?;
        let pages = MmapMut::map_anon(bytes).ok()?;
        // Where the system has no large pages, small ones do.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Some(Self(Kind::Pages(pages)))
    }

    /// So many rows of zeros.
    pub(crate) fn zeroed(rows: u32) -> Self {
        Self::try_zeroed(rows).unwrap_or_else(|| Self(Kind::Heap(vec![0; rows as usize * 64])))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kind::Pages(pages) => pages,
            Kind::Heap(heap) => heap,
        }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Kind::Pages(pages) => pages,
            Kind::Heap(heap) => heap,
        }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        self.bytes().as_chunks().0
    }

    pub(crate) fn rows_mut(&mut self) -> &mut [Row] {
        self.bytes_mut().as_chunks_mut().0
    }

    /// Two rows that a hash reads together.
    pub(crate) fn pages(&self) -> &[[Row; 2]] {
        self.rows().as_chunks().0
    }
}

/// Begins to load rows before they are needed, by reading a byte of each: the processor then waits for all of
/// them at once. The caller passes what it gets to [`std::hint::black_box`], so that the reads stay.
#[inline]
pub(crate) fn touch(row: &Row) -> u8 {
    let [first, ..] = row;
    *first
}
