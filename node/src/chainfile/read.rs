//! Reads a file of blocks one block at a time: no more than one is in memory, whatever the file claims to hold.

use alloy_rlp::Decodable as _;
use flate2::bufread::MultiGzDecoder;
use quintet_types::Block;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest block that is read, in bytes: several times what any network's gas limit allows.
pub(crate) const MAX_BLOCK: u64 = 64 << 20;
/// Bytes read from the file at once.
const BUFFER: usize = 256 << 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// First byte of the empty RLP list; what is lower begins a string.
const LIST: u8 = 0xc0;
/// First byte of an RLP list whose length's bytes follow.
const LONG_LIST: u8 = 0xf7;
/// Bytes before an RLP list's content, at most.
const MAX_PREFIX: usize = 9;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    path: Arc<Path>,
    offset: u64,
    unpacked: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unpacked = if self.unpacked { " of its unpacked content" } else { "" };
        write!(f, "{}, byte {}{unpacked}", self.path.display(), self.offset)
    }
}

/// A file that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainFileError {
    /// It cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Named as if it were packed, and is not.
    #[error("{} is named .gz, but is not a gzip file", .0.display())]
    NotGzip(PathBuf),
    /// It cannot be read on: the disk fails, or what gzip packed is damaged or cut off.
    #[error("{place}: cannot read on: {source}")]
    Read {
        /// Where the block begins that could not be read.
        place: Place,
        /// Why.
        source: io::Error,
    },
    /// It ends in the middle of a block.
    #[error("{place}: the file is truncated: {have} of the block's {want} bytes are there")]
    Truncated {
        /// Where the block begins.
        place: Place,
        /// Bytes that are there.
        have: u64,
        /// Bytes of the block.
        want: u64,
    },
    /// What follows is not a block.
    #[error("{place}: not a block: {reason}")]
    NotABlock {
        /// Where it begins.
        place: Place,
        /// What is wrong.
        reason: String,
    },
}

/// The bytes of one block, and where they were.
#[derive(Clone, Debug)]
pub(crate) struct RawBlock {
    /// Where it begins.
    pub place: Place,
    /// Its RLP.
    pub rlp: Vec<u8>,
}

impl RawBlock {
    /// Decodes it.
    ///
    /// # Errors
    /// When the bytes are no block.
    pub(crate) fn decode(&self) -> Result<Block, ChainFileError> {
        let mut rest = self.rlp.as_slice();
        let not_a_block = |reason| ChainFileError::NotABlock { place: self.place.clone(), reason };
        let block = Block::decode(&mut rest).map_err(|error| not_a_block(error.to_string()))?;
        if rest.is_empty() { Ok(block) } else { Err(not_a_block("bytes after its end".to_owned())) }
    }
}

/// A file of blocks, open for reading.
pub(crate) struct ChainFile {
    path: Arc<Path>,
    input: Box<dyn BufRead + Send>,
    unpacked: bool,
    /// Where the next block begins, in the unpacked content.
    offset: u64,
}

impl ChainFile {
    /// Opens a file; whether gzip packed it is seen from its first bytes. What is read of it is added to `read`.
    ///
    /// # Errors
    /// When it cannot be opened, or is named `.gz` and is something else.
    pub(crate) fn open(path: &Path, read: &Arc<AtomicU64>) -> Result<Self, ChainFileError> {
        let failed = |source| ChainFileError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mut input = BufReader::with_capacity(BUFFER, Counting { file, read: Arc::clone(read) });
        let packed = input.fill_buf().map_err(failed)?.starts_with(&GZIP_MAGIC);
        if !packed && path.extension().is_some_and(|extension| extension == "gz") {
            return Err(ChainFileError::NotGzip(path.to_owned()));
        }
        let input: Box<dyn BufRead + Send> = if packed {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(input)))
        } else {
            Box::new(input)
        };
        Ok(Self { path: path.into(), input, unpacked: packed, offset: 0 })
    }

    /// The next block; `None` at the end of the file.
    ///
    /// # Errors
    /// When the file ends in the middle of a block, holds something else, or cannot be read. Nothing can be read
    /// after that.
    pub(crate) fn next_block(&mut self) -> Result<Option<RawBlock>, ChainFileError> {
        let mut rlp = Vec::with_capacity(MAX_PREFIX);
        if self.append(&mut rlp, 1)? == 0 {
            return Ok(None);
        }
        let first = rlp.first().copied().unwrap_or_default();
        if first < LIST {
            return Err(self.not_a_block(format!("it begins with {first:#04x}, not with a list")));
        }
        let length = if first <= LONG_LIST {
            u64::from(first - LIST)
        } else {
            let bytes = u64::from(first - LONG_LIST);
            if self.append(&mut rlp, bytes)? < bytes {
                return Err(self.truncated(rlp.len() as u64, 1 + bytes));
            }
            rlp.iter().skip(1).fold(0_u64, |length, byte| length << 8 | u64::from(*byte))
        };
        if length > MAX_BLOCK {
            return Err(self.not_a_block(format!("it claims {length} bytes, more than {MAX_BLOCK}")));
        }
        let want = rlp.len() as u64 + length;
        if self.append(&mut rlp, length)? < length {
            return Err(self.truncated(rlp.len() as u64, want));
        }
        let place = self.place();
        self.offset += want;
        Ok(Some(RawBlock { place, rlp }))
    }

    /// Appends this many of the next bytes, or as many as there are, and says how many.
    fn append(&mut self, rlp: &mut Vec<u8>, count: u64) -> Result<u64, ChainFileError> {
        let got = self.input.by_ref().take(count).read_to_end(rlp);
        got.map(|got| got as u64).map_err(|source| ChainFileError::Read { place: self.place(), source })
    }

    fn place(&self) -> Place {
        Place { path: Arc::clone(&self.path), offset: self.offset, unpacked: self.unpacked }
    }

    fn truncated(&self, have: u64, want: u64) -> ChainFileError {
        ChainFileError::Truncated { place: self.place(), have, want }
    }

    fn not_a_block(&self, reason: String) -> ChainFileError {
        ChainFileError::NotABlock { place: self.place(), reason }
    }
}

