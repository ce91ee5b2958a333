//! The one pass over a trie: sorted changes go down, changed nodes come back up.
//!
//! A subtree comes back as a [`Tree`], which has no place yet: its parent decides whether it stays where it
//! is, is inlined, or melts into the node above, and only then is it written. So each path is written at most
//! once, and the same holds for reads, save where keys that were never there are deleted. Hashing waits until
//! the pass is done: see [`crate::fresh`].

use crate::fresh::{FreshNodes, Link};
use crate::node::{
    HASH_LEN, LeafValue, Links, Node, encode_branch, encode_extension, encode_leaf, is_stored, link_hash,
};
use crate::{Linked, NodeReader, Owner, TrieError, path};
use alloy_primitives::{B256, Bytes};
use alloy_rlp::Decodable;
use alloy_trie::nodes::RlpNode;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};
use rayon::prelude::*;

mod change;
mod merged;
mod tree;

pub(crate) use change::{Change, StorageRoot, Value};
use change::{fork_depth, groups, under};
pub(crate) use merged::{Merged, seal};
use merged::{Root, Unchecked};
use tree::Tree;

/// From this many changes on, the children of a branch are worked on in parallel: the work must outweigh
/// waking other threads (some ten microseconds each), which have blocks of their own to work on.
pub(crate) const PARALLEL_CHANGES: usize = 192;

/// Applies `changes` (sorted by key, no key twice, no key another's prefix) to the trie of `owner`, emptied
/// first if `wipe` holds. The result is to be [`seal`]ed.
pub(crate) fn merge(
    reader: &dyn NodeReader,
    owner: &Owner,
    wipe: bool,
    changes: &[Change],
) -> Result<Merged, TrieError> {
    let root_path = Nibbles::new();
    let stored = reader.root(owner)?;
    let old_root = stored.as_ref().map_or(EMPTY_ROOT_HASH, |(hash, _)| *hash);
    let wiped = wipe && stored.is_some();
    let kept = if wipe { None } else { stored };
    let mut pass = Pass::new(reader, owner);
    let old = kept.as_ref().map(|(_, rlp)| pass.decode(&root_path, rlp)).transpose()?;
    let root = match pass.update(&root_path, old, changes)? {
        None => Root::Known(if wipe { EMPTY_ROOT_HASH } else { old_root }),
        Some(Tree::Empty) => {
            pass.forget(root_path, kept.is_some());
            Root::Known(EMPTY_ROOT_HASH)
        }
        Some(tree) => Root::Fresh(pass.place_root(tree)),
    };
    Ok(Merged { old_root, root, wiped, fresh: pass.fresh, gone: pass.gone, unchecked: pass.unchecked })
}

struct Pass<'a> {
    reader: &'a dyn NodeReader,
    owner: &'a Owner,
    fresh: FreshNodes,
    gone: Vec<Nibbles>,
    unchecked: Vec<Unchecked>,
    buf: Vec<u8>,
    value_buf: Vec<u8>,
}

impl<'a> Pass<'a> {
    const fn new(reader: &'a dyn NodeReader, owner: &'a Owner) -> Self {
        Self {
            reader,
            owner,
            fresh: FreshNodes::new(),
            gone: Vec::new(),
            unchecked: Vec::new(),
            buf: Vec::new(),
            value_buf: Vec::new(),
        }
    }

    fn corrupt(&self, path: &Nibbles, reason: &'static str) -> TrieError {
        TrieError::Corrupt { owner: *self.owner, path: *path, reason }
    }

    fn too_deep(&self, path: &Nibbles) -> TrieError {
        self.corrupt(path, "deeper than its keys are long")
    }

    fn decode(&self, path: &Nibbles, rlp: &Bytes) -> Result<Node, TrieError> {
        Node::decode(rlp).map_err(|reason| self.corrupt(path, reason))
    }

