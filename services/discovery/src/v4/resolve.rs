//! Nodes that were seen are asked for their records before they are offered: the record says which chain they are on, and
//! that they are there at all.
//!
//! Old nodes have none to give; they are offered without one if they proved to be where they are.

use super::V4;
use crate::candidates::{Candidates, Found};
use alloy_primitives::B256;
use quintet_discovery_api::Protocol;
use quintet_enode::{Enode, Record};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Questions under way at once, as geth's `maxParallelENRRequests`.
const PARALLEL: usize = 16;
/// How often a node that is there is asked: packets get lost.
const TRIES: usize = 3;
/// For how long a record is good.
const KEPT: Duration = Duration::from_mins(5);
/// For how long a node that gave none is not asked again.
const SILENCE: Duration = Duration::from_secs(10);
/// Answers that are kept.
const MOST_KEPT: usize = 4096;

/// The task that asks.
pub(super) struct Resolver {
    v4: V4,
    /// Those that are asked now: a node is seen many times.
    asked: HashSet<B256>,
    answers: HashMap<B256, (Instant, Answer)>,
}

/// What a question came to.
#[derive(Clone)]
enum Answer {
    Record(Box<Record>),
    /// It is there, and has no record.
    Without,
    /// It did not answer, or says that it has a record and gives none.
    Silent,
}

impl Answer {
    const fn kept(&self) -> Duration {
        match self {
            Self::Record(_) => KEPT,
            Self::Without | Self::Silent => SILENCE,
        }
    }
}

impl Resolver {
    pub(super) fn new(v4: V4) -> Self {
        Self { v4, asked: HashSet::new(), answers: HashMap::new() }
    }

    /// Runs for as long as it is polled.
    pub(super) async fn run(mut self, mut seen: mpsc::Receiver<Enode>) {
        let mut questions: JoinSet<(Enode, Answer)> = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = questions.join_next() => {
                    if let Ok((node, answer)) = ended {
                        self.take(node, answer);
                    }
                }
                Some(node) = seen.recv(), if questions.len() < PARALLEL => match self.known(&node) {
                    Some(answer) => self.offer(node, &answer),
                    None if self.asked.insert(node.node_id()) => {
                        questions.spawn(ask(self.v4.clone(), node));
                    }
                    None => {}
                },
                else => return,
            }
        }
    }

    fn known(&self, node: &Enode) -> Option<Answer> {
        let (at, answer) = self.answers.get(&node.node_id())?;
        (at.elapsed() < answer.kept()).then(|| answer.clone())
    }

    fn take(&mut self, node: Enode, answer: Answer) {
        self.asked.remove(&node.node_id());
        self.offer(node, &answer);
        if self.answers.len() >= MOST_KEPT {
            self.answers.retain(|_, (at, answer)| at.elapsed() < answer.kept());
        }
        if self.answers.len() < MOST_KEPT {
            self.answers.insert(node.node_id(), (Instant::now(), answer));
        }
    }

    fn offer(&self, node: Enode, answer: &Answer) {
        let candidates = &self.v4.core.candidates;
        match answer {
            Answer::Record(record) => offer(candidates, node, Some(record.as_ref().clone())),
            Answer::Without => offer(candidates, node, None),
            Answer::Silent => {}
        }
    }
}

async fn ask(v4: V4, node: Enode) -> (Enode, Answer) {
    if let Some(record) = v4.record_of(&node).filter(|_| v4.is_bonded(&node)) {
        return (node, Answer::Record(Box::new(record)));
    }
    for _ in 0..TRIES {
        if let Some(record) = v4.request_record(node).await {
            return (node, Answer::Record(Box::new(record)));
        }
        if !v4.is_bonded(&node) {
            return (node, Answer::Silent);
        }
        if !v4.has_record(&node) {
            return (node, Answer::Without);
        }
    }
    (node, Answer::Silent)
}

/// Offers a node under the address that it is known to have.
pub(super) fn offer(candidates: &Candidates, node: Enode, record: Option<Record>) {
    // Others may have told a port that it no longer has: its record knows better.
    let tcp = record.as_ref().and_then(Record::tcp).unwrap_or(node.tcp);
    let found = Found { enode: Enode { tcp, ..node }, record, by: Protocol::Discv4 };
    candidates.offer(&found, Instant::now());
}
