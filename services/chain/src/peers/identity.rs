//! Which p2p instances are linked, and which identity each has: the lowest that is free, or the one that it held before
//! if that is free.

use std::collections::BTreeMap;

/// A link, by a number that is never used again.
pub(crate) type LinkNumber = u64;

/// The linked instances.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    linked: BTreeMap<[u8; 16], (LinkNumber, u32)>,
    next: LinkNumber,
}

/// A link that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Its number.
    pub(crate) link: LinkNumber,
    /// The instance's identity.
    pub(crate) identity: u32,
    /// The link of the same instance that it takes the place of.
    pub(crate) replaces: Option<LinkNumber>,
}

impl Instances {
    /// An instance opens a link.
    pub(crate) fn join(&mut self, instance: [u8; 16], held: Option<u32>) -> Joined {
        let link = self.next;
        self.next = self.next.wrapping_add(1);
        let old = self.linked.remove(&instance);
        let is_free = |identity: &u32| self.linked.values().all(|(_, taken)| taken != identity);
        let held = held.or(old.map(|(_, identity)| identity)).filter(is_free);
        // There are more identities than instances.
        let identity = held.or_else(|| (0..=u32::MAX).find(is_free)).unwrap_or(u32::MAX);
        self.linked.insert(instance, (link, identity));
        Joined { link, identity, replaces: old.map(|(link, _)| link) }
    }

    /// A link has ended.
    pub(crate) fn leave(&mut self, link: LinkNumber) {
        self.linked.retain(|_, (number, _)| *number != link);
    }

    /// How many are linked.
    pub(crate) fn len(&self) -> usize {
        self.linked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Instances;

    #[test]
    fn the_lowest_free_identity_is_given() {
        let mut instances = Instances::default();
        let links: Vec<_> = (0..3).map(|n| instances.join([n; 16], None)).collect();
        assert_eq!(links.iter().map(|joined| joined.identity).collect::<Vec<_>>(), [0, 1, 2]);
        instances.leave(links[1].link);
        assert_eq!(instances.join([9; 16], None).identity, 1);
        assert_eq!(instances.join([8; 16], Some(2)).identity, 3, "held by another");
        assert_eq!(instances.join([7; 16], Some(40)).identity, 40);
        assert_eq!(instances.len(), 5);
    }

    #[test]
    fn the_same_instance_replaces_its_link_and_keeps_its_identity() {
        let mut instances = Instances::default();
        instances.join([1; 16], None);
        let first = instances.join([2; 16], None);
        let again = instances.join([2; 16], Some(1));
        assert_eq!((again.identity, again.replaces), (1, Some(first.link)));
        // The old link's end comes later, and is nothing to the new one.
        instances.leave(first.link);
        assert_eq!(instances.len(), 2);
        assert_eq!(instances.join([2; 16], None).identity, 1);
        // Held identities decide after a restart, in whatever order the instances come.
        let mut restarted = Instances::default();
        assert_eq!(restarted.join([2; 16], Some(1)).identity, 1);
        assert_eq!(restarted.join([1; 16], Some(0)).identity, 0);
    }
}
