//! What gas costs: geth's price oracle (`eth/gasprice`) and the fee history.

use super::context::{Context, Output, Stop};
use crate::decode::{self, BlockTag};
use crate::error::RpcError;
use crate::json::{self, Object};
use crate::params::Params;
use crate::read::View;
use crate::shared::{Shared, SuggestedTip};
use alloy_consensus::Transaction as _;
use alloy_primitives::U256;
use quintet_types::Header;
use std::sync::Arc;

/// Blocks that the oracle looks at.
const CHECK_BLOCKS: usize = 20;
/// Lowest tips taken from each.
const SAMPLES: usize = 3;
/// Which of the sampled tips is suggested.
const PERCENTILE: usize = 60;
/// The highest tip suggested, wei.
const MAX_TIP: u128 = 500_000_000_000;
/// Transactions that tip less are not looked at, wei.
const IGNORED_TIP: u128 = 2;
/// What is suggested before any transaction tells more, wei.
const DEFAULT_TIP: u128 = 1_000_000_000;
/// Blocks in one fee history.
const MOST_BLOCKS: u64 = 1024;
/// Percentiles in one fee history.
const MOST_PERCENTILES: usize = 100;

impl Shared {
    /// Wei per blob gas in a block; `None` before Cancun.
    pub(crate) fn blob_base_fee(&self, header: &Header) -> Option<u128> {
        let excess = header.excess_blob_gas?;
        Some(self.spec.blob_params_at(header.timestamp)?.calc_blob_fee(excess))
    }

    /// The tip that gets a transaction into one of the next blocks.
    pub(crate) fn suggest_tip(&self, view: &View) -> Result<U256, RpcError> {
        let head = view.head().hash;
        let last = self.suggested_tip.load_full();
        if let Some(last) = last.as_ref().filter(|last| last.head == head) {
            return Ok(last.tip);
        }
        let fallback = last.map_or(DEFAULT_TIP, |last| last.tip.saturating_to());
        let mut tips = self.sampled_tips(view, fallback)?;
        tips.sort_unstable();
        let index = tips.len().saturating_sub(1) * PERCENTILE / 100;
        let tip = tips.get(index).copied().unwrap_or(fallback).min(MAX_TIP);
        let tip = U256::from(tip);
        self.suggested_tip.store(Some(Arc::new(SuggestedTip { head, tip })));
        Ok(tip)
    }

    /// Tips of the newest blocks; `fallback` for one that tells nothing.
    fn sampled_tips(&self, view: &View, fallback: u128) -> Result<Vec<u128>, RpcError> {
        let mut tips = Vec::new();
        let mut number = view.header().number;
        let mut left = CHECK_BLOCKS;
        let mut looked_at = 0;
        while left > 0 && number > 0 {
            left -= 1;
            looked_at += 1;
            let Some(block) = self.reads.canonical(view, number)? else { break };
            let Some(block) = self.reads.block(view, &block.hash)? else { break };
            let base_fee = block.header().base_fee_per_gas.unwrap_or_default();
            let miner = block.header().beneficiary;
            let mut of_block: Vec<u128> = block
                .transactions()
                .filter(|(_, sender)| *sender != miner)
                .filter_map(|(transaction, _)| transaction.effective_tip_per_gas(base_fee))
                .filter(|tip| *tip >= IGNORED_TIP)
                .collect();
            of_block.sort_unstable();
            of_block.truncate(SAMPLES);
            if of_block.is_empty() {
                of_block.push(fallback);
            }
            // A block that says little is made up for by one more, up to twice as many.
            if of_block.len() == 1 && looked_at + left < CHECK_BLOCKS * 2 {
                left += 1;
            }
            tips.extend(of_block);
            number -= 1;
        }
        Ok(tips)
    }
}

/// `eth_gasPrice`.
pub(super) fn gas_price(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    let tip = context.shared.suggest_tip(&context.view)?;
    let base_fee = context.view.header().base_fee_per_gas.unwrap_or_default();
    json::quantity256(&mut out.json, &(tip + U256::from(base_fee)));
    Ok(())
}

/// `eth_maxPriorityFeePerGas`.
pub(super) fn max_priority_fee(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    let tip = context.shared.suggest_tip(&context.view)?;
    json::quantity256(&mut out.json, &tip);
    Ok(())
}

/// `eth_baseFee`: that of the next block.
pub(super) fn base_fee(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    match context.shared.spec.next_base_fee(context.view.header()) {
        Some(fee) => json::quantity(&mut out.json, fee),
        None => json::null(&mut out.json),
    }
    Ok(())
}

/// `eth_blobBaseFee`.
pub(super) fn blob_base_fee(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    match context.shared.blob_base_fee(context.view.header()) {
        Some(fee) => json::quantity(&mut out.json, fee),
        None => json::null(&mut out.json),
    }
    Ok(())
}

