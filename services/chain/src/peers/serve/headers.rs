//! `GetBlockHeaders`, with all that geth's handler does: runs of the canonical chain, gaps, backwards, and by hash also
//! ancestors of blocks beside the canonical chain.

use alloy_primitives::B256;
use quintet_eth_wire::{GetBlockHeaders, HashOrNumber, ListBuilder, MAX_HEADERS_SERVE, SOFT_RESPONSE_SIZE};
use quintet_store::{Store, StoreError};
use quintet_types::Header;

/// Blocks beside the canonical chain that are walked over for one request with gaps (as in geth).
const MAX_NON_CANONICAL: usize = 100;

/// The headers asked for, as far as they are there. `head` is the number of the newest canonical block.
///
/// # Errors
/// When the store fails.
pub(super) fn headers(
    store: &dyn Store,
    head: u64,
    request: &GetBlockHeaders,
) -> Result<ListBuilder, StoreError> {
    let mut list = ListBuilder::new();
    let mut walk = Walk { store, head, request, non_canonical: MAX_NON_CANONICAL };
    let mut at = match request.start {
        HashOrNumber::Number(number) => walk.canonical(number)?,
        HashOrNumber::Hash(hash) => store.header(&hash)?.map(|header| (hash, header)),
    };
    while let Some((hash, header)) = at {
        list.push(&header);
        // The number of headers fits into 64 bits.
        if list.items() >= MAX_HEADERS_SERVE
            || list.items() as u64 >= request.limit
            || list.size() >= SOFT_RESPONSE_SIZE
        {
            break;
        }
        at = walk.next(&hash, &header)?;
    }
    // Nothing was asked for.
    if request.limit == 0 { Ok(ListBuilder::new()) } else { Ok(list) }
}

struct Walk<'a> {
    store: &'a dyn Store,
    head: u64,
    request: &'a GetBlockHeaders,
    /// Steps beside the canonical chain that are left.
    non_canonical: usize,
}

impl Walk<'_> {
    fn canonical(&self, number: u64) -> Result<Option<(B256, Header)>, StoreError> {
        if number > self.head {
            return Ok(None);
        }
        let Some(hash) = self.store.canonical_hash(number)? else { return Ok(None) };
        Ok(self.store.header(&hash)?.map(|header| (hash, header)))
    }

    fn is_canonical(&self, hash: &B256, number: u64) -> Result<bool, StoreError> {
        Ok(self.store.canonical_hash(number)? == Some(*hash))
    }

    /// The header that follows in the answer.
    fn next(&mut self, hash: &B256, header: &Header) -> Result<Option<(B256, Header)>, StoreError> {
        let GetBlockHeaders { start, skip, reverse, .. } = *self.request;
        // Overflow is how some attack: there is no such block.
        let Some(step) = skip.checked_add(1) else { return Ok(None) };
        let by_hash = matches!(start, HashOrNumber::Hash(_));
        if !reverse {
            let Some(number) = header.number.checked_add(step) else { return Ok(None) };
            // By hash, only canonical blocks have descendants that can be told.
            if by_hash && !self.is_canonical(hash, header.number)? {
                return Ok(None);
            }
            return self.canonical(number);
        }
        let Some(number) = header.number.checked_sub(step) else { return Ok(None) };
        if by_hash { self.ancestor(header, number) } else { self.canonical(number) }
    }

    /// The ancestor with this number of a header that may be beside the canonical chain.
    fn ancestor(&mut self, of: &Header, number: u64) -> Result<Option<(B256, Header)>, StoreError> {
        let (mut at, mut hash) = (of.number.saturating_sub(1), of.parent_hash);
        let mut found = None;
        loop {
            if self.is_canonical(&hash, at)? {
                return self.canonical(number);
            }
            // A run without gaps is followed as far as it goes: it costs one step for each header that is given.
            if self.request.skip > 0 {
                let Some(left) = self.non_canonical.checked_sub(1) else { return Ok(None) };
                self.non_canonical = left;
            }
            let header = match self.store.header(&hash)? {
                Some(header) => found.insert((hash, header)),
                None => return Ok(None),
            };
            if at <= number {
                return Ok(found);
            }
            (at, hash) = (at.saturating_sub(1), header.1.parent_hash);
        }
    }
}
