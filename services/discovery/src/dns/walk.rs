//! The walk over DNS node lists, without DNS: which name to ask for next, and what its answer means.
//!
//! What must hold: every list's links come before its nodes, nodes come in random order, nothing is asked for twice
//! unless it failed, and lists and entries are bounded whatever a list's owner writes.

use super::tree::{Entry, Link, Name, Root, TreeError};
use quintet_enode::Record;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Between looks at a root, as geth's.
const ROOT_INTERVAL: Duration = Duration::from_mins(30);
/// Until a root that could not be had is asked for again; twice as long each time.
const ROOT_RETRY: Duration = Duration::from_mins(1);
/// Lists that are followed, with those that links lead to.
const MOST_LISTS: usize = 64;
/// Entries of a list: mainnet's has some thousands.
const MOST_ENTRIES: usize = 50_000;
/// Times that an entry is asked for.
const MOST_TRIES: u8 = 3;

/// All lists.
#[derive(Debug)]
pub struct Walk {
    lists: Vec<List>,
    /// The list whose turn it is.
    turn: usize,
}

/// A name to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The DNS name.
    pub domain: String,
    list: usize,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Root,
    Link(Name),
    Record(Name),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask DNS, and hand the answer to [`Walk::answer`].
    Ask(Query),
    /// Nothing before this time.
    Wait(Instant),
    /// Nothing ever: there are no lists.
    Nothing,
}

#[derive(Debug)]
struct List {
    link: Link,
    root: Option<Root>,
    root_due: Instant,
    root_failures: u32,
    links: Vec<Name>,
    records: Vec<Name>,
    /// Every name of this version, so that branches cannot form a ring.
    known: BTreeSet<Name>,
    tries: BTreeMap<Name, u8>,
}

impl Walk {
    /// A walk over these lists, which begins now.
    pub fn new(links: Vec<Link>, now: Instant) -> Self {
        let mut walk = Self { lists: Vec::new(), turn: 0 };
        for link in links {
            walk.add(link, now);
        }
        walk
    }

    fn add(&mut self, link: Link, now: Instant) {
        if self.lists.len() < MOST_LISTS && self.lists.iter().all(|list| list.link != link) {
            self.lists.push(List::new(link, now));
        }
    }

    /// What to do next; `random` chooses among the nodes.
    pub fn next(&mut self, now: Instant, random: usize) -> Next {
        let count = self.lists.len();
        for step in 0..count {
            let index = self.turn.wrapping_add(step).checked_rem(count).unwrap_or_default();
            let Some(list) = self.lists.get_mut(index) else { continue };
            let Some(kind) = list.next(now, random) else { continue };
            let domain = match &kind {
                Kind::Root => list.link.domain.clone(),
                Kind::Link(name) | Kind::Record(name) => format!("{name}.{}", list.link.domain),
            };
            self.turn = index.wrapping_add(1);
            return Next::Ask(Query { domain, list: index, kind });
        }
        self.lists.iter().map(|list| list.root_due).min().map_or(Next::Nothing, Next::Wait)
    }

    /// Takes the TXT records of a name, or why there are none; gives the node that it found.
    ///
    /// # Errors
    /// What is wrong with the answer. The walk goes on all the same.
    pub fn answer(
        &mut self,
        query: &Query,
        texts: Result<Vec<String>, TreeError>,
        now: Instant,
    ) -> Result<Option<Box<Record>>, TreeError> {
        let Some(list) = self.lists.get_mut(query.list) else { return Ok(None) };
        match &query.kind {
            Kind::Root => {
                let found = texts.and_then(|texts| Root::find(&texts, &list.link));
                list.take_root(found, now)?;
                Ok(None)
            }
            Kind::Link(name) => match list.entry(name, texts, true)? {
                Some(Entry::Link(link)) => {
                    self.add(link, now);
                    Ok(None)
                }
                Some(Entry::Record(_)) => Err(TreeError::RecordAmongLinks),
                _ => Ok(None),
            },
            Kind::Record(name) => match list.entry(name, texts, false)? {
                Some(Entry::Record(record)) => Ok(Some(record)),
                Some(Entry::Link(_)) => Err(TreeError::LinkAmongRecords),
                _ => Ok(None),
            },
        }
    }
}

impl List {
    const fn new(link: Link, now: Instant) -> Self {
        Self {
            link,
            root: None,
            root_due: now,
            root_failures: 0,
            links: Vec::new(),
            records: Vec::new(),
            known: BTreeSet::new(),
            tries: BTreeMap::new(),
        }
    }

    fn next(&mut self, now: Instant, random: usize) -> Option<Kind> {
        if self.root_due <= now {
            // Until the answer comes there is none to be asked for again.
            self.root_due = now.checked_add(ROOT_INTERVAL).unwrap_or(now);
            return Some(Kind::Root);
        }
        if let Some(name) = self.links.pop() {
            return Some(Kind::Link(name));
        }
        let index = random.checked_rem(self.records.len())?;
        Some(Kind::Record(self.records.swap_remove(index)))
    }

    fn take_root(&mut self, found: Result<Root, TreeError>, now: Instant) -> Result<(), TreeError> {
        let held = self.root.as_ref().map(|root| root.sequence).unwrap_or_default();
        let root = match found {
            Ok(root) if root.sequence >= held => root,
            wrong => {
                let wait = ROOT_RETRY.saturating_mul(1 << self.root_failures.min(5)).min(ROOT_INTERVAL);
                self.root_failures = self.root_failures.saturating_add(1);
                self.root_due = now.checked_add(wait).unwrap_or(now);
                return wrong.and_then(|root| Err(TreeError::Older { found: root.sequence, held }));
            }
        };
        self.root_failures = 0;
        if self.root.as_ref() == Some(&root) {
            return Ok(());
        }
        self.known.clear();
        self.tries.clear();
        self.links = vec![root.links.clone()];
        self.records = vec![root.records.clone()];
        self.root = Some(root);
        Ok(())
    }

    /// The entry of this name; of a branch, the names are put on the list.
    fn entry(
        &mut self,
        name: &Name,
        texts: Result<Vec<String>, TreeError>,
        is_link: bool,
    ) -> Result<Option<Entry>, TreeError> {
        match texts.and_then(|texts| Entry::find(&texts, name)) {
            Ok(Entry::Branch(names)) => {
                for name in names {
                    if self.known.len() < MOST_ENTRIES && self.known.insert(name.clone()) {
                        if is_link { self.links.push(name) } else { self.records.push(name) }
                    }
                }
                Ok(None)
            }
            Ok(entry) => Ok(Some(entry)),
            Err(error) => {
                let tries = self.tries.entry(name.clone()).or_default();
                *tries = tries.saturating_add(1);
                if *tries < MOST_TRIES {
                    // At the end: what can be had comes first.
                    if is_link { self.links.insert(0, name.clone()) } else { self.records.push(name.clone()) }
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
