//! A map that forgets what was not touched for longest when it is full.

use alloy_primitives::map::HashMap;
use std::collections::BTreeMap;
use std::hash::Hash;

/// At most `capacity` values by key, in the order of their last touch.
#[derive(Clone, Debug)]
pub(crate) struct Recent<K, V> {
    capacity: usize,
    touches: u64,
    values: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, touches: 0, values: HashMap::default(), order: BTreeMap::new() }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    /// The value of this key, made by `make` if there is none, touched now; and what was forgotten for it.
    pub(crate) fn touch(&mut self, key: K, make: impl FnOnce() -> V) -> (&mut V, Option<(K, V)>) {
        self.touches = self.touches.saturating_add(1);
        let mut forgotten = None;
        if let Some((touched, _)) = self.values.get(&key) {
            self.order.remove(touched);
        } else if self.values.len() >= self.capacity {
            let oldest = self.order.pop_first().map(|(_, oldest)| oldest);
            forgotten = oldest.and_then(|oldest| Some((oldest, self.values.remove(&oldest)?.1)));
        }
        self.order.insert(self.touches, key);
        let (touched, value) = self.values.entry(key).or_insert_with(|| (0, make()));
        *touched = self.touches;
        (value, forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_untouched_is_forgotten() {
        let mut recent = Recent::new(2);
        assert_eq!(recent.touch(1, || 'a'), (&mut 'a', None));
        recent.touch(2, || 'b');
        assert_eq!(recent.touch(1, || 'z'), (&mut 'a', None));
        assert_eq!(recent.touch(3, || 'c').1, Some((2, 'b')));
        assert_eq!((recent.get(&1), recent.get(&2), recent.len()), (Some(&'a'), None, 2));
        assert_eq!(recent.order.len(), 2);
    }
}
