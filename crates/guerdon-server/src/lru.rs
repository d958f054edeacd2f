//! A map of bounded size that forgets the entry that was not used for the longest time.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map of bounded size.
#[derive(Debug)]
pub(crate) struct LruMap<K, V> {
    entries: HashMap<K, (u64, V)>,
    /// Keys by the time of their last use.
    used: BTreeMap<u64, K>,
    clock: u64,
    capacity: usize,
}

impl<K: Eq + Hash + Clone, V> LruMap<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), used: BTreeMap::new(), clock: 0, capacity }
    }

    /// The value of `key`, made by `make` if there is none. This is a use of it.
    pub(crate) fn get_or_insert(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.clock += 1;
        if !self.entries.contains_key(&key)
            && self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.used.pop_first()
        {
            self.entries.remove(&oldest);
        }
        let clock = self.clock;
        let (last, value) = self.entries.entry(key.clone()).or_insert_with(|| (clock, make()));
        self.used.remove(last);
        self.used.insert(clock, key);
        *last = clock;
        value
    }

    /// The value of `key`, without a use of it.
    pub(crate) fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.used.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_that_was_not_used_for_the_longest_time_is_forgotten() {
        let mut map = LruMap::new(2);
        *map.get_or_insert('a', || 0) = 1;
        map.get_or_insert('b', || 2);
        map.get_or_insert('a', || 9);
        map.get_or_insert('c', || 3);
        assert_eq!((map.peek(&'a'), map.peek(&'b'), map.peek(&'c')), (Some(&1), None, Some(&3)));
        for key in 'd'..'z' {
            map.get_or_insert(key, || 0);
            assert_eq!(map.len(), 2);
        }
    }
}
