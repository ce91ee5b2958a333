//! Analysed bytecode by code hash, shared by every EVM of the process: a hot contract is read and its jump
//! destinations found once. Content-addressed, so it can never be stale.

use alloy_primitives::{B256, Bytes};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use revm::bytecode::Bytecode;
use std::sync::LazyLock;

/// Bytes of code that the cache may hold.
const CAPACITY: u64 = 32 << 20;

#[derive(Clone)]
struct ByLength;

impl Weighter<B256, Bytecode> for ByLength {
    fn weight(&self, _hash: &B256, code: &Bytecode) -> u64 {
        // The padded code, its jump table (one bit a byte) and the entry itself.
        code.len() as u64 * 9 / 8 + 160
    }
}

static CODE: LazyLock<Cache<B256, Bytecode, ByLength>> =
    LazyLock::new(|| Cache::with_weighter(4096, CAPACITY, ByLength));

/// The code with this hash, from the cache or from `load` (`None`: there is no such code).
pub(crate) fn get_or_load<E>(
    hash: &B256,
    load: impl FnOnce() -> Result<Option<Bytes>, E>,
) -> Result<Option<Bytecode>, E> {
    if let Some(code) = CODE.get(hash) {
        return Ok(Some(code));
    }
    let Some(bytes) = load()? else { return Ok(None) };
    let code = analyse(bytes);
    CODE.insert(*hash, code.clone());
    Ok(Some(code))
}

/// Code ready to run. Bytes that begin as a delegation (EIP-7702) but are not one were deployed before
/// EIP-3541, and run as any code.
pub(crate) fn analyse(bytes: Bytes) -> Bytecode {
    Bytecode::new_raw_checked(bytes.clone()).unwrap_or_else(|_| Bytecode::new_legacy(bytes))
}
