//! The embedded engine's tables, and the mapping of its errors to the store's.

use crate::StoreError;
use signet_libmdbx::tx::aliases::RwTxUnsync;
use signet_libmdbx::{Database, DatabaseFlags, MdbxError, MdbxResult, ReadError};
use std::path::{Path, PathBuf};

/// One table: its name and its handle, good for the environment's life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) db: Database,
}

/// All tables.
#[derive(Debug)]
pub(super) struct Tables {
    /// number → hash of the canonical block.
    pub(super) canonical: Table,
    /// hash → number of any block.
    pub(super) numbers: Table,
    /// number | hash → total difficulty, header as RLP.
    pub(super) headers: Table,
    /// number | hash → body as RLP.
    pub(super) bodies: Table,
    /// number | hash → the senders, 20 bytes each.
    pub(super) senders: Table,
    /// number | hash → receipts as RLP, without blooms.
    pub(super) receipts: Table,
    /// transaction hash → number of its canonical block, index (4 bytes); of a block held as history, whose row may be
    /// out of date, also the beginning of the block's hash (8 bytes).
    pub(super) transactions: Table,
    /// address | !block → account.
    pub(super) accounts: Table,
    /// address | incarnation | slot | !block → value.
    pub(super) storage: Table,
    /// hash of the address → account of the base.
    pub(super) base_accounts: Table,
    /// hash of the address | hash of the slot → value in the base.
    pub(super) base_storage: Table,
    /// hash → code.
    pub(super) code: Table,
    /// number → what the canonical block changed.
    pub(super) changes: Table,
    /// the trie's own keys → node.
    pub(super) trie: Table,
    /// name → small value of the store's user.
    pub(super) meta: Table,
    /// name → small value of the store itself.
    pub(super) system: Table,
}

impl Tables {
    pub(super) const COUNT: usize = 16;

    /// Opens the tables, and makes those that are not there.
    pub(super) fn create(tx: &RwTxUnsync) -> MdbxResult<Self> {
        let table = |name| tx.create_db(Some(name), DatabaseFlags::empty()).map(|db| Table { name, db });
        Ok(Self {
            canonical: table("canonical")?,
            numbers: table("numbers")?,
            headers: table("headers")?,
            bodies: table("bodies")?,
            senders: table("senders")?,
            receipts: table("receipts")?,
            transactions: table("transactions")?,
            accounts: table("accounts")?,
            storage: table("storage")?,
            base_accounts: table("base_accounts")?,
            base_storage: table("base_storage")?,
            code: table("code")?,
            changes: table("changes")?,
            trie: table("trie")?,
            meta: table("meta")?,
            system: table("system")?,
        })
    }

    pub(super) const fn all(&self) -> [Table; Self::COUNT] {
        [
            self.canonical,
            self.numbers,
            self.headers,
            self.bodies,
            self.senders,
            self.receipts,
            self.transactions,
            self.accounts,
            self.storage,
            self.base_accounts,
            self.base_storage,
            self.code,
            self.changes,
            self.trie,
            self.meta,
            self.system,
        ]
    }
}

/// What errors name: the data file and its size limit.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) limit: u64,
}

/// What a disk that is not full has room for: the step in which the data file grows.
const PROBE_BYTES: usize = 16 << 20;

impl Place {
    /// The store's error for the engine's, which came of trying to `action`.
    pub(super) fn error(&self, action: &'static str, error: MdbxError) -> StoreError {
        const ENOSPC: i32 = 28;
        const EDQUOT: i32 = 122;
        const EIO: i32 = 5;
        let path = self.path.clone();
        match error {
            MdbxError::MapFull => StoreError::LimitReached { path, limit: self.limit },
            MdbxError::Other(ENOSPC | EDQUOT) => StoreError::DiskFull { path },
            // The engine takes a write that was cut short by a full disk for one that failed.
            MdbxError::Other(EIO) if is_disk_full(&path) => StoreError::DiskFull { path },
            MdbxError::ReadersFull => StoreError::TooManyReaders,
            MdbxError::Corrupted
            | MdbxError::PageNotFound
            | MdbxError::Invalid
            | MdbxError::VersionMismatch
            | MdbxError::Incompatible
            | MdbxError::CursorFull
            | MdbxError::PageFull
            | MdbxError::WannaRecovery => StoreError::Damaged { path, detail: error.to_string() },
            MdbxError::Access | MdbxError::Permission | MdbxError::Other(EIO | 30) => StoreError::Io {
                action,
                path,
                source: std::io::Error::from_raw_os_error(error.to_err_code()).into(),
            },
            MdbxError::Other(code) => {
                StoreError::Engine { action, detail: std::io::Error::from_raw_os_error(code).to_string() }
            }
            error => StoreError::Engine { action, detail: error.to_string() },
        }
    }

    /// The same for an error of a read.
    pub(super) fn read_error(&self, table: Table, error: ReadError) -> StoreError {
        match error {
            ReadError::Mdbx(error) => self.error("read", error),
            ReadError::Decoding(error) => {
                StoreError::BadRecord { table: table.name, key: String::new(), detail: error.to_string() }
            }
        }
    }
}

/// Whether another file beside this one cannot be written for want of space.
fn is_disk_full(path: &Path) -> bool {
    use std::io::{ErrorKind, Write as _};
    let Some(folder) = path.parent() else { return false };
    let written = tempfile::tempfile_in(folder).and_then(|mut file| file.write_all(&vec![1; PROBE_BYTES]));
    written.is_err_and(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let place = Place { path: "/data/chain.mdbx".into(), limit: 4096 };
        for (error, words) in [
            (MdbxError::Other(28), "no space left on the disk that holds chain store /data/chain.mdbx"),
            (MdbxError::MapFull, "has reached its size limit of 4096 bytes; open it with a larger one"),
            (MdbxError::Corrupted, "/data/chain.mdbx is damaged (database is corrupted); restore it"),
            (MdbxError::Access, "cannot write /data/chain.mdbx: Permission denied"),
            (MdbxError::Other(12), "chain store failed to write: Cannot allocate memory"),
        ] {
            let text = place.error("write", error).to_string();
            assert!(text.contains(words), "{text}");
        }
    }
}