    /// The node that `link` refers to, if any.
    fn load(&mut self, path: &Nibbles, link: &[u8]) -> Result<Option<Node>, TrieError> {
        if link.is_empty() {
            return Ok(None);
        }
        let Some(hash) = link_hash(link) else {
            return self.decode(path, &Bytes::copy_from_slice(link)).map(Some);
        };
        let missing = || TrieError::Missing { owner: *self.owner, path: *path };
        let rlp = match self.reader.linked(self.owner, path, &hash)?.ok_or_else(missing)? {
            Linked::Sound(rlp) => rlp,
            Linked::Unchecked(rlp) => {
                self.unchecked.push(Unchecked { path: *path, hash, rlp: rlp.clone() });
                rlp
            }
        };
        self.decode(path, &rlp).map(Some)
    }

    /// The subtree at `path` after `changes`, all of which lie under it; `None` if it stays as it is.
    fn update(
        &mut self,
        path: &Nibbles,
        old: Option<Node>,
        changes: &[Change],
    ) -> Result<Option<Tree>, TrieError> {
        match old {
            None => self.fill(path, changes),
            Some(Node::Branch(links)) => self.branch(path, &links, None, changes),
            Some(Node::Leaf { key, value }) => {
                let full = path::join(path, &key).ok_or_else(|| self.too_deep(path))?;
                match fork_depth(&full, changes) {
                    None => self.leaf(path, &full, &value, changes),
                    Some(at) => self.fork(path, &full, at, Node::Leaf { key, value }, changes),
                }
            }
            Some(Node::Extension { key, child }) => {
                let full = path::join(path, &key).ok_or_else(|| self.too_deep(path))?;
                match fork_depth(&full, changes) {
                    None => self.extension(path, &key, &child, changes),
                    Some(at) => self.fork(path, &full, at, Node::Extension { key, child }, changes),
                }
            }
        }
    }

    /// Where nothing was.
    fn fill(&mut self, path: &Nibbles, changes: &[Change]) -> Result<Option<Tree>, TrieError> {
        let mut puts = changes.iter().filter(|change| !change.is_delete());
        let Some(first) = puts.next() else { return Ok(None) };
        let Some(last) = puts.next_back() else {
            let Some(value) = self.resolve(first, None)? else { return Ok(None) };
            return Ok(Some(Tree::Leaf { key: path::tail(&first.key, path.len()), value }));
        };
        let stem = path::head(&first.key, first.key.common_prefix_length(&last.key));
        let tree = self.branch(&stem, &Links::default(), None, under(&stem, changes))?;
        self.lower(path, &stem, tree, false)
    }

    /// A leaf whose path no new key leaves.
    fn leaf(
        &mut self,
        path: &Nibbles,
        full: &Nibbles,
        old: &Bytes,
        changes: &[Change],
    ) -> Result<Option<Tree>, TrieError> {
        let Some(change) = changes.iter().find(|change| change.key.starts_with(full)) else {
            return Ok(None);
        };
        if change.key != *full {
            return Err(self.corrupt(path, "a key is another's prefix"));
        }
        let Some(value) = self.resolve(change, Some(old))? else { return Ok(Some(Tree::Empty)) };
        value.encode(&mut self.value_buf);
        if self.value_buf == old[..] {
            return Ok(None);
        }
        Ok(Some(Tree::Leaf { key: path::tail(full, path.len()), value }))
    }

    /// An extension whose path no new key leaves.
    fn extension(
        &mut self,
        path: &Nibbles,
        key: &Nibbles,
        child: &RlpNode,
        changes: &[Change],
    ) -> Result<Option<Tree>, TrieError> {
        let full = path::join(path, key).ok_or_else(|| self.too_deep(path))?;
        let changes = under(&full, changes);
        if changes.is_empty() {
            return Ok(None);
        }
        let Some(Node::Branch(links)) = self.load(&full, child)? else {
            return Err(self.corrupt(&full, "no branch under an extension"));
        };
        let tree = self.branch(&full, &links, None, changes)?;
        self.lower(path, &full, tree, is_stored(child))
    }

