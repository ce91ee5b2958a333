//! Nibble paths without panics: a path has at most 64 nibbles, and bytes from a store may claim more.

use alloy_trie::Nibbles;

/// Nibbles in a hashed key, the longest path there is.
pub(crate) const MAX_LEN: usize = 64;

/// `path` with one nibble more; `None` if it is full already.
pub(crate) fn child(path: &Nibbles, nibble: u8) -> Option<Nibbles> {
    (path.len() < MAX_LEN).then(|| {
        let mut child = *path;
        child.push_unchecked(nibble);
        child
    })
}

/// `head` and then `tail`; `None` if that is too long for a path.
pub(crate) fn join(head: &Nibbles, tail: &Nibbles) -> Option<Nibbles> {
    (head.len() + tail.len() <= MAX_LEN).then(|| head.join(tail))
}

/// A path of one nibble.
pub(crate) fn single(nibble: u8) -> Nibbles {
    let mut path = Nibbles::new();
    path.push_unchecked(nibble);
    path
}

/// The first `len` nibbles, or all if there are fewer.
pub(crate) fn head(path: &Nibbles, len: usize) -> Nibbles {
    path.slice(..len.min(path.len()))
}

/// What follows the first `from` nibbles.
pub(crate) fn tail(path: &Nibbles, from: usize) -> Nibbles {
    path.slice(from.min(path.len())..)
}
