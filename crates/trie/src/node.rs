//! Nodes as RLP: read from a store, where any bytes may turn up, and written.

use crate::fresh::Link;
use crate::path::MAX_LEN;
use alloy_primitives::{B256, Bytes, U256};
use alloy_rlp::{EMPTY_STRING_CODE, Encodable, Header};
use alloy_trie::nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode};
use alloy_trie::{Nibbles, TrieAccount};

/// Bytes of a hash.
pub(crate) const HASH_LEN: usize = 32;
/// What the RLP of a hash begins with.
pub(crate) const HASH_CODE: u8 = EMPTY_STRING_CODE + 32;
const BRANCH_WIDTH: usize = 16;
/// What the RLP of a branch begins with whose children are all named by hashes, and its length.
const FULL_BRANCH: [u8; 3] = [0xf9, 0x02, 0x11];
const FULL_BRANCH_LEN: usize = FULL_BRANCH.len() + BRANCH_WIDTH * (HASH_LEN + 1) + 1;

/// A node as read.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Leaf { key: Nibbles, value: Bytes },
    Extension { key: Nibbles, child: RlpNode },
    Branch(Links),
}

/// A branch's children, in place in its RLP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    rlp: Bytes,
    /// Where each child begins, and where the last one ends.
    bounds: [u16; BRANCH_WIDTH + 1],
}

impl Links {
    /// The links of a branch whose children are all named by hashes, as those of the upper levels are; `None`
    /// if it is another node.
    fn full(rlp: &Bytes) -> Option<Self> {
        let (header, items) = rlp.split_first_chunk()?;
        let (children, value) = items.as_chunks::<{ HASH_LEN + 1 }>();
        let is_full = *header == FULL_BRANCH
            && children.len() == BRANCH_WIDTH
            && children.iter().all(|[first, ..]| *first == HASH_CODE)
            && *value == [EMPTY_STRING_CODE];
        let mut bounds = [0; BRANCH_WIDTH + 1];
        for (bound, at) in bounds.iter_mut().zip((FULL_BRANCH.len()..).step_by(HASH_LEN + 1)) {
            *bound = u16::try_from(at).ok()?;
        }
        is_full.then(|| Self { rlp: rlp.clone(), bounds })
    }

    /// A branch with one child, which no store ever holds: one that is just being made.
    pub(crate) fn lone(nibble: u8, child: &RlpNode) -> Self {
        let end = u16::try_from(child.len()).unwrap_or_default();
        let mut bounds = [0; BRANCH_WIDTH + 1];
        for bound in bounds.iter_mut().skip(usize::from(nibble) + 1) {
            *bound = end;
        }
        Self { rlp: Bytes::copy_from_slice(child), bounds }
    }

    /// The child's reference: its hash or its own RLP, each as an RLP item; empty when there is no child.
    pub(crate) fn get(&self, nibble: u8) -> &[u8] {
        let at = usize::from(nibble);
        let bound = |at: usize| self.bounds.get(at).copied().map_or(0, usize::from);
        match self.rlp.get(bound(at)..bound(at + 1)) {
            None | Some([EMPTY_STRING_CODE]) => &[],
            Some(link) => link,
        }
    }

    /// Whether the child has an entry of its own.
    pub(crate) fn is_stored(&self, nibble: u8) -> bool {
        is_stored(self.get(nibble))
    }
}

/// Whether the node that `link` refers to has an entry of its own: it is named by its hash.
pub(crate) fn is_stored(link: &[u8]) -> bool {
    link.first() == Some(&HASH_CODE)
}

/// The hash that `link` names its node by, unless the node is inline.
pub(crate) fn link_hash(link: &[u8]) -> Option<B256> {
    let (&HASH_CODE, hash) = link.split_first()? else { return None };
    B256::try_from(hash).ok()
}

/// A leaf's value: as read, or not yet encoded.
#[derive(Clone, Debug)]
pub(crate) enum LeafValue {
    Raw(Bytes),
    Slot(U256),
    Account(TrieAccount),
}

impl LeafValue {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        match self {
            Self::Raw(bytes) => out.extend_from_slice(bytes),
            Self::Slot(value) => value.encode(out),
            Self::Account(account) => account.encode(out),
        }
    }
}

/// Encodes a leaf into `out`, using `value_buf` on the way.
pub(crate) fn encode_leaf(key: &Nibbles, value: &LeafValue, out: &mut Vec<u8>, value_buf: &mut Vec<u8>) {
    value.encode(value_buf);
    out.clear();
    LeafNodeRef::new(key, value_buf).encode(out);
}

/// Encodes an extension into `out`. The child's link is the last thing in it.
pub(crate) fn encode_extension(key: &Nibbles, child: &[u8], out: &mut Vec<u8>) {
    out.clear();
    ExtensionNodeRef::new(key, child).encode(out);
}

