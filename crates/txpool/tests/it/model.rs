//! Random histories, checked after every step against what must always hold of the pool.

use crate::helpers::{address, head, nonces, rich, seconds, submission, transfer};
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, U256};
use proptest::prelude::*;
use quintet_txpool::{AccountView, Config, Event, HeadInfo, HeadUpdate, Origin, Pool};
use quintet_types::PoolTransaction;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const ACCOUNTS: u8 = 5;
/// The account whose transactions are local.
const LOCAL: u8 = 0;
const BUMP: u128 = 10;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Account, nonce above the state's, price.
    Add(u8, u64, u128),
    /// Mines this many of the best.
    Mine(usize),
    /// Takes the last block back.
    Reorg,
    /// Account, how many transfers at price 1 its balance covers.
    Balance(u8, u64),
    MinTip(u128),
    /// Seconds that go by.
    Wait(u64),
    BaseFee(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..ACCOUNTS, 0_u64..6, 1_u128..60).prop_map(|(who, nonce, price)| Step::Add(who, nonce, price)),
        2 => (0_usize..4).prop_map(Step::Mine),
        1 => Just(Step::Reorg),
        2 => (0..ACCOUNTS, 50_u64..1500).prop_map(|(who, transfers)| Step::Balance(who, transfers)),
        1 => (1_u128..20).prop_map(Step::MinTip),
        1 => (0_u64..8000).prop_map(Step::Wait),
        1 => (0_u64..40).prop_map(Step::BaseFee),
    ]
}

/// The chain and what the pool owes, kept naively.
struct World {
    pool: Pool,
    config: Config,
    accounts: BTreeMap<Address, AccountView>,
    blocks: Vec<Vec<Arc<PoolTransaction>>>,
    /// Acknowledged and not reported dropped since.
    alive: BTreeSet<B256>,
    prices: BTreeMap<B256, u128>,
    arrival: BTreeMap<B256, usize>,
    arrivals: usize,
    number: u64,
    now: u64,
    base_fee: u64,
}

impl World {
    fn new() -> Self {
        let config = Config {
            account_slots: 2,
            global_slots: 8,
            account_queue: 3,
            global_queue: 4,
            locals: vec![address(LOCAL)],
            ..Config::default()
        };
        Self {
            pool: Pool::new(config.clone(), head(1)),
            config,
            accounts: (0..ACCOUNTS).map(|index| (address(index), rich())).collect(),
            blocks: Vec::new(),
            alive: BTreeSet::new(),
            prices: BTreeMap::new(),
            arrival: BTreeMap::new(),
            arrivals: 0,
            number: 1,
            now: 0,
            base_fee: 0,
        }
    }

