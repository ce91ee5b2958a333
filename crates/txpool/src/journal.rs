//! The journal's format: what makes an acknowledged transaction survive a crash. Pure; the caller does the
//! file IO.
//!
//! A journal is a sequence of records, each a header of 13 bytes and a body:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the body, little-endian |
//! | 1 | flags: bit 0 set for a local transaction |
//! | 4 | CRC-32 of the body |
//! | 4 | CRC-32 of the nine bytes before |
//! | n | the transaction in its pooled EIP-2718 form, a blob transaction with its sidecar |
//!
//! The header has a checksum of its own so that a damaged length is known from a record cut short. A record
//! cut short at the end of the file is a write that a crash interrupted: it was never acknowledged, and is
//! left out. Damage anywhere else is an error, and says where.

use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::{Decodable2718, Encodable2718};

const HEADER: usize = 13;
const LOCAL: u8 = 1;
/// The longest body: the largest blob transaction the pool takes.
const MAX_BODY: usize = 1024 * 1024;

/// A journaled transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whether it came from a user of this node.
    pub local: bool,
    /// The transaction in its pooled form.
    pub transaction: TxEnvelope,
}

/// A journal that is damaged elsewhere than at its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction journal is corrupt at byte {offset}: {damage}")]
pub struct JournalError {
    /// Where the damaged record begins; everything before is good.
    pub offset: usize,
    /// What is wrong.
    pub damage: Damage,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The header's checksum does not match.
    #[error("header checksum mismatch")]
    HeaderChecksum,
    /// The body's checksum does not match.
    #[error("body checksum mismatch")]
    BodyChecksum,
    /// The length is more than any transaction has.
    #[error("record of {0} bytes")]
    Oversized(usize),
    /// A flag of a format that this version does not know.
    #[error("unknown flags {0:#04x}")]
    UnknownFlags(u8),
    /// The body is no transaction.
    #[error("not a transaction: {0}")]
    NotATransaction(String),
}

/// Encodes one record.
pub fn encode(transaction: &TxEnvelope, local: bool) -> Vec<u8> {
    let mut record = vec![0; HEADER];
    transaction.encode_2718(&mut record);
    let (header, body) = record.split_at_mut(HEADER);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let flags = if local { LOCAL } else { 0 };
    let head: Vec<u8> = [&length.to_le_bytes()[..], &[flags], &crc32fast::hash(body).to_le_bytes()].concat();
    let sum = crc32fast::hash(&head).to_le_bytes();
    for (place, byte) in header.iter_mut().zip(head.iter().chain(&sum)) {
        *place = *byte;
    }
    record
}

/// Reads the records of a journal in order.
pub const fn decode(journal: &[u8]) -> Decoder<'_> {
    Decoder { journal, offset: 0, state: State::Reading }
}

/// Iterator over a journal's records; see [`decode`]. Ends at the first error.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    journal: &'a [u8],
    offset: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Torn,
    Corrupt,
}

/// What stands at the reader's place.
enum Record<'a> {
    Whole { flags: u8, body: &'a [u8] },
    Torn,
}

impl Decoder<'_> {
    /// Bytes at the end that an interrupted write left behind; known once the iterator has ended. The caller
    /// cuts the file to [`Self::offset`] before it appends.
    pub fn torn_bytes(&self) -> usize {
        if self.state == State::Torn { self.journal.len().saturating_sub(self.offset) } else { 0 }
    }

    /// Bytes of the good records read so far.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    fn read(&self) -> Result<Record<'_>, Damage> {
        let rest = self.journal.get(self.offset..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(Record::Torn) };
        let [l0, l1, l2, l3, flags, b0, b1, b2, b3, h0, h1, h2, h3] = *header;
        let head = [l0, l1, l2, l3, flags, b0, b1, b2, b3];
        if crc32fast::hash(&head) != u32::from_le_bytes([h0, h1, h2, h3]) {
            // File systems may lengthen a file before they write to it: a crash leaves zeros.
            let zeros = header.iter().chain(rest).all(|byte| *byte == 0);
            return if zeros { Ok(Record::Torn) } else { Err(Damage::HeaderChecksum) };
        }
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if length > MAX_BODY {
            return Err(Damage::Oversized(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(Record::Torn) };
        if crc32fast::hash(body) != u32::from_le_bytes([b0, b1, b2, b3]) {
            // The last record may have been written in any order.
            return if rest.len() == length { Ok(Record::Torn) } else { Err(Damage::BodyChecksum) };
        }
        Ok(Record::Whole { flags, body })
    }

    fn parse(flags: u8, body: &[u8]) -> Result<Entry, Damage> {
        if flags & !LOCAL != 0 {
            return Err(Damage::UnknownFlags(flags));
        }
        let transaction = TxEnvelope::decode_2718_exact(body)
            .map_err(|error| Damage::NotATransaction(error.to_string()))?;
        Ok(Entry { local: flags & LOCAL != 0, transaction })
    }
}

impl Iterator for Decoder<'_> {
    type Item = Result<Entry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state != State::Reading || self.offset >= self.journal.len() {
            return None;
        }
        let read = self.read().and_then(|record| match record {
            Record::Whole { flags, body } => {
                Self::parse(flags, body).map(|entry| Some((entry, HEADER.saturating_add(body.len()))))
            }
            Record::Torn => Ok(None),
        });
        match read {
            Ok(Some((entry, length))) => {
                self.offset = self.offset.saturating_add(length);
                Some(Ok(entry))
            }
            Ok(None) => {
                self.state = State::Torn;
                None
            }
            Err(damage) => {
                self.state = State::Corrupt;
                Some(Err(JournalError { offset: self.offset, damage }))
            }
        }
    }
}
