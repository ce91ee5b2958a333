//! What can go wrong, in words that tell an operator what, where, and what to do.

use quintet_types::BlockRef;
use std::path::PathBuf;
use std::sync::Arc;

/// A failure of the chain store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open, or this one has it open already.
    #[error(
        "datadir already used by another process: {path}; stop that process or use another data directory"
    )]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// The store was written by another version of the node.
    #[error(
        "chain store {path} has format {found}, this version reads format {expected}; \
         use the version that wrote it, or import the chain into an empty directory"
    )]
    Schema {
        /// The store's directory.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What this version writes.
        expected: u32,
    },
    /// The directory held a store, but its data file is gone.
    #[error(
        "chain store {path} has lost its data file; restore the file from a backup, \
         or remove the directory to start an empty chain"
    )]
    Missing {
        /// The data file.
        path: PathBuf,
    },
    /// The directory holds no store, and the caller did not want one made.
    #[error("no chain store in {path}")]
    Absent {
        /// The store's directory.
        path: PathBuf,
    },
    /// The data file is truncated or holds garbage.
    #[error(
        "chain store {path} is damaged ({detail}); restore it from a backup, \
         or remove it and import the chain again"
    )]
    Damaged {
        /// The data file.
        path: PathBuf,
        /// What the engine found.
        detail: String,
    },
    /// A record cannot be decoded.
    #[error("chain store is damaged: record {key} of table {table}: {detail}; restore it from a backup")]
    BadRecord {
        /// The table.
        table: &'static str,
        /// The record's key, in hexadecimal.
        key: String,
        /// Why it cannot be decoded.
        detail: String,
    },
    /// The disk is full.
    #[error("no space left on the disk that holds chain store {path}; free some and start again")]
    DiskFull {
        /// The data file.
        path: PathBuf,
    },
    /// The data file has reached its size limit.
    #[error("chain store {path} has reached its size limit of {limit} bytes; open it with a larger one")]
    LimitReached {
        /// The data file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A file of the store cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: Arc<std::io::Error>,
    },
    /// More reads at once than the engine has slots for.
    #[error("too many reads of the chain store at once")]
    TooManyReaders,
    /// Any other failure of the engine.
    #[error("chain store failed to {action}: {detail}")]
    Engine {
        /// What was tried.
        action: &'static str,
        /// The engine's own words.
        detail: String,
    },
    /// A key or value that no table can hold.
    #[error("{what} of {length} bytes is too long for the chain store (at most {limit})")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its length, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A block of a commit does not follow the one before it.
    #[error("block {} {} does not follow the chain's head {}", block.number, block.hash, describe(head.as_ref()))]
    NotChained {
        /// The block that was refused.
        block: BlockRef,
        /// The canonical block that it would have had to follow.
        head: Option<BlockRef>,
    },
    /// A commit does not fit together.
    #[error("malformed commit: block {} {}: {detail}", block.number, block.hash)]
    Malformed {
        /// The block at fault.
        block: BlockRef,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A commit would leave the trie at a block that is not canonical.
    #[error("trie block {} {} would not be canonical after the commit", block.number, block.hash)]
    TrieLeftBehind {
        /// The trie's block.
        block: BlockRef,
    },
    /// The canonical chain has no block with this number.
    #[error("the canonical chain has no block {number}")]
    UnknownBlock {
        /// The number.
        number: u64,
    },
    /// The state after this block, or what leads to it, is not held: the node began with the state of a later one.
    #[error(
        "the state of block {block} is not held: the chain was synced from the state of block {first} on; \
         ask for that block or a later one, or sync from genesis with --syncmode full"
    )]
    StateNotHeld {
        /// The block.
        block: u64,
        /// The first block whose state is held.
        first: u64,
    },
    /// An address that no engine has.
    #[error("--store: there is no engine for {scheme}://; give postgres://… or a directory")]
    UnknownEngine {
        /// The address's scheme.
        scheme: String,
    },
    /// The database's address cannot be used.
    #[error("cannot use {url} as a chain store: {detail}")]
    BadAddress {
        /// What was given, without a password.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The database cannot be reached, or the connection was lost. A commit that failed so has written
    /// nothing, unless the detail says that its outcome is unknown; the head, read again, tells then.
    #[error("chain store {url} is not available: {detail}")]
    Unavailable {
        /// The database, without a password.
        url: String,
        /// What was tried, and the answer.
        detail: String,
    },
    /// The server does not know the user, the password or the database.
    #[error(
        "the server of chain store {url} refuses the connection: {detail}; \
         check user, password and database in --store"
    )]
    LoginRefused {
        /// The database, without a password.
        url: String,
        /// The server's words.
        detail: String,
    },
    /// Another process writes to the database, or this one does already.
    #[error(
        "database already used by another process: {url}; stop that process, \
         open the store for reading only, or use another database"
    )]
    DatabaseInUse {
        /// The database, without a password.
        url: String,
    },
    /// While the connection was lost, somebody else wrote to the database.
    #[error("another process has written to chain store {url} while the connection was lost; start again")]
    Overtaken {
        /// The database, without a password.
        url: String,
    },
    /// The database's tables are of another version of the node, or were altered.
    #[error(
        "chain store {url} has another schema: {detail}; \
         use the version that made it, or import the chain into an empty database"
    )]
    DatabaseSchema {
        /// The database, without a password.
        url: String,
        /// The migration at fault.
        detail: String,
    },
    /// The database holds no store, and the caller did not want one made.
    #[error("no chain store in {url}")]
    DatabaseAbsent {
        /// The database, without a password.
        url: String,
    },
    /// The database's server has no space or memory left.
    #[error("the server of chain store {url} is out of space: {detail}; give it some and start again")]
    DatabaseFull {
        /// The database, without a password.
        url: String,
        /// The server's words.
        detail: String,
    },
    /// A commit into a store that is open for reading only, or by a role that may not write.
    #[error("chain store {url} can only be read: {detail}")]
    ReadOnly {
        /// The store, without a password.
        url: String,
        /// Why.
        detail: String,
    },
    /// A reorg removed the block whose state was being read.
    #[error("block {} {} left the canonical chain while its state was read", block.number, block.hash)]
    Reverted {
        /// The block.
        block: BlockRef,
    },
}

fn describe(head: Option<&BlockRef>) -> String {
    head.map_or_else(|| "(empty)".to_owned(), |head| format!("{} {}", head.number, head.hash))
}
