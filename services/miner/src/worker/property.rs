//! Any order of events: what the worker promises holds, and afterwards it still makes blocks.

use super::tests::work;
use super::{Action, Cadence, Event, Job, Settings, Timer, Worker};
use alloy_primitives::{Address, B256};
use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use quintet_types::{Block, BlockRef, Header};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What the world does next. Answers are to what is outstanding; without anything they do nothing.
#[derive(Clone, Copy, Debug)]
enum Step {
    Start,
    Stop,
    Pending,
    Gap,
    ForeignBlock { told: bool },
    Reorg,
    AnswerHead { ok: bool },
    AnswerBuild(Answer),
    AnswerOldBuild,
    AnswerSeal { ok: bool },
    AnswerOldSeal,
    AnswerSubmit { ok: bool, retry: bool, told_first: bool },
    FireTimer,
    Wait(u8),
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Block { transactions: u8 },
    Nothing,
    Failed,
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => any::<u8>().prop_map(|transactions| Answer::Block { transactions }),
        1 => proptest::prelude::Just(Answer::Nothing),
        1 => proptest::prelude::Just(Answer::Failed),
    ];
    let just = proptest::prelude::Just::<Step>;
    prop_oneof![
        2 => just(Step::Start),
        1 => just(Step::Stop),
        4 => just(Step::Pending),
        1 => just(Step::Gap),
        2 => any::<bool>().prop_map(|told| Step::ForeignBlock { told }),
        1 => just(Step::Reorg),
        4 => any::<bool>().prop_map(|ok| Step::AnswerHead { ok }),
        8 => answer.prop_map(Step::AnswerBuild),
        1 => just(Step::AnswerOldBuild),
        6 => any::<bool>().prop_map(|ok| Step::AnswerSeal { ok }),
        1 => just(Step::AnswerOldSeal),
        6 => any::<[bool; 3]>().prop_map(|[ok, retry, told_first]| Step::AnswerSubmit { ok, retry, told_first }),
        4 => just(Step::FireTimer),
        2 => any::<u8>().prop_map(Step::Wait),
    ]
}

/// The worker's surroundings: a chain, a sealer, a clock; and what is outstanding with each.
struct World {
    worker: Worker,
    cadence: Cadence,
    now: Duration,
    /// The canonical chain.
    chain: Vec<(BlockRef, u64)>,
    branch: u64,
    head_asked: usize,
    build: Option<Job>,
    old_builds: Vec<Job>,
    seal: Option<(B256, Block)>,
    old_seals: Vec<(B256, Block)>,
    given: BTreeSet<B256>,
    sealed: BTreeSet<B256>,
    submitting: BTreeMap<B256, Arc<Block>>,
    submitted: BTreeSet<B256>,
    timers: BTreeMap<Timer, Duration>,
}

impl World {
    fn new(cadence: Cadence) -> Self {
        let settings =
            Settings { etherbase: Some(Address::ZERO), gas_limit: 1_000_000, ..Settings::default() };
        let mut world = Self {
            worker: Worker::new(cadence, Duration::from_secs(2), settings),
            cadence,
            now: Duration::from_secs(1000),
            chain: vec![(BlockRef::default(), 900)],
            branch: 0,
            head_asked: 0,
            build: None,
            old_builds: Vec::new(),
            seal: None,
            old_seals: Vec::new(),
            given: BTreeSet::new(),
            sealed: BTreeSet::new(),
            submitting: BTreeMap::new(),
            submitted: BTreeSet::new(),
            timers: BTreeMap::new(),
        };
        world.on(Event::Gap);
        world
    }

    fn head(&self) -> (BlockRef, u64) {
        *self.chain.last().expect("genesis")
    }

    fn on(&mut self, event: Event) {
        for action in self.worker.handle(event, self.now) {
            self.act(action);
        }
    }