/// One block of the fee history.
struct Fees {
    base_fee: u64,
    next_base_fee: u64,
    blob_base_fee: u128,
    next_blob_base_fee: u128,
    gas_used_ratio: f64,
    blob_gas_used_ratio: f64,
    rewards: Vec<u128>,
}

/// `eth_feeHistory`.
pub(super) fn fee_history(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let count = params.required(decode::hex_or_decimal)?;
    let newest = params.required(decode::block_tag)?;
    let percentiles = params.optional(percentile_list)?.unwrap_or_default();
    params.end()?;
    check_percentiles(&percentiles)?;
    if count == 0 {
        let mut object = Object::new(&mut out.json);
        object.quantity("oldestBlock", 0u64);
        json::null(object.key("gasUsedRatio"));
        object.end();
        return Ok(());
    }
    let newest = newest_block(context, newest)?;
    let count = count.min(MOST_BLOCKS).min(newest.saturating_add(1));
    let oldest = newest + 1 - count;
    let mut history = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    for number in oldest..=newest {
        context.check_time()?;
        history.push(fees_of(context, number, &percentiles)?);
    }
    out.block = newest.min(context.view.header().number);
    let mut object = Object::new(&mut out.json);
    write_history(&mut object, oldest, &history, !percentiles.is_empty());
    object.end();
    Ok(())
}

fn percentile_list(raw: &str) -> Result<Vec<f64>, String> {
    decode::list(raw, "[]float64", |element: &str| {
        serde_json::from_str::<f64>(element).map_err(|_| decode::cannot_unmarshal("string", "float64"))
    })
}

fn check_percentiles(percentiles: &[f64]) -> Result<(), RpcError> {
    let invalid = |text: String| RpcError::server(format!("invalid reward percentile: {text}"));
    if percentiles.len() > MOST_PERCENTILES {
        return Err(invalid(format!("over the query limit {MOST_PERCENTILES}")));
    }
    let mut previous: Option<f64> = None;
    for (index, percentile) in percentiles.iter().enumerate() {
        if !(0.0..=100.0).contains(percentile) {
            return Err(invalid(format!("{percentile:.6}")));
        }
        if let Some(before) = previous.filter(|before| percentile <= before) {
            let at = index.saturating_sub(1);
            return Err(invalid(format!("#{at}:{before:.6} >= #{index}:{percentile:.6}")));
        }
        previous = Some(*percentile);
    }
    Ok(())
}

/// The number of the newest block asked for; the pending block's is one above the head's.
fn newest_block(context: &Context<'_>, tag: BlockTag) -> Result<u64, Stop> {
    let head = context.view.header().number;
    match tag {
        BlockTag::Pending => Ok(context.pending()?.block().header().number.min(head + 1)),
        BlockTag::Number(number) if number > head => {
            let text = format!("request beyond head block: requested {number}, head {head}");
            Err(RpcError::server(text).into())
        }
        tag => {
            let block = context.canonical(tag)?;
            Ok(block.ok_or_else(|| RpcError::server("block not found"))?.number)
        }
    }
}

fn fees_of(context: &Context<'_>, number: u64, percentiles: &[f64]) -> Result<Fees, Stop> {
    let shared = context.shared;
    let (block, receipts, header) = if number > context.view.header().number {
        let executed = &context.pending()?.executed;
        let block = Arc::clone(&executed.block);
        (Some(Arc::clone(&block)), Some(Arc::clone(&executed.receipts)), Arc::new(block.header().clone()))
    } else {
        let missing = || RpcError::server("block not found");
        let (hash, header) = shared.reads.canonical_header(&context.view, number)?.ok_or_else(missing)?;
        if percentiles.is_empty() {
            (None, None, header)
        } else {
            (context.block(&hash)?, shared.reads.receipts(&context.view, &hash)?, header)
        }
    };
    let rewards = match (block, receipts) {
        (Some(block), Some(receipts)) if !percentiles.is_empty() => {
            let base_fee = header.base_fee_per_gas.unwrap_or_default();
            let mut gas_before = 0;
            let paid = block.transactions().zip(receipts.iter()).map(|((transaction, _), receipt)| {
                let gas = receipt.cumulative_gas_used().saturating_sub(gas_before);
                gas_before = receipt.cumulative_gas_used();
                (transaction.effective_tip_per_gas(base_fee).unwrap_or_default(), gas)
            });
            rewards(paid.collect(), header.gas_used, percentiles)
        }
        _ => Vec::new(),
    };
    Ok(header_fees(shared, &header, rewards))
}

