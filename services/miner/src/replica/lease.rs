//! Who leads: the decisions about the lease, without IO and without a clock.
//!
//! Every replica asks Redis each [`PERIOD`], and Redis tells who holds the lease (`beat.lua`). A lease that is not
//! renewed ends after [`TTL`]. Each grant has a fencing token, higher than all before, which goes to `chain` with
//! every block; `chain` refuses a token lower than one it has seen.
//!
//! What must hold:
//! - While Redis answers, at most one replica [may act](Lease::may_act) at a time. A replica that was held up for
//!   longer than its lease may not act before Redis told it anew where it stands.
//! - While a leader cannot reach Redis it goes on: as far as it can know nobody else leads. If another does, on the far
//!   side of a cut network or in a Redis that was emptied, the token decides: `chain` refuses the older one, and that
//!   replica stands by.
//! - A replica that cannot reach `chain` does not keep the lease from one that can.
//! - A replica never leads under a token that `chain` refused.
//!
//! Times are since any fixed moment, by a clock that never runs backwards.

use std::time::Duration;

/// How long the lease is held without being renewed.
pub const TTL: Duration = Duration::from_secs(3);
/// Between two questions to Redis: the longest that an orderly handover or a changed setting waits.
pub const PERIOD: Duration = Duration::from_millis(250);

/// One question: who holds the lease? Redis gives or renews it when it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Numbers the questions, so that late answers are known.
    pub number: u64,
    /// When it was asked.
    pub sent: Duration,
    /// Whether it wants the lease. Who cannot reach `chain` does not, and gives it up.
    pub wanted: bool,
    /// Token that the replica leads under; 0 when it stands by.
    pub token: u64,
    /// The highest token that it knows of: a new one must be higher, also when Redis has forgotten it.
    pub floor: u64,
}

/// What Redis answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The replica that asked holds the lease, under this token.
    Mine(u64),
    /// Another does, and the newest token is this one.
    Others(u64),
    /// Nobody does, since the replica that asked does not want it; the newest token is this one.
    Nobody(u64),
}

/// What becomes of the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It leads from now on, or goes on under a higher token.
    Lead {
        /// The token.
        token: u64,
    },
    /// It stands by from now on, because another replica holds the lease.
    Lost,
    /// It stands by from now on, because it did not want the lease any more.
    GaveUp,
    /// It stands by from now on, because `chain` refused its token.
    Fenced,
}

/// One replica's part in the lease.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    /// 0 when it stands by.
    token: u64,
    /// A leader's word holds until then.
    fresh_until: Duration,
    /// The highest token known of.
    floor: u64,
    /// No token up to this one is led under: `chain` refused one of them.
    refused: u64,
    asked: u64,
    answered: u64,
}

impl Lease {
    /// The token that it leads under; `None` when it stands by.
    pub fn token(&self) -> Option<u64> {
        (self.token != 0).then_some(self.token)
    }

    /// The highest token that it knows of, its own or another's.
    pub const fn newest(&self) -> u64 {
        self.floor
    }

    /// Whether a block may be built or handed in at `now`.
    pub fn may_act(&self, now: Duration) -> bool {
        self.token != 0 && now < self.fresh_until
    }

    /// Until when a block may be handed in.
    pub const fn fresh_until(&self) -> Duration {
        self.fresh_until
    }

    /// The next question; `wanted` says whether it is for the lease.
    pub fn ask(&mut self, now: Duration, wanted: bool) -> Ask {
        if !wanted {
            // The lease is gone once Redis has the question, and answers to earlier ones are about that lease.
            self.answered = self.asked;
            self.fresh_until = Duration::ZERO;
        }
        self.asked += 1;
        Ask { number: self.asked, sent: now, wanted, token: self.token, floor: self.floor }
    }

    /// Takes an answer, read at `now`.
    pub fn answer(&mut self, ask: Ask, held: Held, now: Duration) -> Option<Turn> {
        if !self.is_news(ask) {
            return None;
        }
        match held {
            Held::Mine(token) => {
                self.floor = self.floor.max(token);
                // It lay unread for as long as the lease is; or it is about the grant that `chain` refused.
                let fresh_until = ask.sent.saturating_add(TTL);
                if now >= fresh_until || token <= self.refused {
                    return None;
                }
                self.fresh_until = fresh_until;
                let before = std::mem::replace(&mut self.token, token);
                (before != token).then_some(Turn::Lead { token })
            }
            Held::Others(token) => {
                self.floor = self.floor.max(token);
                self.stand_by(Turn::Lost)
            }
            Held::Nobody(token) => {
                self.floor = self.floor.max(token);
                self.stand_by(Turn::GaveUp)
            }
        }
    }

    /// There was no answer. A leader goes on for now.
    pub fn no_answer(&mut self, ask: Ask) {
        if self.is_news(ask) && ask.wanted {
            self.fresh_until = self.fresh_until.max(ask.sent.saturating_add(TTL));
        }
    }

    /// `chain` refused a block that was handed in under `token`, because it has seen `newest`.
    pub fn refuse(&mut self, token: u64, newest: u64) -> Option<Turn> {
        self.floor = self.floor.max(newest);
        self.refused = self.refused.max(token);
        if token < self.token { None } else { self.stand_by(Turn::Fenced) }
    }

    /// Gives the lease up; `true` when there is something to give back.
    pub fn leave(&mut self) -> bool {
        // Answers under way are about the lease that is given back.
        self.answered = self.asked;
        std::mem::take(&mut self.token) != 0
    }

    fn is_news(&mut self, ask: Ask) -> bool {
        let news = ask.number > self.answered;
        self.answered = self.answered.max(ask.number);
        news
    }

    fn stand_by(&mut self, turn: Turn) -> Option<Turn> {
        (std::mem::take(&mut self.token) != 0).then_some(turn)
    }
}
