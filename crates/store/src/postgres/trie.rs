//! Writing the trie's nodes: the one table whose rows are replaced.

use super::commit::{copy_rows, within};
use super::copy::Rows;
use super::rows::MAX_VALUE;
use super::session::Session;
use crate::{StoreError, TrieFlush};
use alloy_primitives::Bytes;

const ACTION: &str = "write the trie";
/// From how many nodes on they go through `COPY`.
const MANY: usize = 200;
/// Keys in one statement that deletes.
const DELETED_AT_ONCE: usize = 20_000;

/// Applies a flush; `empty` when the table is known to hold nothing.
pub(super) async fn flush(session: &mut Session, flush: &TrieFlush, empty: bool) -> Result<(), StoreError> {
    for prefix in &flush.wiped_prefixes {
        within("trie prefix", prefix.len(), TrieFlush::MAX_KEY)?;
    }
    for (key, node) in &flush.nodes {
        within("trie key", key.len(), TrieFlush::MAX_KEY)?;
        within("trie node", node.as_ref().map_or(0, |node| node.len()), MAX_VALUE)?;
    }
    let mut empty = empty;
    if !empty && flush.wiped_prefixes.iter().any(Vec::is_empty) {
        session.execute(ACTION, "DELETE FROM trie", &[]).await?;
        empty = true;
    }
    if !empty {
        wipe(session, &flush.wiped_prefixes).await?;
        if flush.nodes.len() < MANY {
            return replace_few(session, flush).await;
        }
        // Deleting what is replaced, and copying, costs little more than half of updating it row by row.
        delete(session, flush.nodes.iter().map(|(key, _)| key.as_slice()).collect()).await?;
    }
    copy(session, flush).await
}

/// Deletes all nodes whose key begins with one of these.
async fn wipe(session: &mut Session, prefixes: &[Vec<u8>]) -> Result<(), StoreError> {
    if prefixes.is_empty() {
        return Ok(());
    }
    // Behind every key with the prefix, and before any other.
    let ends: Vec<Vec<u8>> = prefixes
        .iter()
        .map(|prefix| {
            let mut end = prefix.clone();
            end.resize(TrieFlush::MAX_KEY + 1, 0xff);
            end
        })
        .collect();
    let wipe = "DELETE FROM trie t USING unnest($1::bytea[], $2::bytea[]) AS p(low, high) \
                WHERE t.key >= p.low AND t.key <= p.high";
    session.execute(ACTION, wipe, &[&prefixes, &ends]).await
}

async fn delete(session: &mut Session, mut keys: Vec<&[u8]>) -> Result<(), StoreError> {
    keys.sort_unstable();
    for keys in keys.chunks(DELETED_AT_ONCE) {
        session.execute(ACTION, "DELETE FROM trie WHERE key = ANY($1)", &[&keys]).await?;
    }
    Ok(())
}

async fn replace_few(session: &mut Session, flush: &TrieFlush) -> Result<(), StoreError> {
    delete(
        session,
        flush.nodes.iter().filter(|(_, node)| node.is_none()).map(|(key, _)| key.as_slice()).collect(),
    )
    .await?;
    let (keys, nodes): (Vec<&[u8]>, Vec<&[u8]>) = kept(flush).unzip();
    if keys.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO trie SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
                  ON CONFLICT (key) DO UPDATE SET node = excluded.node";
    session.execute(ACTION, insert, &[&keys, &nodes]).await
}

/// Sends all nodes, none of whose keys is in the table any more.
async fn copy(session: &mut Session, flush: &TrieFlush) -> Result<(), StoreError> {
    let mut nodes: Vec<_> = kept(flush).collect();
    nodes.sort_unstable();
    let mut rows = Rows::default();
    for (key, node) in nodes {
        rows.row(2);
        rows.bytes(key);
        rows.bytes(node);
    }
    copy_rows(session, "trie", [Bytes::from(rows.0)]).await
}

/// The nodes that are written.
fn kept(flush: &TrieFlush) -> impl Iterator<Item = (&[u8], &[u8])> {
    flush.nodes.iter().filter_map(|(key, node)| Some((key.as_slice(), node.as_ref()?.as_ref())))
}
