//! Accounts, code and storage after a block.

use super::context::{Context, Output, Stop, state_error};
use crate::decode::{self, BlockId, BlockTag};
use crate::error::RpcError;
use crate::json::{self, Object};
use crate::params::Params;
use crate::shared::Shared;
use alloy_primitives::{Address, U256};
use futures::FutureExt;
use futures::future::BoxFuture;
use quintet_types::StateReader;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Slots that one `eth_getStorageValues` may ask for.
const MOST_SLOTS: usize = 1024;

/// `eth_getBalance`.
pub(super) fn balance(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let address = params.required(decode::address)?;
    let block = params.optional(decode::block_id)?;
    params.end()?;
    let state = context.state(block)?;
    out.block = state.block().number;
    let account = state.account(&address).map_err(state_error)?;
    json::quantity256(&mut out.json, &account.map(|account| account.balance).unwrap_or_default());
    Ok(())
}

/// `eth_getCode`.
pub(super) fn code(context: &mut Context<'_>, params: &mut Params<'_>, out: &mut Output) -> Result<(), Stop> {
    let address = params.required(decode::address)?;
    let block = params.optional(decode::block_id)?;
    params.end()?;
    let state = context.state(block)?;
    out.block = state.block().number;
    let account = state.account(&address).map_err(state_error)?;
    let code = match account.filter(quintet_types::Account::has_code) {
        Some(account) => state.code(&account.code_hash).map_err(state_error)?.unwrap_or_default(),
        None => alloy_primitives::Bytes::new(),
    };
    json::data(&mut out.json, &code);
    Ok(())
}

/// `eth_getStorageAt`.
pub(super) fn storage(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let address = params.required(decode::address)?;
    let slot = params.required(|raw| {
        decode::text(raw)
            .map(|text| decode::storage_key(&text))
            .ok_or_else(|| decode::cannot_unmarshal("non-string", "string"))
    })?;
    let slot = slot.map_err(RpcError::InvalidParams)?;
    let block = params.optional(decode::block_id)?;
    params.end()?;
    let state = context.state(block)?;
    out.block = state.block().number;
    let value = read_slot(&state, &address, &slot.into())?;
    json::data(&mut out.json, &value.to_be_bytes::<32>());
    Ok(())
}

fn read_slot(state: &dyn StateReader, address: &Address, slot: &U256) -> Result<U256, Stop> {
    match state.account(address).map_err(state_error)? {
        Some(account) => state.storage(address, account.incarnation, slot).map_err(state_error),
        None => Ok(U256::ZERO),
    }
}

/// `eth_getStorageValues`: several slots of several accounts.
pub(super) fn storage_values(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let asked = params.required(slots_by_account)?;
    let block = params.optional(decode::block_id)?;
    params.end()?;
    let slots: usize = asked.values().map(Vec::len).sum();
    if slots == 0 {
        return Err(RpcError::params("empty request").into());
    }
    if slots > MOST_SLOTS {
        return Err(RpcError::params(format!("too many slots (max {MOST_SLOTS})")).into());
    }
    let state = context.state(block)?;
    out.block = state.block().number;
    let all: Vec<_> =
        asked.iter().flat_map(|(address, slots)| slots.iter().map(|slot| (*address, *slot))).collect();
    state.prefetch(&all, &[]).map_err(state_error)?;
    let mut object = Object::new(&mut out.json);
    for (address, slots) in &asked {
        let mut values = Vec::with_capacity(slots.len());
        for slot in slots {
            values.push(read_slot(&state, address, slot)?);
        }
        let key = alloy_primitives::hex::encode_prefixed(address);
        json::array(object.key(&key), values, |out, value| json::data(out, &value.to_be_bytes::<32>()));
    }
    object.end();
    Ok(())
}

fn slots_by_account(raw: &str) -> Result<BTreeMap<Address, Vec<U256>>, String> {
    let map: BTreeMap<String, &RawValue> = serde_json::from_str(raw)
        .map_err(|_| decode::cannot_unmarshal("value", "map[common.Address][]common.Hash"))?;
    map.into_iter()
        .map(|(address, slots)| {
            let address = decode::address(&format!("\"{address}\""))?;
            let slots =
                decode::list(slots.get(), "[]common.Hash", |slot| decode::hash(slot).map(Into::into))?;
            Ok((address, slots))
        })
        .collect()
}

/// `eth_getTransactionCount`. What is pending only the pool knows.
pub(super) fn transaction_count<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let address = params.required(decode::address)?;
        let block = params.optional(decode::block_id)?;
        params.end()?;
        let nonce = if block == Some(BlockId::Tag(BlockTag::Pending)) {
            shared.chain.pool_nonce(address).await?
        } else {
            let (number, nonce) = shared.reads.retry(|view| {
                let context = Context { shared, view: view.clone(), pending: None, cancel: None };
                let state = context.state(block).map_err(Stop::into_error)?;
                let account = state.account(&address)?;
                Ok((state.block().number, account.map(|account| account.nonce).unwrap_or_default()))
            })?;
            out.block = number;
            nonce
        };
        json::quantity(&mut out.json, nonce);
        Ok(())
    }
    .boxed()
}