/// A file that counts what is read from it.
struct Counting {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn block(number: u64) -> Block {
        Block { header: quintet_types::Header { number, ..Default::default() }, ..Default::default() }
    }

    fn chain() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for number in 0..5 {
            bytes.extend(alloy_rlp::encode(block(number)));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The numbers of a file's blocks, and the error after them.
    fn numbers(name: &str, bytes: &[u8]) -> (Vec<u64>, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut found = Vec::new();
        let mut read = || -> Result<(), ChainFileError> {
            let count = Arc::new(AtomicU64::new(0));
            let mut file = ChainFile::open(&path, &count)?;
            while let Some(raw) = file.next_block()? {
                found.push(raw.decode()?.header.number);
            }
            assert_eq!(count.load(Ordering::Relaxed), bytes.len() as u64);
            Ok(())
        };
        let error = read().err().map(|error| error.to_string());
        (found, error)
    }

    #[test]
    fn plain_and_packed_files_are_read() {
        let (bytes, ends) = chain();
        let all = (vec![0, 1, 2, 3, 4], None);
        assert_eq!(numbers("chain.rlp", &bytes), all);
        assert_eq!(numbers("chain.rlp.gz", &gzip(&bytes)), all);
        assert_eq!(numbers("by-its-first-bytes", &gzip(&bytes)), all);
        // geth appends a gzip stream of its own.
        let (first, second) = bytes.split_at(ends[2]);
        assert_eq!(numbers("chain.gz", &[gzip(first), gzip(second)].concat()), all);
        assert_eq!(numbers("empty.rlp", &[]), (vec![], None));
        let (_, error) = numbers("chain.rlp.gz", &bytes);
        assert!(error.unwrap().ends_with("chain.rlp.gz is named .gz, but is not a gzip file"));
    }

    #[test]
    fn a_file_cut_off_anywhere_gives_its_whole_blocks_and_says_where_it_ends() {
        let (bytes, ends) = chain();
        for end in 0..bytes.len() {
            let (found, error) = numbers("chain.rlp", &bytes[..end]);
            let whole = ends.iter().filter(|block| **block <= end).count();
            assert_eq!(found.len(), whole, "{end}");
            let begin = if whole == 0 { 0 } else { ends[whole - 1] };
            match error {
                None => assert_eq!(end, begin),
                Some(error) => {
                    assert!(error.contains(&format!("chain.rlp, byte {begin}: ")), "{error}");
                    assert!(error.contains("truncated"), "{error}");
                }
            }
        }
        let packed = gzip(&bytes);
        for end in 2..packed.len() {
            let (_, error) = numbers("chain.gz", &packed[..end]);
            let error = error.unwrap_or_else(|| panic!("{end} of {} bytes are taken for all", packed.len()));
            assert!(error.contains("chain.gz, byte "), "{error}");
        }
    }

    #[test]
    fn garbage_is_named_with_its_place() {
        let (bytes, ends) = chain();
        let after = |garbage: &[u8]| numbers("chain.rlp", &[&bytes[..ends[1]], garbage].concat());
        for (garbage, reason) in [
            (&[0_u8; 4][..], "it begins with 0x00, not with a list"),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "it claims 18446744073709551615 bytes"),
            (&[0xfb, 0x04, 0x00, 0x00, 0x01], "it claims 67108865 bytes"),
            (&[0xc1, 0x80], "not a block"),
            (&[0xc0], "not a block"),
        ] {
            let (found, error) = after(garbage);
            let error = error.expect("an error");
            assert_eq!(found, [0, 1]);
            assert!(error.contains(&format!("chain.rlp, byte {}: ", ends[1])), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        // A length that is not true takes no memory.
        let (_, error) = after(&[0xfb, 0x04, 0x00, 0x00, 0x00, 1, 2, 3]);
        assert!(error.unwrap().contains("truncated: 8 of the block's 67108869 bytes"));
        // Nor does a file that unpacks to a thousand times its size.
        let (found, error) = numbers("bomb.gz", &gzip(&vec![0; 10 << 20]));
        assert!(found.is_empty() && error.unwrap().contains("byte 0 of its unpacked content: not a block"));
    }
}
