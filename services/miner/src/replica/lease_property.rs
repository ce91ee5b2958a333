//! Any order of delays, losses, pauses and faults, under invented time: what the lease promises holds, and afterwards
//! one replica leads.

use super::lease::{Ask, Held, Lease, PERIOD, TTL};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use std::time::Duration;

const REPLICAS: usize = 3;

/// What happens next, at one of the replicas.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u16),
    /// A question is sent, and reaches Redis; its answer is on its way back.
    Ask(usize),
    /// An answer arrives. Answers may overtake each other.
    Arrive(usize),
    /// An answer is lost on its way back.
    Lose(usize),
    /// A question does not reach Redis.
    Cut(usize),
    /// A question that is not for the lease.
    GiveUp(usize),
    Submit(usize),
    Leave(usize),
    /// Redis forgets everything.
    Empty,
}

fn step(faults: bool) -> impl Strategy<Value = Step> {
    let one = || 0..REPLICAS;
    let calm = prop_oneof![
        6 => any::<u16>().prop_map(|millis| Step::Wait(millis % 1500)),
        6 => one().prop_map(Step::Ask),
        6 => one().prop_map(Step::Arrive),
        1 => one().prop_map(Step::Lose),
        1 => one().prop_map(Step::GiveUp),
        4 => one().prop_map(Step::Submit),
        1 => one().prop_map(Step::Leave),
    ];
    if faults {
        prop_oneof![8 => calm, 1 => one().prop_map(Step::Cut), 1 => Just(Step::Empty)].boxed()
    } else {
        calm.boxed()
    }
}

/// Redis as `beat.lua` makes it, and `chain` as it refuses tokens.
#[derive(Default)]
struct World {
    now: Duration,
    holder: Option<(usize, Duration)>,
    newest: u64,
    /// The highest token ever given.
    highest: u64,
    leases: [Lease; REPLICAS],
    answers: Vec<(usize, Ask, Held)>,
    /// The newest token that `chain` has seen.
    seen: u64,
    taken: Vec<(usize, u64)>,
}

impl World {
    fn beat(&mut self, replica: usize, ask: Ask) -> Held {
        let holder = self.holder.filter(|(_, until)| self.now < *until).map(|(holder, _)| holder);
        if holder.is_some_and(|holder| holder != replica) {
            return Held::Others(self.newest);
        }
        if !ask.wanted {
            self.holder = None;
            return Held::Nobody(self.newest);
        }
        if holder.is_none() || ask.token != self.newest {
            let clock = u64::try_from(self.now.as_millis()).expect("small");
            self.newest = (self.newest + 1).max(ask.floor + 1).max(clock);
            assert!(self.newest > self.highest, "a token was given twice, or a lower one");
            self.highest = self.newest;
        }
        self.holder = Some((replica, self.now + TTL));
        Held::Mine(self.newest)
    }

    fn ask(&mut self, replica: usize, wanted: bool) {
        let ask = self.leases[replica].ask(self.now, wanted);
        let held = self.beat(replica, ask);
        self.answers.push((replica, ask, held));
    }

    fn arrive(&mut self, replica: usize, answered: bool) {
        if let Some(index) = self.answers.iter().position(|(of, ..)| *of == replica) {
            let (_, ask, held) = self.answers.remove(index);
            if answered {
                self.leases[replica].answer(ask, held, self.now);
            } else {
                self.leases[replica].no_answer(ask);
            }
        }
    }

    fn submit(&mut self, replica: usize) {
        let lease = &mut self.leases[replica];
        let Some(token) = lease.token().filter(|_| lease.may_act(self.now)) else { return };
        if token < self.seen {
            lease.refuse(token, self.seen);
            assert_eq!(lease.token(), None, "goes on under a refused token");
        } else {
            self.seen = token;
            self.taken.push((replica, token));
        }
    }

    fn step(&mut self, step: Step) {
        // Redis gives less than a token in each millisecond.
        self.now += Duration::from_millis(1);
        match step {
            Step::Wait(millis) => self.now += Duration::from_millis(millis.into()),
            Step::Ask(replica) => self.ask(replica, true),
            Step::GiveUp(replica) => self.ask(replica, false),
            Step::Arrive(replica) => self.arrive(replica, true),
            Step::Lose(replica) => self.arrive(replica, false),
            Step::Cut(replica) => {
                let ask = self.leases[replica].ask(self.now, true);
                self.leases[replica].no_answer(ask);
            }
            Step::Submit(replica) => self.submit(replica),
            Step::Leave(replica) => {
                if self.leases[replica].leave() {
                    self.holder.take_if(|(holder, _)| *holder == replica);
                }
            }
            Step::Empty => (self.holder, self.newest) = (None, 0),
        }
    }

    fn acting(&self) -> usize {
        self.leases.iter().filter(|lease| lease.may_act(self.now)).count()
    }

    /// Everything works again, for as long as a takeover may take.
    fn heal(&mut self) {
        self.answers.clear();
        let healed = self.now + Duration::from_secs(5);
        while self.now < healed {
            for replica in 0..REPLICAS {
                self.ask(replica, true);
                self.arrive(replica, true);
                self.submit(replica);
            }
            self.now += PERIOD;
        }
    }
}

/// A world in which something was given out before, so that its clock is not the only source of tokens.
fn world() -> World {
    World { now: Duration::from_secs(1000), ..World::default() }
}

proptest! {
    #[test]
    fn one_acts_at_a_time_while_redis_is_there(steps in proptest::collection::vec(step(false), 0..200)) {
        let mut world = world();
        for step in steps {
            // An answer that is lost is where a leader goes on without Redis.
            if !matches!(step, Step::Lose(_)) {
                world.step(step);
            }
            assert!(world.acting() <= 1, "two act");
        }
    }

    #[test]
    fn chain_takes_blocks_in_the_order_of_tokens_and_one_leads_in_the_end(
        steps in proptest::collection::vec(step(true), 0..200)
    ) {
        let mut world = world();
        for step in steps {
            world.step(step);
        }
        let before = world.taken.len();
        world.heal();
        assert_eq!(world.acting(), 1);
        assert!(world.taken.len() > before, "the leader's blocks are taken");
        assert!(world.taken.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        assert!(world.taken.windows(2).all(|pair| pair[0].0 == pair[1].0 || pair[0].1 < pair[1].1), "shared token");
    }
}

#[test]
fn a_leader_that_was_held_up_hears_first_whether_it_still_is() {
    let mut world = world();
    world.ask(0, true);
    world.arrive(0, true);
    assert!(world.leases[0].may_act(world.now));
    world.ask(0, true);
    world.now += Duration::from_secs(10);
    assert!(!world.leases[0].may_act(world.now));
    world.arrive(0, true);
    assert!(!world.leases[0].may_act(world.now), "the answer is as old as the pause");
    world.ask(1, true);
    world.arrive(1, true);
    world.ask(0, true);
    world.arrive(0, true);
    assert_eq!((world.leases[0].token(), world.acting()), (None, 1));
}

#[test]
fn a_leader_goes_on_without_redis_and_not_after_a_refusal() {
    let mut world = world();
    world.ask(0, true);
    world.arrive(0, true);
    for _ in 0..40 {
        world.now += Duration::from_secs(1);
        world.step(Step::Cut(0));
        assert!(world.leases[0].may_act(world.now));
    }
    let token = world.leases[0].token().expect("leads");
    world.seen = token + 1_000_000;
    world.submit(0);
    assert_eq!(world.leases[0].token(), None);
    world.ask(0, true);
    world.arrive(0, true);
    assert!(world.leases[0].token() > Some(world.seen), "a higher token, though Redis knows of none");
}
