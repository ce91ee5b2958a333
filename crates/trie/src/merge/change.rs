//! What a pass is to do: keys with their new values, and how they divide over a trie.

#[cfg(test)]
use alloy_primitives::Bytes;
use alloy_primitives::{B256, U256};
use alloy_trie::Nibbles;
use quintet_types::Account;

/// A key's new value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Delete,
    /// Not zero: that is a `Delete`.
    Slot(U256),
    Account {
        account: Account,
        storage: StorageRoot,
    },
    /// A value of a trie that is neither of the two, for the vectors of such tries.
    #[cfg(test)]
    Raw(Bytes),
}

/// What became of an account's storage.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StorageRoot {
    /// The root stays as the account's leaf has it.
    Unchanged,
    Changed {
        old: B256,
        new: B256,
    },
}

/// One key's change.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: Nibbles,
    pub(crate) value: Value,
}

impl Change {
    pub(super) const fn is_delete(&self) -> bool {
        matches!(self.value, Value::Delete)
    }
}

/// The least depth at which a key that is put leaves the path `full`; `None` if none does.
pub(super) fn fork_depth(full: &Nibbles, changes: &[Change]) -> Option<usize> {
    let leaving = changes.iter().filter(|change| !change.is_delete() && !change.key.starts_with(full));
    leaving.map(|change| change.key.common_prefix_length(full)).min()
}

/// Those changes whose keys begin with `prefix`.
pub(super) fn under<'c>(prefix: &Nibbles, changes: &'c [Change]) -> &'c [Change] {
    let start = changes.partition_point(|change| change.key < *prefix);
    let rest = changes.get(start..).unwrap_or_default();
    let len = rest.partition_point(|change| change.key.starts_with(prefix));
    rest.get(..len).unwrap_or_default()
}

/// Splits changes by their nibble at `depth`; yields `None` for a key that has none.
pub(super) fn groups(depth: usize, mut rest: &[Change]) -> impl Iterator<Item = Option<(u8, &[Change])>> {
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let Some(nibble) = first.key.get(depth) else {
            rest = &[];
            return Some(None);
        };
        let len = rest.iter().take_while(|change| change.key.get(depth) == Some(nibble)).count();
        let (group, after) = rest.split_at(len);
        rest = after;
        Some(Some((nibble, group)))
    })
}
