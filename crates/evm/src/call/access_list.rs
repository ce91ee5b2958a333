//! `eth_createAccessList` by geth's algorithm (`eth/tracers/logger/access_list_tracer.go`): the call is run
//! with the list found so far until the list does not change.

use super::{CallError, CallRequest, Runner, Simulation};
use crate::error::ExecutionError;
use crate::vm::{self, VmContext};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, TxKind, U256};
use revm::Inspector;
use revm::bytecode::opcode;
use revm::interpreter::Interpreter;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, Jumps};
use revm::primitives::hardfork::SpecId;
use std::collections::{BTreeMap, BTreeSet};

/// An access list for a call, and what the call does with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedAccessList {
    /// What the call reads, ordered; without the sender, the recipient and the precompiles, unless a slot of
    /// theirs is read.
    pub access_list: AccessList,
    /// Gas that the call uses with this list.
    pub gas_used: u64,
    /// Why the call fails, if it does, in geth's words.
    pub error: Option<String>,
}

/// A call may do something else each time its list changes; then the last list has to do.
const MAX_ROUNDS: usize = 64;

type Touched = BTreeMap<Address, BTreeSet<B256>>;

impl Simulation<'_> {
    /// The access list that covers everything the call reads.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn create_access_list(&self, request: &CallRequest) -> Result<CreatedAccessList, CallError> {
        let environment = self.environment()?;
        let mut tx = request.to_tx(&environment, request.gas_limit(self.limits.gas_cap))?;
        let mut runner = Runner::new(self, &environment, &tx, Tracer::default())?;
        let excluded = runner.excluded(&tx.caller, tx.kind)?;
        let mut found = touched(request.access_list.iter().flat_map(|list| list.iter()));
        found.retain(|address, slots| !slots.is_empty() || !excluded.contains(address));
        let berlin = environment.cfg.spec.is_enabled_in(SpecId::BERLIN);
        let mut rounds = 0;
        loop {
            if berlin {
                tx.tx_type = tx.tx_type.max(1);
                tx.access_list = access_list(&found);
            }
            runner.vm.inspector = Tracer { touched: found.clone(), excluded: excluded.clone() };
            let run = runner.run_with(tx.clone(), vm::run_inspected)?;
            let traced = std::mem::take(&mut runner.vm.inspector.touched);
            rounds += 1;
            if traced == found || rounds == MAX_ROUNDS {
                runner.retire();
                return Ok(CreatedAccessList {
                    access_list: access_list(&found),
                    gas_used: run.outcome.gas_used(),
                    error: run.outcome.error().map(str::to_owned),
                });
            }
            found = traced;
        }
    }
}

impl Runner<'_, Tracer> {
    /// Addresses that are warm anyway.
    fn excluded(&mut self, sender: &Address, kind: TxKind) -> Result<BTreeSet<Address>, CallError> {
        let mut excluded: BTreeSet<Address> = self.vm.precompiles.warm_addresses().iter().copied().collect();
        excluded.insert(*sender);
        let recipient = match kind {
            TxKind::Call(to) => to,
            TxKind::Create => {
                let overlay = &mut self.vm.ctx.journaled_state.database;
                let info = overlay.info(*sender).map_err(ExecutionError::from)?;
                sender.create(info.map(|info| info.nonce).unwrap_or_default())
            }
        };
        excluded.insert(recipient);
        Ok(excluded)
    }
}

fn touched<'i>(items: impl Iterator<Item = &'i AccessListItem>) -> Touched {
    let mut touched = Touched::new();
    for item in items {
        touched.entry(item.address).or_default().extend(item.storage_keys.iter().copied());
    }
    touched
}

fn access_list(touched: &Touched) -> AccessList {
    let item = |(address, slots): (&Address, &BTreeSet<B256>)| AccessListItem {
        address: *address,
        storage_keys: slots.iter().copied().collect(),
    };
    AccessList(touched.iter().map(item).collect())
}

/// Notes every address and slot that an opcode reads.
#[derive(Default)]
struct Tracer {
    touched: Touched,
    excluded: BTreeSet<Address>,
}

impl Inspector<VmContext<'_>, EthInterpreter> for Tracer {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _context: &mut VmContext<'_>) {
        let stack = interpreter.stack.data();
        let peek = |depth: usize| stack.len().checked_sub(depth).and_then(|at| stack.get(at)).copied();
        match interpreter.bytecode.opcode() {
            opcode::SLOAD | opcode::SSTORE => {
                if let Some(slot) = peek(1) {
                    let slots = self.touched.entry(interpreter.input.target_address()).or_default();
                    slots.insert(B256::from(slot));
                }
            }
            opcode::EXTCODECOPY
            | opcode::EXTCODEHASH
            | opcode::EXTCODESIZE
            | opcode::BALANCE
            | opcode::SELFDESTRUCT => self.note(peek(1)),
            opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL
                if stack.len() >= 5 =>
            {
                self.note(peek(2));
            }
            _ => {}
        }
    }
}

impl Tracer {
    fn note(&mut self, word: Option<U256>) {
        let Some(word) = word else { return };
        let address = Address::from_word(B256::from(word));
        if !self.excluded.contains(&address) {
            self.touched.entry(address).or_default();
        }
    }
}