/// Encodes the branch that `links` becomes with `changed` children (in order, empty for a child that is
/// gone). Tells `place` where the link of each new child went.
pub(crate) fn encode_branch(
    links: &Links,
    changed: &[(u8, Link)],
    out: &mut Vec<u8>,
    mut place: impl FnMut(usize, usize),
) {
    let mut children: [&[u8]; BRANCH_WIDTH] = [&[]; BRANCH_WIDTH];
    let mut next = changed.iter().peekable();
    let mut payload_length = 1;
    for (nibble, slot) in (0u8..).zip(children.iter_mut()) {
        *slot = match next.next_if(|(at, _)| *at == nibble) {
            Some((_, link)) => link.as_slice(),
            None => links.get(nibble),
        };
        payload_length += slot.len().max(1);
    }
    out.clear();
    Header { list: true, payload_length }.encode(out);
    let mut next = changed.iter().peekable();
    for (nibble, child) in (0u8..).zip(children) {
        if let Some((_, Link::Fresh(fresh))) = next.next_if(|(at, _)| *at == nibble) {
            place(*fresh, out.len() + 1);
        }
        if child.is_empty() {
            out.push(EMPTY_STRING_CODE);
        } else {
            out.extend_from_slice(child);
        }
    }
    out.push(EMPTY_STRING_CODE);
}

impl Node {
    /// Reads a node; the error says what is wrong with it.
    pub(crate) fn decode(rlp: &Bytes) -> Result<Self, &'static str> {
        if rlp.len() == FULL_BRANCH_LEN
            && let Some(links) = Links::full(rlp)
        {
            return Ok(Self::Branch(links));
        }
        let mut payload: &[u8] = rlp;
        let header = Header::decode(&mut payload).map_err(|_| "not RLP")?;
        if !header.list || header.payload_length != payload.len() {
            return Err("not one RLP list");
        }
        let mut bounds = [0u16; BRANCH_WIDTH + 1];
        let mut items = 0;
        let mut rest = payload;
        for bound in &mut bounds {
            *bound = u16::try_from(rlp.len() - rest.len()).map_err(|_| "too long")?;
            if rest.is_empty() {
                break;
            }
            items += 1;
            rest = skip_item(rest).ok_or("not RLP")?;
        }
        match items {
            2 => Self::decode_short(rlp, payload),
            17 => Self::decode_branch(rlp, bounds, rest),
            _ => Err("neither two items nor seventeen"),
        }
    }

    fn decode_branch(
        rlp: &Bytes,
        bounds: [u16; BRANCH_WIDTH + 1],
        rest: &[u8],
    ) -> Result<Self, &'static str> {
        let value = bounds.last().and_then(|&at| rlp.get(usize::from(at)..));
        if !rest.is_empty() {
            return Err("more than seventeen items");
        }
        if value != Some(&[EMPTY_STRING_CODE]) {
            return Err("branch with a value");
        }
        let links = Links { rlp: rlp.clone(), bounds };
        let mut children = 0;
        for nibble in 0..16 {
            let link = links.get(nibble);
            if !link.is_empty() {
                check_link(link)?;
                children += 1;
            }
        }
        if children < 2 { Err("branch with fewer than two children") } else { Ok(Self::Branch(links)) }
    }

    fn decode_short(rlp: &Bytes, mut payload: &[u8]) -> Result<Self, &'static str> {
        let encoded = Header::decode_bytes(&mut payload, false).map_err(|_| "key is no string")?;
        let (is_leaf, key) = decode_key(encoded)?;
        if is_leaf {
            let value = Header::decode_bytes(&mut payload, false).map_err(|_| "value is no string")?;
            if value.is_empty() {
                return Err("leaf without a value");
            }
            return Ok(Self::Leaf { key, value: rlp.slice(rlp.len().saturating_sub(value.len())..) });
        }
        if key.is_empty() {
            return Err("extension without a key");
        }
        check_link(payload)?;
        let child = RlpNode::from_raw(payload).ok_or("child is no node reference")?;
        Ok(Self::Extension { key, child })
    }
}

/// What follows the first RLP item of `buf`.
fn skip_item(buf: &[u8]) -> Option<&[u8]> {
    match *buf.first()? {
        EMPTY_STRING_CODE => buf.get(1..),
        HASH_CODE => buf.get(33..),
        _ => {
            let mut rest = buf;
            let header = Header::decode(&mut rest).ok()?;
            rest.get(header.payload_length..)
        }
    }
}

/// A reference to a node is its hash, or its RLP if that is shorter than a hash.
fn check_link(link: &[u8]) -> Result<(), &'static str> {
    match link.first() {
        Some(&HASH_CODE) if link.len() == 33 => Ok(()),
        Some(0xc1..=0xde) if link.len() < 32 => Ok(()),
        _ => Err("child is no node reference"),
    }
}