    /// Takes an action, and checks that it was allowed.
    fn act(&mut self, action: Action) {
        match action {
            Action::ReadHead => {
                self.head_asked += 1;
                assert_eq!(self.head_asked, 1, "two reads of the head");
            }
            Action::Build(job) => {
                assert!(self.worker.is_running() && self.build.is_none(), "two builds");
                assert_eq!(Some(job.parent), self.worker.head());
                self.build = Some(job);
            }
            Action::InterruptBuild { job, .. } => {
                let build = self.build.take().expect("a build under way");
                assert_eq!(build.id, job);
                self.old_builds.push(build);
            }
            Action::Seal { seal_hash, block, .. } => {
                assert!(self.worker.is_running() && self.seal.is_none(), "two seals");
                self.given.insert(seal_hash);
                self.sealed.remove(&seal_hash);
                self.seal = Some((seal_hash, Arc::unwrap_or_clone(block)));
            }
            Action::AbortSeal { seal_hash } => {
                let seal = self.seal.take().expect("a seal under way");
                assert_eq!(seal.0, seal_hash);
                self.old_seals.push(seal);
            }
            Action::Submit { seal_hash, block } => {
                assert!(self.worker.is_running());
                assert!(self.given.contains(&seal_hash) && self.sealed.contains(&seal_hash), "unknown work");
                assert!(self.submitted.insert(seal_hash), "submitted twice");
                if self.cadence != Cadence::Continuous {
                    assert!(self.submitting.is_empty() || !self.worker.is_running() || self.stopped_before());
                    assert_eq!(
                        Some(block.header.parent_hash),
                        self.worker.head().map(|head| head.hash),
                        "stale"
                    );
                }
                self.submitting.insert(seal_hash, block);
            }
            Action::SetTimer(timer, wait) => {
                self.timers.insert(timer, self.now + wait);
            }
            Action::CancelTimer(timer) => {
                self.timers.remove(&timer);
            }
        }
    }

