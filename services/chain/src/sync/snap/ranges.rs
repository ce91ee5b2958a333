//! The first pass over a state: all accounts with their slots and codes, in ranges of hashes that are fetched side by side.
//!
//! What must hold: slots are those of accounts that have some, whatever an earlier run left there. A range's cursor moves past an account once its slots and its code are written, or are written in the same
//! transaction, so that what is behind the cursors is there after a restart. Accounts and slots may come from the states of
//! several blocks, as the pivot moves while they are fetched; to make one state of them is the healer's part.

use super::answer::{Accounts, Slots, has_slots, preceding};
use super::ask::{Ask, SlotsOf};
use super::progress::TaskRecord;
use alloy_primitives::map::{B256Map, B256Set};
use alloy_primitives::{B256, Bytes, U256};
use quintet_store::{FetchedState, successor};
use quintet_trie::TrieAccount;
use std::collections::{BTreeMap, BTreeSet};

/// Ranges that are fetched side by side (geth's `accountConcurrency`).
const TASKS: usize = 16;
/// Accounts whose slots are asked for at once.
const MOST_ACCOUNTS: usize = 384;
/// Codes that are asked for at once: as many of the longest as an answer has room for (geth's `maxCodeRequestCount`).
pub(crate) const MOST_CODES: usize = 85;

/// The pass.
#[derive(Debug)]
pub(crate) struct Ranges {
    tasks: Vec<Task>,
    /// Codes that nobody is asked for.
    codes: BTreeSet<B256>,
    /// The ranges that wait for a code.
    waiting: B256Map<BTreeSet<usize>>,
    out: FetchedState,
    weight: usize,
}

/// One range.
#[derive(Debug)]
struct Task {
    /// Where it goes on; `None` when it is done.
    next: Option<B256>,
    last: B256,
    asked: bool,
    filling: Option<Filling>,
    /// Accounts whose slots did not come at once: where those that are written end.
    parts: BTreeMap<B256, B256>,
}

/// Accounts that came, until what belongs to them has come.
#[derive(Debug)]
struct Filling {
    accounts: Vec<(B256, TrieAccount)>,
    next: Option<B256>,
    /// Accounts whose slots nobody is asked for, with the place where these begin.
    wanted: BTreeMap<B256, (B256, B256)>,
    /// How many accounts' slots are asked for.
    asked: usize,
    codes: B256Set,
}

impl Ranges {
    /// A pass over all of a state.
    pub(crate) fn new() -> Self {
        let step = U256::MAX / U256::from(TASKS) + U256::from(1);
        let range = |place: usize| {
            let first = step.saturating_mul(U256::from(place));
            let last = first.checked_add(step).map_or(U256::MAX, |next| next - U256::from(1));
            TaskRecord { next: Some(first.into()), last: last.into(), parts: Vec::new() }
        };
        Self::resume((0..TASKS).map(range).collect())
    }

    /// A pass that goes on.
    pub(crate) fn resume(tasks: Vec<TaskRecord>) -> Self {
        let task = |TaskRecord { next, last, parts }: TaskRecord| {
            let parts = parts.into_iter().map(|part| (part.account, part.next)).collect();
            Task { next, last, asked: false, filling: None, parts }
        };
        let tasks = tasks.into_iter().map(task).collect();
        let (codes, waiting) = (BTreeSet::new(), B256Map::default());
        Self { tasks, codes, waiting, out: FetchedState::default(), weight: 0 }
    }

    /// Where the pass is, as it will be once [`Self::take_out`]'s last is written.
    pub(crate) fn records(&self) -> Vec<TaskRecord> {
        let record = |task: &Task| {
            let parts = task.parts.iter().map(|(account, next)| (*account, *next).into()).collect();
            TaskRecord { next: task.next, last: task.last, parts }
        };
        self.tasks.iter().map(record).collect()
    }

    /// Whether all is there.
    pub(crate) fn is_done(&self) -> bool {
        self.tasks.iter().all(|task| task.next.is_none())
    }

