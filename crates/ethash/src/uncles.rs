//! Which uncles a block may have.

use crate::error::EthashError;
use alloy_consensus::constants::EMPTY_OMMER_ROOT_HASH;
use alloy_primitives::B256;
use quintet_types::{Ancestry, Block, Header};
use std::collections::{HashMap, HashSet};

/// Most uncles of one block.
const MOST_UNCLES: usize = 2;
/// How many ancestors are looked at, the block's parent being the first.
const GENERATIONS: usize = 7;

/// An uncle whose place is right, and whose header and seal remain to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncle {
    /// Its header.
    pub header: Header,
    /// Its parent's.
    pub parent: Header,
}

/// Checks the number of a block's uncles and each one's place: new, no ancestor, and a child of the second to
/// seventh ancestor. Gives them in the block's order, for the caller to check as headers.
///
/// geth goes through one uncle at a time, so a caller that checks them afterwards may name a later uncle's
/// wrong place before an earlier one's wrong header.
///
/// # Errors
/// The first uncle that is wrong, or that ancestors cannot be read.
pub fn check_uncles(block: &Block, ancestry: &dyn Ancestry) -> Result<Vec<Uncle>, EthashError> {
    let uncles = &block.body.ommers;
    if uncles.len() > MOST_UNCLES {
        return Err(EthashError::TooManyUncles);
    }
    if uncles.is_empty() {
        return Ok(Vec::new());
    }
    let Recent { ancestors, mut included } = Recent::of(block, ancestry)?;
    let mut checked = Vec::with_capacity(uncles.len());
    for header in uncles {
        let uncle = header.hash_slow();
        if !included.insert(uncle) {
            return Err(EthashError::DuplicateUncle { uncle });
        }
        if ancestors.contains_key(&uncle) {
            return Err(EthashError::UncleIsAncestor { uncle });
        }
        let parent = ancestors.get(&header.parent_hash);
        let parent = parent.filter(|_| header.parent_hash != block.header.parent_hash);
        let parent = parent.ok_or(EthashError::DanglingUncle { uncle })?.clone();
        checked.push(Uncle { header: header.clone(), parent });
    }
    Ok(checked)
}

/// What came shortly before a block.
struct Recent {
    ancestors: HashMap<B256, Header>,
    /// Blocks that may not become uncles again.
    included: HashSet<B256>,
}

impl Recent {
    /// Ends early at genesis, or where blocks are not held.
    fn of(block: &Block, ancestry: &dyn Ancestry) -> Result<Self, EthashError> {
        let own = block.header.hash_slow();
        let mut recent = Self { ancestors: HashMap::new(), included: HashSet::from([own]) };
        let mut hash = block.header.parent_hash;
        for _ in 0..GENERATIONS {
            let Some(header) = ancestry.header(&hash)? else { break };
            let parent_hash = header.parent_hash;
            let has_uncles = header.ommers_hash != EMPTY_OMMER_ROOT_HASH;
            recent.ancestors.insert(hash, header);
            if has_uncles {
                let Some(uncles) = ancestry.uncles(&hash)? else { break };
                recent.included.extend(uncles.iter().map(Header::hash_slow));
            }
            hash = parent_hash;
        }
        Ok(recent)
    }
}
