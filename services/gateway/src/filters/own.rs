//! Filters in this process's memory.

use super::{Cursor, EXPIRY, Held, Kind, MOST, MOST_OF_OWNER, not_found, random_id, too_many};
use crate::error::RpcError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Instant;

#[derive(Debug)]
struct Entry {
    polled: Instant,
    owner: Box<str>,
    held: Held,
}

impl Entry {
    fn is_alive(&self, now: Instant) -> bool {
        now.duration_since(self.polled) < EXPIRY
    }
}

/// The filters, by their ids.
#[derive(Debug, Default)]
pub(crate) struct OwnFilters {
    by_id: Mutex<HashMap<String, Entry>>,
}

impl OwnFilters {
    pub(super) fn install(&self, kind: Kind, cursor: Cursor, owner: &str) -> Result<String, RpcError> {
        let mut filters = self.by_id.lock();
        let now = Instant::now();
        if filters.len() >= MOST_OF_OWNER {
            filters.retain(|_, entry| entry.is_alive(now));
            let of_owner = filters.values().filter(|entry| *entry.owner == *owner).count();
            if filters.len() >= MOST || of_owner >= MOST_OF_OWNER {
                return Err(too_many());
            }
        }
        let id = random_id();
        let held = Held { kind, cursor, version: 0 };
        filters.insert(id.clone(), Entry { polled: now, owner: owner.into(), held });
        Ok(id)
    }

    pub(super) fn get(&self, id: &str) -> Result<Held, RpcError> {
        let mut filters = self.by_id.lock();
        let now = Instant::now();
        let entry = filters.get_mut(id).ok_or_else(not_found)?;
        if !entry.is_alive(now) {
            filters.remove(id);
            return Err(not_found());
        }
        entry.polled = now;
        Ok(entry.held.clone())
    }

    pub(super) fn advance(&self, id: &str, found: &Held, cursor: Cursor) -> Result<bool, RpcError> {
        let mut filters = self.by_id.lock();
        let entry = filters.get_mut(id).ok_or_else(not_found)?;
        if entry.held.version != found.version {
            return Ok(false);
        }
        entry.held.version += 1;
        entry.held.cursor = cursor;
        Ok(true)
    }

    pub(super) fn uninstall(&self, id: &str) -> bool {
        self.by_id.lock().remove(id).is_some()
    }

    pub(super) fn expire(&self) {
        let now = Instant::now();
        self.by_id.lock().retain(|_, entry| entry.is_alive(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(place: &str) -> Cursor {
        Cursor::Pool(place.to_owned())
    }

    #[test]
    fn a_cursor_moves_from_where_it_was_found() {
        let filters = OwnFilters::default();
        let id = filters.install(Kind::Blocks, pool("1"), "me").expect("installed");
        let found = filters.get(&id).expect("there");
        assert_eq!(filters.advance(&id, &found, pool("2")), Ok(true));
        assert_eq!(filters.advance(&id, &found, pool("3")), Ok(false));
        assert_eq!(filters.get(&id).expect("there").cursor, pool("2"));
        assert!(filters.uninstall(&id) && !filters.uninstall(&id));
        assert_eq!(filters.get(&id).err(), Some(not_found()));
    }

    #[test]
    fn one_owner_leaves_room_for_others() {
        let filters = OwnFilters::default();
        for _ in 0..MOST_OF_OWNER {
            filters.install(Kind::Blocks, pool("1"), "greedy").expect("installed");
        }
        assert_eq!(filters.install(Kind::Blocks, pool("1"), "greedy").err(), Some(too_many()));
        assert!(filters.install(Kind::Blocks, pool("1"), "modest").is_ok());
    }
}