/// Reads a hex-prefix encoded key: whether it is a leaf's, and its nibbles.
fn decode_key(encoded: &[u8]) -> Result<(bool, Nibbles), &'static str> {
    let (&first, rest) = encoded.split_first().ok_or("empty key")?;
    let odd = first & 0x10 != 0;
    if first & 0xc0 != 0 || (!odd && first & 0x0f != 0) {
        return Err("key with a wrong prefix");
    }
    if rest.len() * 2 + usize::from(odd) > MAX_LEN {
        return Err("key too long");
    }
    let mut key = Nibbles::new();
    if odd {
        key.push_unchecked(first & 0x0f);
    }
    Ok((first & 0x20 != 0, key.join(&Nibbles::unpack(rest))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_survive_a_round_trip() {
        let (mut out, mut value) = (Vec::new(), Vec::new());
        for len in 0..=64 {
            let key = Nibbles::from_nibbles((0..len).map(|n| n % 16).collect::<Vec<_>>());
            encode_leaf(&key, &LeafValue::Slot(U256::from(77)), &mut out, &mut value);
            let Ok(Node::Leaf { key: read, value }) = Node::decode(&out.clone().into()) else { panic!() };
            assert_eq!((read, &value[..]), (key, &[77][..]));
            if len > 0 {
                let link = RlpNode::word_rlp(&B256::repeat_byte(len));
                encode_extension(&key, &link, &mut out);
                let Ok(Node::Extension { key: read, child }) = Node::decode(&out.clone().into()) else {
                    panic!()
                };
                assert_eq!((read, child), (key, link));
            }
        }
    }

    fn known(link: &RlpNode) -> Link {
        Link::Known(link.clone())
    }

    fn no_place(child: usize, _: usize) {
        panic!("child {child} is not new");
    }

    #[test]
    fn full_branches_are_as_any() {
        let links: Vec<_> =
            (0..16u8).map(|n| (n, known(&RlpNode::word_rlp(&B256::repeat_byte(n))))).collect();
        let mut full = Vec::new();
        encode_branch(&Links::default(), &links, &mut full, no_place);
        assert_eq!(full.len(), FULL_BRANCH_LEN);
        let Ok(Node::Branch(read)) = Node::decode(&full.clone().into()) else { panic!() };
        assert!(links.iter().all(|(nibble, link)| read.get(*nibble) == link.as_slice()));
        let mut again = Vec::new();
        encode_branch(&read, &[], &mut again, no_place);
        assert_eq!(again, full);
        for at in [0, 1, 2, 3, 36, FULL_BRANCH_LEN - 1] {
            let mut damaged = full.clone();
            damaged[at] ^= 1;
            assert!(Node::decode(&damaged.into()).is_err(), "{at}");
        }
    }

    #[test]
    fn branches_change_by_child() {
        let mut out = Vec::new();
        let (hash, inline) = (RlpNode::word_rlp(&B256::repeat_byte(7)), RlpNode::from_raw(&[0xc2, 0x31, 5]));
        let inline = inline.unwrap();
        encode_branch(&Links::default(), &[(0, known(&hash)), (15, known(&inline))], &mut out, no_place);
        let Ok(Node::Branch(links)) = Node::decode(&out.clone().into()) else { panic!() };
        assert_eq!((links.get(0), links.get(1), links.get(15)), (&hash[..], &[][..], &inline[..]));
        assert!(links.is_stored(0) && !links.is_stored(15) && !links.is_stored(1));
        let first = out.clone();
        encode_branch(&links, &[(0, known(&RlpNode::default())), (3, known(&hash))], &mut out, no_place);
        let Ok(Node::Branch(links)) = Node::decode(&out.clone().into()) else { panic!() };
        assert_eq!((links.get(0), links.get(3), links.get(15)), (&[][..], &hash[..], &inline[..]));
        encode_branch(&links, &[(0, known(&hash)), (3, known(&RlpNode::default()))], &mut out, no_place);
        assert_eq!(out, first);
    }

    #[test]
    fn malformed_nodes_are_refused() {
        let mut full = vec![0xd1];
        full.extend([0x80; 17]);
        let cases: &[&[u8]] = &[&[], &[0x80], &[0xc0], &[0xc1, 0x20], &[0xc2, 0x00, 0x01], &full];
        for bytes in cases {
            assert!(Node::decode(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_decode_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let list = [&[0xc0 + u8::try_from(bytes.len().min(55)).unwrap()], &bytes[..bytes.len().min(55)]];
            let _ = Node::decode(&list.concat().into());
            let _ = Node::decode(&bytes.into());
        }
    }
}
