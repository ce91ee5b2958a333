//! The worker under invented time.

use super::{Action, Cadence, Event, Interrupt, Job, JobId, STALE_THRESHOLD, Settings, Timer, Worker};
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_chain_api::BuiltWork;
use quintet_types::{Block, BlockRef, Header};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const RECOMMIT: Duration = Duration::from_secs(2);

/// A worker with a clock.
struct Rig {
    worker: Worker,
    now: Duration,
}

impl Rig {
    /// Stopped, with an etherbase, its head read.
    fn new(cadence: Cadence) -> Self {
        let settings = Settings {
            etherbase: Some(Address::repeat_byte(1)),
            gas_limit: 30_000_000,
            ..Settings::default()
        };
        let mut rig = Self { worker: Worker::new(cadence, RECOMMIT, settings), now: 1000 * SECOND };
        assert_eq!(rig.on(Event::Gap), [Action::ReadHead]);
        assert_eq!(rig.on(Event::HeadRead { block: block_ref(0, 0), timestamp: 990 }), []);
        rig
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.worker.handle(event, self.now)
    }

    /// Starts, and gives the first build.
    fn start(&mut self) -> Job {
        build_in(&self.on(Event::Start)).expect("a build at the start")
    }

    fn built(&mut self, job: &Job, transactions: u32) -> Vec<Action> {
        self.on(Event::Built { job: job.id, work: work(job, transactions) })
    }

    /// Answers a build with a block, and takes it through the seal to its submission.
    fn seal(&mut self, job: &Job) -> (B256, Block) {
        let built = work(job, 1);
        let (seal_hash, block) = (built.seal_hash, built.block.clone());
        let actions = self.on(Event::Built { job: job.id, work: built });
        let expected = Action::Seal { job: job.id, seal_hash, block: Arc::new(block.clone()) };
        assert!(actions.contains(&expected), "{actions:?}");
        let actions = self.on(Event::Sealed { seal_hash, block: block.clone() });
        assert!(
            actions.contains(&Action::Submit { seal_hash, block: Arc::new(block.clone()) }),
            "{actions:?}"
        );
        (seal_hash, block)
    }

    fn submitted(&mut self, seal_hash: B256, block: &Block) -> Vec<Action> {
        let block = BlockRef { number: block.header.number, hash: block.header.hash_slow() };
        self.on(Event::Submitted { seal_hash, block, canonical: true })
    }

    /// Another's block on `parent` becomes the head.
    fn head(&mut self, parent: BlockRef, branch: u64, timestamp: u64) -> (BlockRef, Vec<Action>) {
        let block = block_ref(parent.number + 1, branch);
        (block, self.on(Event::ChainHead { block, parent_hash: parent.hash, timestamp }))
    }
}

fn block_ref(number: u64, branch: u64) -> BlockRef {
    BlockRef { number, hash: B256::left_padding_from(&[number.to_be_bytes(), branch.to_be_bytes()].concat()) }
}

/// What the chain might build for a job: its seal hash is another for every number of transactions.
pub(super) fn work(job: &Job, transactions: u32) -> BuiltWork {
    let header = Header {
        parent_hash: job.parent.hash,
        number: job.parent.number + 1,
        timestamp: job.timestamp,
        gas_limit: job.gas_limit,
        gas_used: u64::from(transactions) * 21_000,
        ..Header::default()
    };
    let seal_hash = header.hash_slow();
    BuiltWork { block: Block { header, ..Block::default() }, seal_hash, transactions, fees: U256::ZERO }
}

fn build_in(actions: &[Action]) -> Option<Job> {
    actions.iter().find_map(|action| if let Action::Build(job) = action { Some(job.clone()) } else { None })
}

fn timer_in(actions: &[Action], wanted: Timer) -> Option<Duration> {
    actions.iter().find_map(|action| match action {
        Action::SetTimer(timer, wait) if *timer == wanted => Some(*wait),
        _ => None,
    })
}

#[test]
fn a_lone_transaction_is_built_on_at_once_and_then_nothing() {
    let mut rig = Rig::new(Cadence::OnPending);
    let first = rig.start();
    assert!(!first.allow_empty);
    assert_eq!(rig.on(Event::NothingToBuild { job: first.id }), []);

    let job = build_in(&rig.on(Event::PendingTransactions)).expect("a build");
    assert_eq!((job.parent, job.timestamp), (block_ref(0, 0), 1000));
    let (seal_hash, block) = rig.seal(&job);
    // The pool may hold more: one more build finds out, and then there is silence.
    let next = build_in(&rig.submitted(seal_hash, &block)).expect("a build");
    assert_eq!(next.parent, rig.worker.head().expect("known"));
    assert_eq!(rig.on(Event::NothingToBuild { job: next.id }), []);
}

