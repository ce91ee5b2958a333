//! Which transactions a block gets: kinds by weight, senders and recipients at random, nonces as the state has them.

use super::contracts::{child_address, child_init_code, transfer_call, words};
use super::random::Random;
use super::setup::Setup;
use super::state::State;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use std::collections::HashMap;

/// Salts from here on are used by one transaction each.
const PASSING_SALT: u64 = 1 << 32;
/// The most gas that a failing transaction burns.
const FAILING_GAS: u64 = 40_000;

/// What a transaction does; sender, nonce and fees are apart.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) to: TxKind,
    pub(crate) value: U256,
    pub(crate) input: Bytes,
    pub(crate) gas: u64,
}

impl Call {
    fn to(to: Address, input: Bytes, gas: u64) -> Self {
        Self { to: to.into(), value: U256::ZERO, input, gas }
    }
}

/// A call with its sender, by index, and nonce.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) sender: usize,
    pub(crate) nonce: u64,
    pub(crate) call: Call,
}

/// Nonces of the accounts in the middle of a block.
#[derive(Debug)]
pub(crate) struct Nonces<'a> {
    state: &'a State,
    next: HashMap<Address, u64>,
}

impl<'a> Nonces<'a> {
    pub(crate) fn new(state: &'a State) -> Self {
        Self { state, next: HashMap::new() }
    }

    /// The account's next nonce, which is thereby used.
    pub(crate) fn take(&mut self, address: Address) -> u64 {
        let next = self.next.entry(address).or_insert_with(|| self.state.get(&address).nonce);
        *next += 1;
        *next - 1
    }
}

/// Makes one kind of call.
type Make<'a> = fn(&Content<'a>, &mut Random) -> Call;

/// Makes calls on the state before a block.
pub(crate) struct Content<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) state: &'a State,
    /// Contracts that transactions created before.
    pub(crate) created: &'a [Address],
    /// The block's number.
    pub(crate) number: u64,
}

impl<'a> Content<'a> {
    /// As many calls as asked for, from senders at random.
    pub(crate) fn plan(&self, random: &mut Random, nonces: &mut Nonces<'_>, count: usize) -> Vec<Planned> {
        (0..count)
            .map(|_| {
                let sender = random.index(self.setup.senders.len());
                let nonce = nonces.take(self.setup.senders[sender].address);
                Planned { sender, nonce, call: self.call(random) }
            })
            .collect()
    }

    fn call(&self, random: &mut Random) -> Call {
        let mix = self.setup.options.mix;
        let kinds: [(u64, Make<'a>); 6] = [
            (mix.transfer, Self::transfer),
            (mix.token, Self::token),
            (mix.churn, Self::churn),
            (mix.create, Self::create),
            (mix.child, Self::child),
            (mix.fail, Self::fail),
        ];
        let mut draw = random.below(kinds.iter().map(|(weight, _)| weight).sum());
        for (weight, call) in kinds {
            if draw < weight {
                return call(self, random);
            }
            draw -= weight;
        }
        self.transfer(random)
    }

    fn transfer(&self, random: &mut Random) -> Call {
        let value = U256::from(1 + random.below(1_000_000_000_000_000));
        Call { to: self.recipient(random, 10).into(), value, input: Bytes::new(), gas: 21_000 }
    }

    fn token(&self, random: &mut Random) -> Call {
        let token = pick(random, &self.setup.tokens);
        let to = self.recipient(random, 5);
        Call::to(token, transfer_call(to, U256::from(1 + random.below(1_000_000_000))), 90_000)
    }

    /// A quarter clears, a quarter reads, the others write: a quarter of all in new places mostly.
    fn churn(&self, random: &mut Random) -> Call {
        let contract = pick(random, &self.setup.churns);
        let slots = self.setup.options.slots;
        let first = random.below(slots);
        let few = (slots / 16).max(1);
        match random.below(4) {
            0 => {
                let count = few.min(16 + random.below(12));
                Call::to(contract, words([first, count, 0]), 60_000 + count * 6_500)
            }
            1 => {
                let count = few.min(100 + random.below(60));
                Call::to(contract, words([first, count]), 60_000 + count * 2_600)
            }
            _ => {
                let count = few.min(6 + random.below(7));
                let factor = random.next() | 1;
                Call::to(contract, words([first, count, factor]), 60_000 + count * 24_000)
            }
        }
    }

    fn create(&self, random: &mut Random) -> Call {
        if !self.created.is_empty() && random.chance(50) {
            let contract = pick(random, self.created);
            return if random.chance(50) { self.write(contract, random) } else { Self::destroy(contract) };
        }
        let length = 32 + random.index(480);
        let padding: Vec<u8> = std::iter::repeat_with(|| random.word()).flatten().take(length).collect();
        let call = Call::to(Address::ZERO, child_init_code(&padding), 350_000);
        Call { to: TxKind::Create, value: U256::from(random.below(2)), ..call }
    }

    fn child(&self, random: &mut Random) -> Call {
        let factory = self.setup.factory;
        let salt = random.below(self.setup.options.children);
        let child = child_address(factory, salt);
        if self.state.get(&child).has_code() {
            return if random.chance(65) { self.write(child, random) } else { Self::destroy(child) };
        }
        match random.below(10) {
            0 => Call { value: U256::from(1 + random.below(1_000)), ..Call::to(child, Bytes::new(), 30_000) },
            1 => Call::to(factory, words([PASSING_SALT + random.below(1 << 32), 1]), 200_000),
            2 => Call::to(factory, words([salt, 1]), 200_000),
            _ => Call::to(factory, words([salt]), 200_000),
        }
    }

    fn write(&self, contract: Address, random: &mut Random) -> Call {
        let value = if random.chance(30) { 0 } else { self.number };
        Call::to(contract, words([random.below(4), value]), 60_000)
    }

    fn destroy(contract: Address) -> Call {
        Call::to(contract, Bytes::new(), 80_000)
    }

    fn fail(&self, random: &mut Random) -> Call {
        match random.below(3) {
            0 => {
                let token = pick(random, &self.setup.tokens);
                let to = self.recipient(random, 0);
                Call::to(token, transfer_call(to, U256::MAX), FAILING_GAS)
            }
            1 => {
                let contract = pick(random, &self.setup.churns);
                Call::to(contract, words([random.next() >> 1, 1_000, 1]), FAILING_GAS)
            }
            _ => {
                let invalid = Bytes::from_static(&[0xfe]);
                Call { to: TxKind::Create, ..Call::to(Address::ZERO, invalid, 60_000) }
            }
        }
    }

    /// An account that was there from the start, or in some of a hundred cases one that never was.
    fn recipient(&self, random: &mut Random, new: u64) -> Address {
        if random.chance(new) {
            return Address::from_word(random.word());
        }
        self.setup.account(random.index(self.setup.options.accounts.max(self.setup.senders.len())))
    }
}

fn pick(random: &mut Random, addresses: &[Address]) -> Address {
    addresses[random.index(addresses.len())]
}