    /// A leaf or extension whose path (`full`) new keys leave at depth `at`: a branch takes its place there.
    fn fork(
        &mut self,
        path: &Nibbles,
        full: &Nibbles,
        at: usize,
        node: Node,
        changes: &[Change],
    ) -> Result<Option<Tree>, TrieError> {
        let stem = path::head(full, at);
        let Some(nibble) = full.get(at) else { return Err(self.corrupt(full, "a key is another's prefix")) };
        let rest = path::tail(full, at + 1);
        let changes = under(&stem, changes);
        let tree = match node {
            Node::Leaf { value, .. } => {
                let moved = Node::Leaf { key: rest, value };
                self.branch(&stem, &Links::default(), Some((nibble, moved)), changes)?
            }
            Node::Extension { child, .. } if rest.is_empty() => {
                self.branch(&stem, &Links::lone(nibble, &child), None, changes)?
            }
            Node::Extension { child, .. } => {
                let moved = Node::Extension { key: rest, child };
                self.branch(&stem, &Links::default(), Some((nibble, moved)), changes)?
            }
            Node::Branch(_) => return Err(self.corrupt(path, "a branch does not fork")),
        };
        self.lower(path, &stem, tree, false)
    }

    /// A branch at `path` with children `links`, and perhaps one `moved` under it that has no place yet.
    fn branch(
        &mut self,
        path: &Nibbles,
        links: &Links,
        moved: Option<(u8, Node)>,
        changes: &[Change],
    ) -> Result<Option<Tree>, TrieError> {
        let mut changed = if changes.len() < PARALLEL_CHANGES {
            let mut changed = Vec::with_capacity(changes.len().min(16) + 1);
            for group in groups(path.len(), changes) {
                let (nibble, changes) = group.ok_or_else(|| self.too_deep(path))?;
                if let Some(tree) = self.child(path, links, moved.as_ref(), nibble, changes)? {
                    changed.push((nibble, tree));
                }
            }
            changed
        } else {
            self.children_in_parallel(path, links, moved.as_ref(), changes)?
        };
        if let Some((nibble, node)) = moved
            && let Err(at) = changed.binary_search_by_key(&nibble, |(nibble, _)| *nibble)
        {
            changed.insert(at, (nibble, self.unchanged(path, node)?));
        }
        if changed.is_empty() { Ok(None) } else { self.close_branch(path, links, changed).map(Some) }
    }

    fn children_in_parallel(
        &mut self,
        path: &Nibbles,
        links: &Links,
        moved: Option<&(u8, Node)>,
        changes: &[Change],
    ) -> Result<Vec<(u8, Tree)>, TrieError> {
        let groups: Option<Vec<_>> = groups(path.len(), changes).collect();
        let groups = groups.ok_or_else(|| self.too_deep(path))?;
        let (reader, owner) = (self.reader, self.owner);
        let child = |(nibble, changes)| {
            let mut pass = Pass::new(reader, owner);
            let tree = pass.child(path, links, moved, nibble, changes)?;
            Ok((nibble, tree, pass))
        };
        let done = groups.into_par_iter().map(child).collect::<Result<Vec<_>, TrieError>>()?;
        let mut changed = Vec::with_capacity(done.len() + 1);
        for (nibble, tree, mut pass) in done {
            changed.extend(tree.map(|tree| (nibble, tree.behind(self.fresh.len()))));
            self.fresh.append(pass.fresh);
            self.gone.append(&mut pass.gone);
            self.unchecked.append(&mut pass.unchecked);
        }
        Ok(changed)
    }

    /// One child of the branch at `path`.
    fn child(
        &mut self,
        path: &Nibbles,
        links: &Links,
        moved: Option<&(u8, Node)>,
        nibble: u8,
        changes: &[Change],
    ) -> Result<Option<Tree>, TrieError> {
        let at = path::child(path, nibble).ok_or_else(|| self.too_deep(path))?;
        let old = match moved {
            Some((moved, node)) if *moved == nibble => Some(node.clone()),
            _ => self.load(&at, links.get(nibble))?,
        };
        self.update(&at, old, changes)
    }