#[test]
fn a_transaction_that_came_during_an_empty_build_is_not_forgotten() {
    let mut rig = Rig::new(Cadence::OnPending);
    let first = rig.start();
    assert_eq!(rig.on(Event::PendingTransactions), []);
    assert!(build_in(&rig.on(Event::NothingToBuild { job: first.id })).is_some());
}

#[test]
fn blocks_follow_each_other_without_a_wait_and_with_rising_timestamps() {
    let mut rig = Rig::new(Cadence::OnPending);
    let mut job = rig.start();
    for second in 0..5 {
        assert_eq!(job.timestamp, 1000 + second);
        let (seal_hash, block) = rig.seal(&job);
        job = build_in(&rig.submitted(seal_hash, &block)).expect("the next build");
    }
}

#[test]
fn our_own_block_is_heard_of_once_in_either_order() {
    let mut rig = Rig::new(Cadence::OnPending);
    let job = rig.start();
    let (seal_hash, block) = rig.seal(&job);
    let reference = BlockRef { number: 1, hash: block.header.hash_slow() };
    let heard = Event::ChainHead { block: reference, parent_hash: job.parent.hash, timestamp: job.timestamp };
    // The event first: the next build waits for the answer, and then begins.
    assert_eq!(rig.on(heard.clone()), []);
    let next = build_in(&rig.submitted(seal_hash, &block)).expect("the next build");
    assert_eq!(next.parent, reference);
    // Late repeats interrupt nothing.
    assert_eq!(rig.on(heard), []);
}

#[test]
fn a_new_head_interrupts_the_build_and_starts_again_on_it() {
    let mut rig = Rig::new(Cadence::OnPending);
    let job = rig.start();
    let (head, actions) = rig.head(block_ref(0, 0), 7, 1005);
    assert_eq!(actions[0], Action::InterruptBuild { job: job.id, reason: Interrupt::NewHead });
    let next = build_in(&actions).expect("a build on the new head");
    assert_eq!((next.parent, next.timestamp), (head, 1006), "after its parent");
    assert_eq!(rig.built(&job, 1), [], "the interrupted build's answer");
}

#[test]
fn a_seal_of_a_former_head_is_not_submitted_where_seals_are_free() {
    let mut rig = Rig::new(Cadence::OnPending);
    let job = rig.start();
    let built = work(&job, 1);
    rig.built(&job, 1);
    let (_, actions) = rig.head(block_ref(0, 0), 7, 1000);
    assert!(actions.contains(&Action::AbortSeal { seal_hash: built.seal_hash }));
    let late = rig.on(Event::Sealed { seal_hash: built.seal_hash, block: built.block });
    assert!(!late.iter().any(|action| matches!(action, Action::Submit { .. })), "{late:?}");
}

#[test]
fn unknown_and_repeated_seals_are_ignored() {
    let mut rig = Rig::new(Cadence::Continuous);
    let job = rig.start();
    let (seal_hash, block) = rig.seal(&job);
    assert_eq!(rig.on(Event::Sealed { seal_hash, block: block.clone() }), [], "a second seal");
    assert_eq!(
        rig.on(Event::Sealed { seal_hash: B256::repeat_byte(9), block: block.clone() }),
        [],
        "unknown"
    );
    rig.submitted(seal_hash, &block);
    assert_eq!(rig.on(Event::Sealed { seal_hash, block }), [], "submitted before");
}

#[test]
fn a_search_is_replaced_by_other_work_only() {
    let mut rig = Rig::new(Cadence::Continuous);
    let job = rig.start();
    let first = work(&job, 1).seal_hash;
    rig.built(&job, 1);
    rig.on(Event::PendingTransactions);
    let again = build_in(&rig.on(Event::Timer(Timer::Recommit))).expect("a renewal");
    assert_eq!(again.timestamp, job.timestamp, "the round's");
    assert_eq!(rig.built(&again, 1), [], "the same work again");
    rig.on(Event::PendingTransactions);
    let better = build_in(&rig.on(Event::Timer(Timer::Recommit))).expect("a renewal");
    let actions = rig.built(&better, 2);
    assert_eq!(actions[0], Action::AbortSeal { seal_hash: first });
    assert!(matches!(actions[1], Action::Seal { seal_hash, .. } if seal_hash == work(&better, 2).seal_hash));
}

