//! Limits of the protocols, and where each comes from. Sizes are bytes of a message's RLP before compression.

/// Longest message of `eth` and `snap` that is accepted; a peer that sends a longer one is disconnected (geth's
/// `maxMessageSize`; the specification names the same).
pub const MAX_MESSAGE_SIZE: usize = 10 * 1024 * 1024;

/// An answer is ended once it is this long (the specification's soft limit; geth's `softResponseLimit`, of `eth`
/// and of `snap`). The item that goes beyond is still in it.
pub const SOFT_RESPONSE_SIZE: usize = 2 * 1024 * 1024;

/// Headers that one answer has at most (geth's `maxHeadersServe`).
pub const MAX_HEADERS_SERVE: usize = 1024;
/// Bodies that are looked up for one request at most (geth's `maxBodiesServe`).
pub const MAX_BODIES_SERVE: usize = 1024;
/// Blocks whose receipts are looked up for one request at most (geth's `maxReceiptsServe`).
pub const MAX_RECEIPTS_SERVE: usize = 1024;
/// Trie nodes and codes that are looked up for one request at most (geth's `maxNodeDataServe`).
pub const MAX_NODE_DATA_SERVE: usize = 1024;

/// Headers that a request asks for at most (geth's `MaxHeaderFetch`).
pub const MAX_HEADERS_REQUEST: usize = 192;
/// Bodies that a request asks for at most (geth's `MaxBlockFetch`).
pub const MAX_BODIES_REQUEST: usize = 128;
/// Blocks whose receipts a request asks for at most (geth's `MaxReceiptFetch`).
pub const MAX_RECEIPTS_REQUEST: usize = 256;
/// Trie nodes and codes that a request asks for at most (geth's `MaxStateFetch`).
pub const MAX_NODE_DATA_REQUEST: usize = 384;

/// Hashes of a GetPooledTransactions request (the specification's soft limit; geth's `maxTxRetrievals`).
pub const MAX_POOLED_REQUEST: usize = 256;
/// Announced sizes that one GetPooledTransactions request adds up to (geth's `maxTxRetrievalSize`).
pub const MAX_POOLED_REQUEST_SIZE: usize = 128 * 1024;
/// Hashes of one NewPooledTransactionHashes that is sent (the specification's soft limit).
pub const MAX_ANNOUNCEMENTS: usize = 4096;
/// Transactions messages that are sent end at this length (geth's `maxTxPacketSize`).
pub const MAX_TRANSACTIONS_SIZE: usize = 100 * 1024;

/// Most bits of a total difficulty; what is above is a lie (geth: mainnet's has 76).
pub const MAX_TOTAL_DIFFICULTY_BITS: usize = 100;

/// What one decoded message may take in memory beside the bytes that it holds: the structures of its lists. An honest
/// answer of [`SOFT_RESPONSE_SIZE`] stays below, be it full of the smallest receipts; without the limit, ten mebibytes
/// of empty ones would take most of a gibibyte.
pub const MAX_DECODED_SIZE: usize = 96 * 1024 * 1024;
/// Headers, bodies, or blocks with receipts that an answer is accepted with: as many as anybody serves.
pub const MAX_RESPONSE_ITEMS: usize = 1024;

/// Codes that are looked up for one `snap` request at most (geth's `maxCodeLookups`).
pub const MAX_CODE_LOOKUPS: usize = 1024;
/// Trie nodes that are looked up for one `snap` request at most (geth's `maxTrieNodeLookups`).
pub const MAX_TRIE_NODE_LOOKUPS: usize = 1024;
/// Accounts whose storage is asked for in one GetStorageRanges at most, as an answer of [`SOFT_RESPONSE_SIZE`] has no
/// room for more (a slot takes 35 bytes at least).
pub const MAX_STORAGE_ACCOUNTS: usize = SOFT_RESPONSE_SIZE / 35;
/// Trie nodes that a range's proof has at most: two paths of 64 nodes, with room for those who send a node twice.
pub const MAX_PROOF_NODES: usize = 512;
/// Share by which a range that ends an answer may go beyond the requested size, so that an account's storage is not
/// cut for a little (geth's `stateLookupSlack`), in tenths.
pub const STATE_LOOKUP_SLACK_TENTHS: usize = 1;