    /// How much of the state is there, of 1.
    pub(crate) fn share(&self) -> f64 {
        let left = self.tasks.iter().filter_map(|task| {
            let (next, last): (U256, U256) = (task.next?.into(), task.last.into());
            Some(f64::from(last.saturating_sub(next)))
        });
        1.0 - left.sum::<f64>() / f64::from(U256::MAX)
    }

    /// About the bytes that wait to be written.
    pub(crate) const fn weight(&self) -> usize {
        self.weight
    }

    /// What is to be written.
    pub(crate) fn take_out(&mut self) -> FetchedState {
        self.weight = 0;
        std::mem::take(&mut self.out)
    }

    /// What to ask for next: first what belongs to accounts that are there, so that few wait.
    pub(crate) fn ask(&mut self) -> Option<Ask> {
        let slots = self.tasks.iter_mut().enumerate().find_map(|(place, task)| task.ask_slots(place));
        slots.or_else(|| self.ask_codes()).or_else(|| self.ask_accounts())
    }

    fn ask_codes(&mut self) -> Option<Ask> {
        let chosen: Vec<B256> = self.codes.iter().take(MOST_CODES).copied().collect();
        self.codes.retain(|code| !chosen.contains(code));
        (!chosen.is_empty()).then_some(Ask::Codes(chosen))
    }

    fn ask_accounts(&mut self) -> Option<Ask> {
        let free = |task: &Task| !task.asked && task.filling.is_none() && task.next.is_some();
        let place = self.tasks.iter().position(free)?;
        let task = self.tasks.get_mut(place)?;
        task.asked = true;
        Some(Ask::Accounts { task: place, origin: task.next?, limit: task.last })
    }

    /// A request brought nothing: what it was for is wanted again.
    pub(crate) fn fail(&mut self, ask: &Ask) {
        match ask {
            Ask::Accounts { task, .. } => {
                if let Some(task) = self.tasks.get_mut(*task) {
                    task.asked = false;
                }
            }
            Ask::Slots { task, accounts, origin } => {
                let Some(filling) = self.filling(*task) else { return };
                filling.asked = filling.asked.saturating_sub(accounts.len());
                filling.want(accounts, *origin);
            }
            Ask::Codes(codes) => self.codes.extend(codes),
            Ask::Nodes(_) => {}
        }
    }

    /// Accounts that a range was asked for.
    pub(crate) fn accounts(&mut self, place: usize, found: Accounts) {
        let Accounts { entries: accounts, codes, next } = found;
        let Some(task) = self.tasks.get_mut(place) else { return };
        task.asked = false;
        let has_slots_of =
            |hash: &B256| accounts.iter().any(|(other, account)| other == hash && has_slots(account));
        task.parts.retain(|hash, _| has_slots_of(hash));
        self.out.wiped_accounts.extend(task.left_behind(next));
        let with_slots = accounts.iter().filter(|(_, account)| has_slots(account));
        let wanted = with_slots.map(|(hash, account)| {
            let begin = task.parts.get(hash).copied().unwrap_or_default();
            (*hash, (account.storage_root, begin))
        });
        let wanted = wanted.collect();
        let codes: B256Set = codes.into_iter().collect();
        for code in &codes {
            let waiting = self.waiting.entry(*code).or_default();
            if waiting.is_empty() {
                self.codes.insert(*code);
            }
            waiting.insert(place);
        }
        task.filling = Some(Filling { accounts, next, wanted, asked: 0, codes });
        self.conclude(place);
    }

    /// Slots that were asked for.
    pub(crate) fn slots(&mut self, place: usize, asked: &[SlotsOf], found: Slots) {
        let Slots { lists, next } = found;
        let count = lists.len();
        for (SlotsOf { account, .. }, list) in asked.iter().zip(lists) {
            self.weight =
                self.weight.saturating_add(list.len().saturating_mul(size_of::<(B256, B256, U256)>()));
            self.out.slots.extend(list.into_iter().map(|(slot, value)| (*account, slot, value)));
        }
        let Some(task) = self.tasks.get_mut(place) else { return };
        let Some(filling) = &mut task.filling else { return };
        filling.asked = filling.asked.saturating_sub(asked.len());
        let whole = count.saturating_sub(usize::from(next.is_some()));
        let (done, rest) = asked.split_at(whole.min(asked.len()));
        for SlotsOf { account, .. } in done {
            task.parts.remove(account);
        }
        if let (Some(next), Some(SlotsOf { account, .. })) = (next, rest.first()) {
            task.parts.insert(*account, next);
        }
        filling.want(rest, next.unwrap_or_default());
        self.conclude(place);
    }