#[test]
fn a_searched_seal_counts_until_it_is_seven_blocks_old() {
    for (blocks, counts) in [(STALE_THRESHOLD, true), (STALE_THRESHOLD + 1, false)] {
        let mut rig = Rig::new(Cadence::Continuous);
        let job = rig.start();
        let built = work(&job, 1);
        rig.built(&job, 1);
        let mut head = block_ref(0, 0);
        for _ in 0..blocks {
            head = rig.head(head, 7, 1000).0;
        }
        let actions = rig.on(Event::Sealed { seal_hash: built.seal_hash, block: built.block });
        let submitted = actions.iter().any(|action| matches!(action, Action::Submit { .. }));
        assert_eq!(submitted, counts, "{blocks} blocks later");
    }
}

#[test]
fn renewal_waits_for_transactions_and_restarts_a_slow_build_once() {
    let mut rig = Rig::new(Cadence::Continuous);
    let actions = rig.on(Event::Start);
    assert_eq!(timer_in(&actions, Timer::Recommit), Some(RECOMMIT));
    let job = build_in(&actions).expect("a build");
    assert_eq!(rig.on(Event::Timer(Timer::Recommit)), [Action::SetTimer(Timer::Recommit, RECOMMIT)]);
    rig.on(Event::PendingTransactions);
    let actions = rig.on(Event::Timer(Timer::Recommit));
    assert_eq!(actions[0], Action::InterruptBuild { job: job.id, reason: Interrupt::Resubmit });
    let again = build_in(&actions).expect("a build");
    // 2 * 0.9 + 0.1 * (2 / 0.1 + 0.2)
    let longer = Duration::from_millis(3820);
    assert_eq!((again.fill_budget, timer_in(&actions, Timer::Recommit)), (longer, Some(longer)));
    rig.on(Event::PendingTransactions);
    let actions = rig.on(Event::Timer(Timer::Recommit));
    assert_eq!(actions, [Action::SetTimer(Timer::Recommit, longer)], "left to finish");
}

#[test]
fn a_parent_in_the_future_is_waited_for() {
    let mut rig = Rig::new(Cadence::Continuous);
    rig.head(block_ref(0, 0), 1, 1010);
    let actions = rig.on(Event::Start);
    assert_eq!((build_in(&actions), timer_in(&actions, Timer::Future)), (None, Some(11 * SECOND)));
    rig.now += 11 * SECOND;
    let job = build_in(&rig.on(Event::Timer(Timer::Future))).expect("a build");
    assert_eq!(job.timestamp, 1011);
}

#[test]
fn slots_keep_their_rhythm_and_take_empty_blocks() {
    let mut rig = Rig::new(Cadence::Every(3 * SECOND));
    let actions = rig.on(Event::Start);
    assert_eq!(actions, [Action::SetTimer(Timer::Slot, 3 * SECOND)], "nothing before the first slot");
    assert_eq!(rig.on(Event::PendingTransactions), []);
    // The timer is 100 ms late; the next slot is not.
    rig.now += Duration::from_millis(3100);
    let actions = rig.on(Event::Timer(Timer::Slot));
    assert_eq!(timer_in(&actions, Timer::Slot), Some(Duration::from_millis(2900)));
    let job = build_in(&actions).expect("the slot's block");
    assert!(job.allow_empty);
    let (seal_hash, block) = rig.seal(&job);
    assert_eq!(rig.submitted(seal_hash, &block), [], "nothing until the next slot");
    // A machine that slept makes one block, not all that it missed.
    rig.now += 100 * SECOND;
    let actions = rig.on(Event::Timer(Timer::Slot));
    assert_eq!(timer_in(&actions, Timer::Slot), Some(3 * SECOND));
    assert!(build_in(&actions).is_some());
}

#[test]
fn a_slot_whose_block_failed_gets_it_after_the_back_off() {
    let mut rig = Rig::new(Cadence::Every(3 * SECOND));
    rig.on(Event::Start);
    rig.now += 3 * SECOND;
    let job = build_in(&rig.on(Event::Timer(Timer::Slot))).expect("the slot's block");
    let actions = rig.on(Event::BuildFailed { job: job.id });
    assert_eq!(timer_in(&actions, Timer::Retry), Some(Duration::from_millis(100)));
    assert_eq!(rig.on(Event::Timer(Timer::Retry)), [Action::ReadHead]);
    let actions = rig.on(Event::HeadRead { block: block_ref(0, 0), timestamp: 990 });
    assert!(build_in(&actions).is_some());
}