fn header_fees(shared: &Shared, header: &Header, rewards: Vec<u128>) -> Fees {
    let spec = &shared.spec;
    let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let params = header.excess_blob_gas.and_then(|_| spec.blob_params_at(header.timestamp));
    let next_excess = spec.next_excess_blob_gas(header, header.timestamp);
    let next_blob = params.zip(next_excess).map(|(params, excess)| params.calc_blob_fee(excess));
    let most_blob_gas = params.map_or(0, |params| params.max_blob_gas_per_block());
    Fees {
        base_fee: header.base_fee_per_gas.unwrap_or_default(),
        next_base_fee: spec.next_base_fee(header).unwrap_or_default(),
        blob_base_fee: shared.blob_base_fee(header).unwrap_or_default(),
        next_blob_base_fee: next_blob.unwrap_or_default(),
        gas_used_ratio: ratio(header.gas_used, header.gas_limit),
        blob_gas_used_ratio: ratio(header.blob_gas_used.unwrap_or_default(), most_blob_gas),
        rewards,
    }
}

/// As geth computes it: in floating point, cut off.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as Go does"
)]
fn gas_at(gas_used: u64, percentile: f64) -> u64 {
    (gas_used as f64 * percentile / 100.0) as u64
}

/// The tip at each percentile of the block's gas, tips in rising order.
fn rewards(mut paid: Vec<(u128, u64)>, gas_used: u64, percentiles: &[f64]) -> Vec<u128> {
    paid.sort_by_key(|(tip, _)| *tip);
    let mut rest = paid.iter();
    let Some(mut current) = rest.next() else { return vec![0; percentiles.len()] };
    let mut sum = current.1;
    let reward = |percentile: &f64| {
        let threshold = gas_at(gas_used, *percentile);
        while sum < threshold {
            let Some(next) = rest.next() else { break };
            current = next;
            sum += current.1;
        }
        current.0
    };
    percentiles.iter().map(reward).collect()
}

fn write_history(object: &mut Object<'_>, oldest: u64, history: &[Fees], with_rewards: bool) {
    object.quantity("oldestBlock", oldest);
    if with_rewards {
        json::array(object.key("reward"), history, |out, fees| {
            json::array(out, &fees.rewards, |out, reward| json::quantity(out, *reward));
        });
    }
    let last = history.last();
    let base_fees = history.iter().map(|fees| fees.base_fee).chain(last.map(|fees| fees.next_base_fee));
    json::array(object.key("baseFeePerGas"), base_fees, json::quantity);
    json::array(object.key("gasUsedRatio"), history, |out, fees| write_ratio(out, fees.gas_used_ratio));
    let blob_fees =
        history.iter().map(|fees| fees.blob_base_fee).chain(last.map(|fees| fees.next_blob_base_fee));
    json::array(object.key("baseFeePerBlobGas"), blob_fees, json::quantity);
    json::array(object.key("blobGasUsedRatio"), history, |out, fees| {
        write_ratio(out, fees.blob_gas_used_ratio);
    });
}

/// A number as Go writes it: whole ones without a fraction.
fn write_ratio(out: &mut Vec<u8>, ratio: f64) {
    if ratio == 0.0 || (ratio - 1.0).abs() < f64::EPSILON {
        out.push(if ratio == 0.0 { b'0' } else { b'1' });
    } else {
        json::value(out, &ratio);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_checked_in_geths_words() {
        let message =
            |percentiles: &[f64]| check_percentiles(percentiles).err().map(|error| error.to_string());
        assert_eq!(message(&[0.0, 50.5, 100.0]), None);
        assert_eq!(message(&[101.0]).as_deref(), Some("invalid reward percentile: 101.000000"));
        assert_eq!(
            message(&[50.0, 25.0]).as_deref(),
            Some("invalid reward percentile: #0:50.000000 >= #1:25.000000")
        );
        assert_eq!(
            message(&[1.0; 101]).as_deref(),
            Some("invalid reward percentile: over the query limit 100")
        );
    }

    #[test]
    fn rewards_go_by_gas() {
        let paid = vec![(30, 60), (10, 20), (20, 20)];
        assert_eq!(rewards(paid, 100, &[0.0, 20.0, 21.0, 40.0, 41.0, 100.0]), [10, 10, 20, 20, 30, 30]);
        assert_eq!(rewards(Vec::new(), 0, &[0.0, 50.0]), [0, 0]);
    }

    #[test]
    fn ratios_are_written_as_go_does() {
        let text = |ratio| {
            let mut out = Vec::new();
            write_ratio(&mut out, ratio);
            String::from_utf8(out).expect("text")
        };
        assert_eq!((text(0.0), text(1.0), text(0.5)), ("0".to_owned(), "1".to_owned(), "0.5".to_owned()));
    }
}