    /// Codes that were asked for.
    pub(crate) fn codes(&mut self, asked: &[B256], found: Vec<(B256, Bytes)>) {
        let missing = |hash: &&B256| !found.iter().any(|(code, _)| code == *hash);
        self.codes.extend(asked.iter().filter(missing));
        for (hash, code) in found {
            self.weight = self.weight.saturating_add(code.len());
            self.out.code.push((hash, code));
            for place in self.waiting.remove(&hash).unwrap_or_default() {
                if let Some(filling) = self.filling(place) {
                    filling.codes.remove(&hash);
                }
                self.conclude(place);
            }
        }
    }

    fn filling(&mut self, task: usize) -> Option<&mut Filling> {
        self.tasks.get_mut(task)?.filling.as_mut()
    }

    /// Moves a range's cursor, if all that belongs to its accounts is there.
    fn conclude(&mut self, place: usize) {
        let Some(task) = self.tasks.get_mut(place) else { return };
        let whole = |filling: &mut Filling| {
            filling.wanted.is_empty() && filling.asked == 0 && filling.codes.is_empty()
        };
        let Some(Filling { accounts, next, .. }) = task.filling.take_if(whole) else { return };
        self.weight =
            self.weight.saturating_add(accounts.len().saturating_mul(size_of::<(B256, TrieAccount)>()));
        self.out.accounts.extend(accounts);
        task.next = next;
        // Those of accounts that are gone meanwhile.
        task.parts.clear();
    }
}

impl Task {
    /// The hashes from where the range is up to `next`, but for the accounts whose slots are there in part. An earlier run may have
    /// written slots of accounts there that are gone, or empty, in the state that is fetched now.
    fn left_behind(&self, next: Option<B256>) -> Vec<(B256, B256)> {
        let end = next.and_then(|next| preceding(&next)).unwrap_or(self.last);
        let mut ranges = Vec::new();
        let mut from = self.next;
        for part in self.parts.keys() {
            let before = preceding(part).filter(|before| from.is_some_and(|from| from <= *before));
            ranges.extend(from.zip(before));
            from = successor(part);
        }
        ranges.extend(from.filter(|from| *from <= end).map(|from| (from, end)));
        ranges
    }

    fn ask_slots(&mut self, place: usize) -> Option<Ask> {
        let filling = self.filling.as_mut()?;
        let begun = filling.wanted.iter().find(|(_, (_, begin))| *begin != B256::ZERO);
        let (accounts, origin) = if let Some((account, (root, begin))) = begun {
            // One that comes in parts is asked for by itself, as only the first may begin in the middle.
            (vec![SlotsOf { account: *account, root: *root }], *begin)
        } else {
            let chosen = filling.wanted.iter().take(MOST_ACCOUNTS);
            let chosen = chosen.map(|(account, (root, _))| SlotsOf { account: *account, root: *root });
            (chosen.collect(), B256::ZERO)
        };
        for SlotsOf { account, .. } in &accounts {
            filling.wanted.remove(account);
        }
        filling.asked = filling.asked.saturating_add(accounts.len());
        (!accounts.is_empty()).then_some(Ask::Slots { task: place, accounts, origin })
    }
}

impl Filling {
    /// These are wanted again, the first from `origin` on.
    fn want(&mut self, accounts: &[SlotsOf], origin: B256) {
        for (place, SlotsOf { account, root }) in accounts.iter().enumerate() {
            let begin = if place == 0 { origin } else { B256::ZERO };
            self.wanted.insert(*account, (*root, begin));
        }
    }
}