#[test]
fn a_submission_whose_answer_was_lost_is_not_repeated_once_the_block_is_the_head() {
    for landed in [true, false] {
        let mut rig = Rig::new(Cadence::OnPending);
        let job = rig.start();
        let (seal_hash, block) = rig.seal(&job);
        let actions = rig.on(Event::SubmitFailed { seal_hash, retry: true });
        assert_eq!(timer_in(&actions, Timer::Retry), Some(Duration::from_millis(100)));
        assert_eq!(rig.on(Event::Timer(Timer::Retry)), [Action::ReadHead]);
        let ours = BlockRef { number: 1, hash: block.header.hash_slow() };
        let (head, timestamp) = if landed { (ours, 1000) } else { (job.parent, 990) };
        let actions = rig.on(Event::HeadRead { block: head, timestamp });
        let again = Action::Submit { seal_hash, block: Arc::new(block) };
        assert_eq!(actions.contains(&again), !landed, "{actions:?}");
        assert_eq!(build_in(&actions).map(|job| job.parent), landed.then_some(ours));
    }
}

#[test]
fn a_reorg_is_followed_by_reading_the_head() {
    let mut rig = Rig::new(Cadence::OnPending);
    let (old, _) = rig.head(block_ref(0, 0), 1, 1000);
    let job = rig.start();
    let actions = rig.on(Event::Reverted([old].into()));
    assert_eq!(
        actions,
        [Action::InterruptBuild { job: job.id, reason: Interrupt::NewHead }, Action::ReadHead]
    );
    // The replacing block comes before the answer, which may be older: it is asked again.
    let (new, _) = rig.head(block_ref(0, 0), 2, 1001);
    let stale = Event::HeadRead { block: block_ref(0, 0), timestamp: 990 };
    assert_eq!(rig.on(stale), [Action::ReadHead]);
    let next = build_in(&rig.on(Event::HeadRead { block: new, timestamp: 1001 })).expect("a build");
    assert_eq!((next.parent, next.timestamp), (new, 1002));
}

#[test]
fn stopping_drops_everything_and_starting_again_begins_anew() {
    let mut rig = Rig::new(Cadence::OnPending);
    let job = rig.start();
    let actions = rig.on(Event::Stop);
    assert_eq!(actions[0], Action::InterruptBuild { job: job.id, reason: Interrupt::Stop });
    assert_eq!(rig.built(&job, 1), []);
    assert_eq!(rig.on(Event::PendingTransactions), []);
    assert_eq!(rig.worker.parent(), None);
    let job = rig.start();
    let built = work(&job, 1);
    rig.built(&job, 1);
    assert_eq!(rig.on(Event::Stop)[0], Action::AbortSeal { seal_hash: built.seal_hash });
    assert_eq!(rig.on(Event::Sealed { seal_hash: built.seal_hash, block: built.block }), []);
}

#[test]
fn settings_count_from_the_next_build_and_nothing_is_built_without_an_etherbase() {
    let mut rig = Rig::new(Cadence::OnPending);
    rig.worker.settings.etherbase = None;
    assert_eq!(build_in(&rig.on(Event::Start)), None);
    rig.on(Event::SetExtra(Bytes::from_static(b"extra")));
    rig.on(Event::SetGasLimit(5));
    rig.on(Event::SetGasPrice(6));
    let job = build_in(&rig.on(Event::SetEtherbase(Address::repeat_byte(4)))).expect("a build");
    assert_eq!((job.beneficiary, job.extra_data), (Address::repeat_byte(4), Bytes::from_static(b"extra")));
    assert_eq!((job.gas_limit, job.gas_price, job.id), (5, 6, JobId(0)));
}

#[test]
fn work_on_another_parent_than_asked_for_is_a_failure() {
    let mut rig = Rig::new(Cadence::OnPending);
    let job = rig.start();
    let elsewhere = Job { parent: block_ref(0, 9), ..job.clone() };
    let actions = rig.on(Event::Built { job: job.id, work: work(&elsewhere, 1) });
    assert!(matches!(actions[..], [Action::SetTimer(Timer::Retry, _)]), "{actions:?}");
}