    fn hear(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Pending(tx) => {
                    assert!(self.prices.contains_key(&tx.hash), "pending without being added");
                }
                Event::Dropped { transaction, reason } => {
                    assert!(self.alive.remove(&transaction.hash), "dropped twice: {reason}");
                }
            }
        }
    }

    fn arrive(&mut self, hash: B256, price: u128) {
        self.alive.insert(hash);
        self.prices.insert(hash, price);
        self.arrivals += 1;
        self.arrival.insert(hash, self.arrivals);
    }

    fn set_head(&mut self, mut update: HeadUpdate) {
        self.number += 1;
        update.head = HeadInfo { base_fee: self.base_fee, ..head(self.number) };
        update.changed = self.accounts.iter().map(|(address, view)| (*address, *view)).collect();
        let events = self.pool.set_head(update, seconds(self.now));
        self.hear(events);
    }

    fn add(&mut self, who: u8, ahead: u64, price: u128) {
        let view = self.accounts[&address(who)];
        let tx = transfer(address(who), view.nonce + ahead, price);
        let hash = *tx.tx_hash();
        let known = self.pool.contains(&hash);
        let rival = self.holder(address(who), view.nonce + ahead);
        let sent = submission(tx, address(who), Origin::Remote);
        let result = self.pool.add(sent, view, seconds(self.now));
        let Ok(added) = result else {
            assert_eq!(self.pool.contains(&hash), known);
            let events = self.pool.take_events();
            return self.hear(events);
        };
        assert!(!known && self.pool.contains(&hash));
        assert_eq!(added.local, who == LOCAL);
        self.arrive(hash, price);
        if let Some(old) = added.replaced {
            assert_eq!(rival, Some(old));
            assert!(price * 100 >= self.prices[&old] * (100 + BUMP) - 99);
            assert!(price > self.prices[&old]);
        }
        let (_, queued) = nonces(&self.pool, who);
        assert_eq!(added.pending, !queued.contains(&(view.nonce + ahead)));
        self.hear(added.events);
    }

    fn holder(&self, sender: Address, nonce: u64) -> Option<B256> {
        let (pending, queued) = self.pool.content_from(&sender);
        let mut all = pending.iter().chain(&queued);
        all.find(|tx| tx.transaction.nonce() == nonce).map(|tx| tx.hash)
    }

    fn mine(&mut self, count: usize) {
        let block: Vec<_> = self.pool.best_transactions(self.base_fee, 0, 0).take(count).collect();
        for tx in &block {
            let account = self.accounts.get_mut(&tx.sender).unwrap();
            assert_eq!(tx.transaction.nonce(), account.nonce, "not executable");
            account.nonce += 1;
        }
        let update =
            HeadUpdate { mined: block.iter().map(|tx| tx.hash).collect(), ..HeadUpdate::new(head(1)) };
        self.blocks.push(block);
        self.set_head(update);
    }

    fn reorg(&mut self) {
        let Some(block) = self.blocks.pop() else { return };
        let mut update = HeadUpdate::new(head(1));
        for tx in block {
            let account = self.accounts.get_mut(&tx.sender).unwrap();
            account.nonce = account.nonce.min(tx.transaction.nonce());
            // Owed from now on, unless the pool says otherwise.
            if !self.pool.contains(&tx.hash) {
                self.arrive(tx.hash, tx.transaction.max_fee_per_gas());
                update.reinject.push((block_form(&tx.transaction), tx.sender));
            }
        }
        self.set_head(update);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Add(who, nonce, price) => self.add(who, nonce, price),
            Step::Mine(count) => self.mine(count),
            Step::Reorg => self.reorg(),
            Step::Balance(who, transfers) => {
                self.accounts.get_mut(&address(who)).unwrap().balance = U256::from(transfers * 21_000);
                self.set_head(HeadUpdate::new(head(1)));
            }
            Step::MinTip(tip) => {
                let events = self.pool.set_min_tip(tip);
                self.hear(events);
            }
            Step::Wait(seconds_gone) => {
                self.now += seconds_gone;
                let events = self.pool.tick(seconds(self.now));
                self.hear(events);
            }
            Step::BaseFee(base_fee) => {
                self.base_fee = base_fee;
                self.set_head(HeadUpdate::new(head(1)));
            }
        }
    }

    fn check(&self) {
        let content = self.pool.content();
        let all = || content.pending.values().chain(content.queued.values()).flatten();
        assert_eq!(all().map(|tx| tx.hash).collect::<BTreeSet<_>>(), self.alive);
        let status = self.pool.status();
        assert_eq!(status.pending, content.pending.values().map(Vec::len).sum::<usize>());
        assert_eq!(status.queued, content.queued.values().map(Vec::len).sum::<usize>());
        assert_eq!(self.pool.slots(), all().count());
        for (address, view) in &self.accounts {
            self.check_account(address, view, &content);
        }
        self.check_bounds(&content);
        self.check_best(&content);
    }

    fn check_account(&self, address: &Address, view: &AccountView, content: &quintet_txpool::Content) {
        let none = Vec::new();
        let pending = content.pending.get(address).unwrap_or(&none);
        let queued = content.queued.get(address).unwrap_or(&none);
        let mut next = view.nonce;
        for tx in pending {
            assert_eq!(tx.transaction.nonce(), next, "pending has a gap");
            next += 1;
        }
        let mut last = next;
        for tx in queued {
            assert!(tx.transaction.nonce() > last, "queued without a gap, or twice");
            last = tx.transaction.nonce();
        }
        for tx in pending.iter().chain(queued) {
            let cost = tx.transaction.max_fee_per_gas() * u128::from(tx.transaction.gas_limit());
            assert!(U256::from(cost) <= view.balance, "unaffordable");
        }
        if !pending.is_empty() || !queued.is_empty() {
            assert_eq!(self.pool.pending_nonce(address), Some(next));
        }
        if *address != crate::helpers::address(LOCAL) {
            assert!(queued.len() <= self.config.account_queue);
        }
    }

    fn check_bounds(&self, content: &quintet_txpool::Content) {
        let local = address(LOCAL);
        let remote = |lists: &BTreeMap<Address, Vec<_>>| -> usize {
            lists.iter().filter(|(address, _)| **address != local).map(|(_, list)| list.len()).sum()
        };
        let (pending, queued) = (remote(&content.pending), remote(&content.queued));
        assert!(pending + queued <= self.config.global_slots + self.config.global_queue);
        assert!(queued <= self.config.global_queue);
        if self.pool.status().pending > self.config.global_slots {
            let over = |(address, list): (&Address, &Vec<_>)| {
                *address != local && list.len() > self.config.account_slots
            };
            assert!(!content.pending.iter().any(over), "unfair share");
        }
    }

    /// The iterator against choosing the best head of all accounts, again and again.
    fn check_best(&self, content: &quintet_txpool::Content) {
        let mut lists: Vec<_> = content.pending.values().map(Vec::as_slice).collect();
        let tip = |tx: &PoolTransaction| tx.transaction.effective_tip_per_gas(self.base_fee);
        for best in self.pool.best_transactions(self.base_fee, 0, 0) {
            let heads = lists.iter_mut().filter(|list| list.first().is_some_and(|tx| tip(tx).is_some()));
            let rank = |tx: &PoolTransaction| (tip(tx), std::cmp::Reverse(self.arrival[&tx.hash]));
            let chosen = heads.max_by_key(|list| list.first().map(|tx| rank(tx))).unwrap();
            let (first, rest) = chosen.split_first().unwrap();
            assert_eq!(first.hash, best.hash, "not the best");
            *chosen = rest;
        }
        assert!(lists.iter().all(|list| list.first().is_none_or(|tx| tip(tx).is_none())));
    }
}

fn block_form(tx: &TxEnvelope) -> quintet_types::Transaction {
    quintet_types::decode_transaction(&tx.encoded_2718()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_must_hold_holds(steps in proptest::collection::vec(step(), 1..100)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
    }
}
