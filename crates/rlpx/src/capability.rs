//! Which protocols two nodes have in common, and which message codes each of them gets (devp2p `rlpx.md`,
//! "Message ID-based Multiplexing").

use std::collections::BTreeMap;
use std::fmt;

use crate::base;

/// A protocol beside the base protocol, in one of its versions. Ordered by name, then version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability {
    /// The protocol's name, as `eth`; case matters.
    pub name: String,
    /// The protocol's version.
    pub version: u64,
}

impl Capability {
    /// The capability with this name and version.
    pub fn new(name: &str, version: u64) -> Self {
        Self { name: name.to_owned(), version }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// A capability that both sides have, and its message codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The highest version that both have.
    pub capability: Capability,
    /// The code of the protocol's message 0 in this session.
    pub offset: u64,
    /// How many codes the protocol has.
    pub length: u64,
}

/// How many message codes a protocol has, as geth counts them; `None` for one that we do not know.
pub fn protocol_length(capability: &Capability) -> Option<u64> {
    match (capability.name.as_str(), capability.version) {
        ("eth", 62) | ("snap", 1) => Some(8),
        ("eth", 63..=68) => Some(17),
        ("eth", 69) => Some(18),
        _ => None,
    }
}

/// What both sides have, ordered by name, with codes from 16 on. Of a protocol's versions the highest counts; what
/// [`protocol_length`] does not know is left out of ours. An empty answer is a peer to part from as useless.
pub fn shared_capabilities(ours: &[Capability], theirs: &[Capability]) -> Vec<Shared> {
    let mut highest: BTreeMap<&str, (&Capability, u64)> = BTreeMap::new();
    for capability in ours.iter().filter(|capability| theirs.contains(capability)) {
        let Some(length) = protocol_length(capability) else { continue };
        let entry = highest.entry(&capability.name).or_insert((capability, length));
        if entry.0.version < capability.version {
            *entry = (capability, length);
        }
    }
    let mut next = base::LENGTH;
    let mut shared = Vec::with_capacity(highest.len());
    for (capability, length) in highest.into_values() {
        shared.push(Shared { capability: capability.clone(), offset: next, length });
        next = next.saturating_add(length);
    }
    shared
}

/// What a peer has and this session does not carry: protocols that we do not speak, and other versions of those
/// that we do. For logs.
pub fn unshared(shared: &[Shared], theirs: &[Capability]) -> Vec<Capability> {
    let carried = |capability: &&Capability| !shared.iter().any(|shared| shared.capability == **capability);
    theirs.iter().filter(carried).cloned().collect()
}

/// The capability that a message code belongs to, and the code as that protocol numbers it. `None` for codes of the
/// base protocol, and for those that belong to nothing: those a peer must not send.
pub fn find_shared(shared: &[Shared], code: u64) -> Option<(&Shared, u64)> {
    shared.iter().find_map(|shared| {
        let own = code.checked_sub(shared.offset)?;
        (own < shared.length).then_some((shared, own))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(text: &str) -> Vec<Capability> {
        let parse = |word: &str| {
            let (name, version) = word.split_once('/').unwrap();
            Capability::new(name, version.parse().unwrap())
        };
        text.split_whitespace().map(parse).collect()
    }

    fn matched(ours: &str, theirs: &str) -> Vec<(String, u64, u64)> {
        let shared = shared_capabilities(&capabilities(ours), &capabilities(theirs));
        shared
            .into_iter()
            .map(|shared| (shared.capability.to_string(), shared.offset, shared.length))
            .collect()
    }

    #[test]
    fn the_highest_common_version_counts_and_names_are_in_order() {
        let ours = "snap/1 eth/66 eth/69 eth/68 eth/63";
        assert_eq!(
            matched(ours, "eth/66 eth/67 eth/68 snap/1"),
            [("eth/68".into(), 16, 17), ("snap/1".into(), 33, 8)]
        );
        assert_eq!(matched(ours, "snap/1 eth/69"), [("eth/69".into(), 16, 18), ("snap/1".into(), 34, 8)]);
        assert_eq!(matched(ours, "eth/62 eth/63"), [("eth/63".into(), 16, 17)]);
        assert_eq!(matched(ours, "snap/1 snap/1 snap/2"), [("snap/1".into(), 16, 8)]);
        assert_eq!(matched(ours, "eth/64 les/2 ETH/68"), []);
        assert_eq!(matched(ours, ""), []);
        // A protocol whose length is not known cannot be given codes.
        assert_eq!(matched("abc/1 eth/68", "abc/1 eth/68"), [("eth/68".into(), 16, 17)]);
    }

    #[test]
    fn what_is_not_carried_is_told() {
        let theirs = capabilities("eth/68 eth/70 les/4");
        let shared = shared_capabilities(&capabilities("eth/68"), &theirs);
        assert_eq!(unshared(&shared, &theirs), capabilities("eth/70 les/4"));
    }

    #[test]
    fn codes_find_their_capability() {
        let both = capabilities("eth/68 snap/1");
        let shared = shared_capabilities(&both, &both);
        let found =
            |code| find_shared(&shared, code).map(|(shared, own)| (shared.capability.to_string(), own));
        assert_eq!(found(0), None);
        assert_eq!(found(15), None);
        assert_eq!(found(16), Some(("eth/68".into(), 0)));
        assert_eq!(found(32), Some(("eth/68".into(), 16)));
        assert_eq!(found(33), Some(("snap/1".into(), 0)));
        assert_eq!(found(40), Some(("snap/1".into(), 7)));
        assert_eq!(found(41), None);
        assert_eq!(found(u64::MAX), None);
    }
}
