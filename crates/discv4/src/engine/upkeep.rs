//! The passing of time: deadlines, checks of the table, refreshes, and the steps of lookups.

use super::{
    Discv4, EMPTY_REFRESH_INTERVAL, MAX_LOOKUPS, REFRESH_INTERVAL, REVALIDATE_INTERVAL, SEED_COUNT,
    SEED_MAX_AGE,
};
use crate::action::{Action, LookupId, LookupResult};
use crate::error::RequestError;
use crate::lookup::Lookup;
use crate::table::BUCKET_SIZE;
use crate::tasks::Goal;
use alloy_primitives::B256;
use quintet_enode::{Enode, PublicKey};
use rand::{Rng as _, RngCore as _};
use std::time::Duration;

/// Lookups of chance that a refresh makes after the one for ourselves.
const RANDOM_LOOKUPS: usize = 3;

impl Discv4 {
    /// Does what is due: ends what took too long, checks a node of the table, refreshes the table.
    pub fn tick(&mut self, now: Duration) {
        for task in self.tasks.take_expired(now) {
            self.finish(now, &task);
        }
        if is_due(now, self.revalidate_at, REVALIDATE_INTERVAL) {
            let pause = self.rng.random_range(Duration::ZERO..REVALIDATE_INTERVAL);
            self.revalidate_at = now.saturating_add(pause);
            self.revalidate(now);
        }
        if is_due(now, self.refresh_at, REFRESH_INTERVAL) {
            self.refresh_at = now.saturating_add(REFRESH_INTERVAL);
            self.refresh(now);
        }
    }

    fn revalidate(&mut self, now: Duration) {
        if let Some(last) = self.table.random_last(&mut self.rng) {
            let (node, peer) = (last.enode, (last.node_id, last.enode.ip));
            if self.tasks.of(&peer).any(|task| task.goal == Goal::Revalidate) {
                return;
            }
            // When too much is under way, another one is checked in a moment.
            self.start(now, node, Goal::Revalidate).ok();
        }
    }

    fn refresh(&mut self, now: Duration) {
        if !self.refreshing.is_empty() {
            return;
        }
        self.act(Action::WantSeeds { count: SEED_COUNT, max_age: SEED_MAX_AGE });
        for node in self.bootnodes.clone() {
            if self.reachable(&node).is_ok() {
                self.table_add_seen(now, node);
            }
        }
        // Our neighbourhood first. The lookup may end before it is listed as the refresh's.
        match self.start_lookup(now, self.public_key) {
            Ok(id) if self.lookups.contains_key(&id) => self.refreshing.push(id),
            Ok(_) => self.refresh_ended(now),
            Err(RequestError::Busy | RequestError::NotReachable) => {
                self.refresh_at = now.saturating_add(EMPTY_REFRESH_INTERVAL);
            }
        }
    }

    fn refresh_ended(&mut self, now: Duration) {
        let first = !std::mem::replace(&mut self.initialized, true);
        if self.table.is_empty() {
            self.refresh_at = self.refresh_at.min(now.saturating_add(EMPTY_REFRESH_INTERVAL));
        } else if first {
            // Whoever waits for a full table has waited for this.
            self.revalidate(now);
        }
    }

    pub(super) fn random_target(&mut self) -> PublicKey {
        let mut target = PublicKey::ZERO;
        self.rng.fill_bytes(target.as_mut_slice());
        target
    }

    pub(super) fn start_lookup(
        &mut self,
        now: Duration,
        target: PublicKey,
    ) -> Result<LookupId, RequestError> {
        if self.lookups.len() >= MAX_LOOKUPS {
            return Err(RequestError::Busy);
        }
        let id = LookupId(self.new_id());
        let mut lookup = Lookup::new(self.node_id, target);
        let known = self.table.closest(&lookup.target_id(), BUCKET_SIZE, false);
        let seen = lookup.add(known.into_iter().map(|node| node.enode), 0);
        self.actions.extend(seen.into_iter().map(Action::NodeSeen));
        self.lookups.insert(id, lookup);
        self.drive(now, id);
        Ok(id)
    }

    pub(super) fn lookup_answered(
        &mut self,
        now: Duration,
        id: LookupId,
        node: &B256,
        named: &[Enode],
        depth: u32,
    ) {
        if let Some(lookup) = self.lookups.get_mut(&id) {
            lookup.answered(node);
            let seen = lookup.add(named.iter().copied(), depth.saturating_add(1));
            self.actions.extend(seen.into_iter().map(Action::NodeSeen));
            self.drive(now, id);
        }
    }

    pub(super) fn lookup_failed(&mut self, now: Duration, id: LookupId, node: &B256) {
        if let Some(lookup) = self.lookups.get_mut(&id) {
            lookup.failed(node);
            self.drive(now, id);
        }
    }

    /// Asks whom the lookup wants to ask, and ends it when that is nobody.
    fn drive(&mut self, now: Duration, id: LookupId) {
        while let Some((node, depth)) = self.lookups.get_mut(&id).and_then(Lookup::next) {
            if self.start(now, node, Goal::FindNode(id, depth)).is_err()
                && let Some(lookup) = self.lookups.get_mut(&id)
            {
                lookup.failed(&node.node_id());
            }
        }
        if self.lookups.get(&id).is_some_and(Lookup::is_done)
            && let Some(lookup) = self.lookups.remove(&id)
        {
            let (nodes, hops, queries) = (lookup.closest(), lookup.hops(), lookup.queries());
            self.act(Action::LookupFinished(LookupResult {
                id,
                target: lookup.target,
                nodes,
                hops,
                queries,
            }));
            self.refresh_goes_on(now, id, lookup.target);
        }
    }

    fn refresh_goes_on(&mut self, now: Duration, ended: LookupId, target: PublicKey) {
        let Some(index) = self.refreshing.iter().position(|id| *id == ended) else { return };
        self.refreshing.swap_remove(index);
        if target == self.public_key {
            for _ in 0..RANDOM_LOOKUPS {
                let target = self.random_target();
                let started = self.start_lookup(now, target).ok();
                self.refreshing.extend(started.filter(|id| self.lookups.contains_key(id)));
            }
            self.refresh_ended(now);
        }
    }
}

/// Whether a time came, or lies so far ahead that the clock must have gone back.
fn is_due(now: Duration, at: Duration, interval: Duration) -> bool {
    at <= now || at > now.saturating_add(interval)
}