    /// A stop forgets submissions that are under way; the chain still answers them.
    fn stopped_before(&self) -> bool {
        self.submitting.keys().any(|hash| self.worker.tasks.get(hash).is_none())
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Start => self.on(Event::Start),
            Step::Stop => self.on(Event::Stop),
            Step::Pending => self.on(Event::PendingTransactions),
            Step::Gap => self.on(Event::Gap),
            Step::ForeignBlock { told } => self.foreign_block(told),
            Step::Reorg => self.reorg(),
            Step::AnswerHead { ok } => self.answer_head(ok),
            Step::AnswerBuild(answer) => self.answer_build(answer),
            Step::AnswerOldBuild => {
                if let Some(job) = self.old_builds.pop() {
                    self.on(Event::Built { job: job.id, work: work(&job, 1) });
                }
            }
            Step::AnswerSeal { ok } => self.answer_seal(ok),
            Step::AnswerOldSeal => {
                if let Some((seal_hash, block)) = self.old_seals.pop() {
                    self.sealed.insert(seal_hash);
                    self.on(Event::Sealed { seal_hash, block });
                }
            }
            Step::AnswerSubmit { ok, retry, told_first } => self.answer_submit(ok, retry, told_first),
            Step::FireTimer => self.fire_timer(),
            Step::Wait(tenths) => self.now += Duration::from_millis(100 * u64::from(tenths)),
        }
    }

    fn foreign_block(&mut self, told: bool) {
        let (parent, timestamp) = self.head();
        self.branch += 1;
        let header =
            Header { parent_hash: parent.hash, nonce: self.branch.to_be_bytes().into(), ..Header::default() };
        let block = BlockRef { number: parent.number + 1, hash: header.hash_slow() };
        self.chain.push((block, timestamp + 1));
        if told {
            self.on(Event::ChainHead { block, parent_hash: parent.hash, timestamp: timestamp + 1 });
        }
    }

    fn reorg(&mut self) {
        let length = self.chain.len();
        let dropped = self.chain.split_off(length.saturating_sub(2).max(1));
        if !dropped.is_empty() {
            self.on(Event::Reverted(dropped.iter().rev().map(|(block, _)| *block).collect()));
            for _ in dropped {
                self.foreign_block(true);
            }
        }
    }

    fn answer_head(&mut self, ok: bool) {
        if self.head_asked == 0 {
            return;
        }
        self.head_asked -= 1;
        let (block, timestamp) = self.head();
        self.on(if ok { Event::HeadRead { block, timestamp } } else { Event::HeadReadFailed });
    }

    fn answer_build(&mut self, answer: Answer) {
        let Some(job) = self.build.take() else { return };
        self.old_builds.push(job.clone());
        self.on(match answer {
            Answer::Block { transactions } => {
                Event::Built { job: job.id, work: work(&job, transactions.into()) }
            }
            Answer::Nothing => Event::NothingToBuild { job: job.id },
            Answer::Failed => Event::BuildFailed { job: job.id },
        });
    }

    fn answer_seal(&mut self, ok: bool) {
        let Some((seal_hash, block)) = self.seal.take() else { return };
        self.old_seals.push((seal_hash, block.clone()));
        if ok {
            self.sealed.insert(seal_hash);
        }
        self.on(if ok { Event::Sealed { seal_hash, block } } else { Event::SealFailed { seal_hash } });
    }

    /// The chain takes a block on its head as its head, and any other as a side block.
    fn answer_submit(&mut self, ok: bool, retry: bool, told_first: bool) {
        let Some((seal_hash, block)) = self.submitting.pop_first() else { return };
        if !ok {
            if retry {
                self.submitted.remove(&seal_hash);
            }
            self.on(Event::SubmitFailed { seal_hash, retry });
            return;
        }
        let (parent, _) = self.head();
        let header = &block.header;
        let canonical = header.parent_hash == parent.hash;
        let reference = BlockRef { number: header.number, hash: header.hash_slow() };
        let submitted = Event::Submitted { seal_hash, block: reference, canonical };
        if !canonical {
            self.on(submitted);
            return;
        }
        self.chain.push((reference, header.timestamp));
        let (parent_hash, timestamp) = (header.parent_hash, header.timestamp);
        let told = Event::ChainHead { block: reference, parent_hash, timestamp };
        let (first, second) = if told_first { (told, submitted) } else { (submitted, told) };
        self.on(first);
        self.on(second);
    }

    fn fire_timer(&mut self) {
        let Some((timer, at)) = self.timers.iter().map(|(timer, at)| (*timer, *at)).min_by_key(|(_, at)| *at)
        else {
            return;
        };
        self.timers.remove(&timer);
        self.now = self.now.max(at);
        self.on(Event::Timer(timer));
    }

    /// From here on everything works, and a transaction is pending: it must get into a block.
    fn settle(&mut self) {
        // What was not told is found out by a gap, as a bus does.
        self.on(Event::Gap);
        self.on(Event::Start);
        self.on(Event::PendingTransactions);
        let before = self.chain.len();
        for _ in 0..200 {
            if self.chain.len() > before {
                return;
            }
            if self.head_asked > 0 {
                self.answer_head(true);
            } else if self.build.is_some() {
                self.answer_build(Answer::Block { transactions: 1 });
            } else if self.seal.is_some() {
                self.answer_seal(true);
            } else if !self.submitting.is_empty() {
                self.answer_submit(true, false, true);
            } else {
                assert!(!self.timers.is_empty(), "nothing under way, and no timer: {:?}", self.worker);
                self.fire_timer();
            }
        }
        panic!("no block: {:?}", self.worker);
    }
}

proptest! {
    #[test]
    fn promises_hold_in_any_order(
        cadence in proptest::sample::select(vec![
            Cadence::Continuous,
            Cadence::OnPending,
            Cadence::Every(Duration::from_secs(3)),
        ]),
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(cadence);
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}
