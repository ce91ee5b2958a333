//! Subtrees on their way up.

use crate::fresh::Link;
use crate::node::LeafValue;
use alloy_trie::Nibbles;

/// A changed subtree that has no place yet.
pub(super) enum Tree {
    Empty,
    Leaf { key: Nibbles, value: LeafValue },
    Extension { key: Nibbles, child: Link },
    Branch(Link),
}

impl Tree {
    /// The same tree after its nodes were put behind `count` others.
    pub(super) fn behind(self, count: usize) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Leaf { key, value } => Self::Leaf { key, value },
            Self::Extension { key, child } => Self::Extension { key, child: child.behind(count) },
            Self::Branch(link) => Self::Branch(link.behind(count)),
        }
    }
}