    /// What a branch becomes with its children `changed`: still a branch, or what the last child makes of it.
    fn close_branch(
        &mut self,
        path: &Nibbles,
        links: &Links,
        changed: Vec<(u8, Tree)>,
    ) -> Result<Tree, TrieError> {
        let mut live: u16 = 0;
        for nibble in 0..16u8 {
            live |= u16::from(!links.get(nibble).is_empty()) << nibble;
        }
        for (nibble, tree) in &changed {
            let bit = 1 << nibble;
            live = if matches!(tree, Tree::Empty) { live & !bit } else { live | bit };
        }
        if live.count_ones() < 2 {
            return self.collapse(path, links, changed, live);
        }
        let mut replaced = Vec::with_capacity(changed.len());
        for (nibble, tree) in changed {
            let at = path::child(path, nibble).ok_or_else(|| self.too_deep(path))?;
            replaced.push((nibble, self.place(at, tree, links.is_stored(nibble))));
        }
        let mut children = Vec::with_capacity(replaced.len());
        encode_branch(links, &replaced, &mut self.buf, |child, offset| children.push((child, offset)));
        // It gets its place when it is placed.
        Ok(Tree::Branch(self.link(*path, &children)))
    }

    /// A branch that has at most one child left, the one in the set `live`.
    fn collapse(
        &mut self,
        path: &Nibbles,
        links: &Links,
        changed: Vec<(u8, Tree)>,
        live: u16,
    ) -> Result<Tree, TrieError> {
        let mut last = None;
        for (nibble, tree) in changed {
            if live & (1 << nibble) == 0 {
                let at = path::child(path, nibble).ok_or_else(|| self.too_deep(path))?;
                self.forget(at, links.is_stored(nibble));
            } else {
                last = Some(tree);
            }
        }
        if live == 0 {
            return Ok(Tree::Empty);
        }
        let nibble = u8::try_from(live.trailing_zeros()).unwrap_or_default();
        let at = path::child(path, nibble).ok_or_else(|| self.too_deep(path))?;
        let tree = match last {
            Some(tree) => tree,
            None => match self.load(&at, links.get(nibble))? {
                None => Tree::Empty,
                // It stays where it is, with its entry.
                Some(Node::Branch(_)) => {
                    let child = Link::Known(RlpNode::from_raw(links.get(nibble)).unwrap_or_default());
                    return Ok(Tree::Extension { key: path::single(nibble), child });
                }
                Some(node) => self.unchanged(&at, node)?,
            },
        };
        Ok(self.lower(path, &at, Some(tree), links.is_stored(nibble))?.unwrap_or(Tree::Empty))
    }

    /// Brings a subtree from `at` up to `path`, above it: a leaf or extension takes the nibbles between into
    /// its key, a branch stays and gets an extension. `stored` says whether there is an entry at `at`.
    fn lower(
        &mut self,
        path: &Nibbles,
        at: &Nibbles,
        tree: Option<Tree>,
        stored: bool,
    ) -> Result<Option<Tree>, TrieError> {
        let Some(tree) = tree else { return Ok(None) };
        let between = path::tail(at, path.len());
        if between.is_empty() {
            return Ok(Some(tree));
        }
        let longer = |key: &Nibbles| path::join(&between, key);
        Ok(Some(match tree {
            Tree::Branch(link) => {
                let child = self.place(*at, Tree::Branch(link), stored);
                Tree::Extension { key: between, child }
            }
            Tree::Empty => {
                self.forget(*at, stored);
                Tree::Empty
            }
            Tree::Leaf { key, value } => {
                self.forget(*at, stored);
                Tree::Leaf { key: longer(&key).ok_or_else(|| self.too_deep(at))?, value }
            }
            Tree::Extension { key, child } => {
                self.forget(*at, stored);
                Tree::Extension { key: longer(&key).ok_or_else(|| self.too_deep(at))?, child }
            }
        }))
    }

    /// A node that only moves.
    fn unchanged(&self, path: &Nibbles, node: Node) -> Result<Tree, TrieError> {
        match node {
            Node::Leaf { key, value } => Ok(Tree::Leaf { key, value: LeafValue::Raw(value) }),
            Node::Extension { key, child } => Ok(Tree::Extension { key, child: Link::Known(child) }),
            Node::Branch(_) => Err(self.corrupt(path, "a branch does not move")),
        }
    }

    /// Settles a subtree at `path`, where `stored` says whether there was an entry; returns the reference to
    /// it.
    fn place(&mut self, path: Nibbles, tree: Tree, stored: bool) -> Link {
        let link = match tree {
            Tree::Empty => Link::Known(RlpNode::default()),
            Tree::Branch(link) => {
                if let Link::Fresh(at) = link {
                    self.fresh.place(at, path);
                }
                link
            }
            Tree::Leaf { key, value } => {
                encode_leaf(&key, &value, &mut self.buf, &mut self.value_buf);
                self.link(path, &[])
            }
            Tree::Extension { key, child } => self.extend(path, &key, &child),
        };
        if !is_stored(link.as_slice()) {
            self.forget(path, stored);
        }
        link
    }

    /// Makes an extension.
    fn extend(&mut self, path: Nibbles, key: &Nibbles, child: &Link) -> Link {
        encode_extension(key, child.as_slice(), &mut self.buf);
        match child {
            Link::Known(_) => self.link(path, &[]),
            Link::Fresh(at) => self.link(path, &[(*at, self.buf.len().saturating_sub(HASH_LEN))]),
        }
    }

    /// The reference to the node in the buffer, which is kept as a new one unless it is short.
    fn link(&mut self, path: Nibbles, children: &[(usize, usize)]) -> Link {
        match RlpNode::from_raw(&self.buf) {
            Some(inline) if inline.len() < HASH_LEN => Link::Known(inline),
            _ => self.fresh.push(path, &self.buf, children),
        }
    }

    /// Settles the root, which is kept however short it is; returns its place among the new nodes.
    fn place_root(&mut self, tree: Tree) -> usize {
        let link = self.place(Nibbles::new(), tree, false);
        let link = match link {
            Link::Fresh(_) => link,
            Link::Known(inline) => self.fresh.push(Nibbles::new(), &inline, &[]),
        };
        match link {
            Link::Fresh(at) => at,
            Link::Known(_) => 0,
        }
    }

    fn forget(&mut self, path: Nibbles, stored: bool) {
        if stored {
            self.gone.push(path);
        }
    }

    /// The value that `change` puts where `old` was; `None` if it deletes.
    fn resolve(&self, change: &Change, old: Option<&Bytes>) -> Result<Option<LeafValue>, TrieError> {
        let (account, storage) = match &change.value {
            Value::Delete => return Ok(None),
            Value::Slot(value) => return Ok(Some(LeafValue::Slot(*value))),
            #[cfg(test)]
            Value::Raw(value) => return Ok(Some(LeafValue::Raw(value.clone()))),
            Value::Account { account, storage } => (account, *storage),
        };
        let before = match old {
            None => EMPTY_ROOT_HASH,
            Some(leaf) => {
                let read = TrieAccount::decode(&mut &leaf[..]);
                read.map_err(|_| self.corrupt(&change.key, "leaf is no account"))?.storage_root
            }
        };
        let storage_root = match storage {
            StorageRoot::Unchanged => before,
            StorageRoot::Changed { old, new } if old == before => new,
            StorageRoot::Changed { .. } => {
                let owner = Owner::Storage(B256::from_slice(&change.key.pack()));
                return Err(TrieError::HashMismatch { owner, path: Nibbles::new() });
            }
        };
        let (nonce, balance, code_hash) = (account.nonce, account.balance, account.code_hash);
        Ok(Some(LeafValue::Account(TrieAccount { nonce, balance, storage_root, code_hash })))
    }
}

#[cfg(test)]
mod tests;
