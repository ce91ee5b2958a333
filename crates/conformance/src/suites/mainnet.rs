//! Blocks of mainnet: single ones with their seals, headers with bodies and receipts, and EIP-1559's base fee.

use super::json::{self, same};
use crate::report::Outcome;
use crate::runner::Sink;
use alloy_consensus::{Eip658Value, Receipt as Record, ReceiptWithBloom, TxReceipt, TxType};
use alloy_primitives::{Log, hex};
use alloy_rlp::{Decodable, Header as Rlp};
use quintet_chainspec::ChainSpec;
use quintet_consensus::check_body;
use quintet_ethash::{Cache, Epoch, Work, verify_seal};
use quintet_trie::{ommers_root, receipts_root, transactions_root, withdrawals_root};
use quintet_types::{Block, Body, Header, Receipt, Receipts, recover_senders};
use serde::Deserialize;

fn mainnet() -> Result<ChainSpec, String> {
    ChainSpec::preset("mainnet").map_err(|error| error.to_string())
}

fn decoded<T: Decodable>(what: &str, mut bytes: &[u8]) -> Result<T, String> {
    let value = T::decode(&mut bytes).map_err(|error| format!("{what}: {error}"))?;
    if bytes.is_empty() { Ok(value) } else { Err(format!("{what}: {} bytes too many", bytes.len())) }
}

/// One block: its body is its header's, its senders can be recovered, its seal holds.
pub(super) fn run_single(sink: &mut Sink<'_>) -> Result<(), String> {
    let bytes = sink.bytes()?;
    let name = sink.stem().to_owned();
    sink.check("Mainnet", &name, || {
        let block: Block = decoded("block", &bytes)?;
        let number = block.header.number;
        same("number", &format!("block_{number}"), &name)?;
        let spec = mainnet()?;
        check_body(&spec, &block).map_err(|error| error.to_string())?;
        recover_senders(&block.body.transactions, spec.is_homestead_active(number))
            .map_err(|error| error.to_string())?;
        let epoch = Epoch::of_block(number).map_err(|error| error.to_string())?;
        verify_seal(Work::Light(&Cache::generate(epoch)), &block.header).map_err(|error| error.to_string())
    });
    Ok(())
}

/// A file with the lines `header:`, `body:` and `receipts:`.
pub(super) fn run_portal(sink: &mut Sink<'_>) -> Result<(), String> {
    let text = String::from_utf8(sink.bytes()?).map_err(|error| error.to_string())?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let digits = line.ok_or_else(|| format!("no {name}"))?.trim_matches(|c: char| c == '"' || c == ' ');
        hex::decode(digits).map_err(|error| format!("{name}: {error}"))
    };
    let (header, body, receipts) = (field("header")?, field("body")?, field("receipts")?);
    let name = sink.stem().to_owned();
    sink.check("Mainnet", &name, || {
        let header: Header = decoded("header", &header)?;
        same("number", &format!("block-data-{}", header.number), &name)?;
        let body: Body = decoded("body", &body)?;
        same("transactions root", &transactions_root(&body.transactions), &header.transactions_root)?;
        same("uncles hash", &ommers_root(&body.ommers), &header.ommers_hash)?;
        let withdrawals = body.withdrawals.as_ref().map(|list| withdrawals_root(list));
        same("withdrawals root", &format!("{withdrawals:?}"), &format!("{:?}", header.withdrawals_root))?;
        recover_senders(&body.transactions, true).map_err(|error| error.to_string())?;
        let receipts = read_receipts(&receipts).map_err(|error| format!("receipts: {error}"))?;
        same("number of receipts", &receipts.len(), &body.transactions.len())?;
        same("receipts root", &receipts_root(&receipts), &header.receipts_root)?;
        same("bloom", &quintet_evm::logs_bloom(&receipts), &header.logs_bloom)?;
        let used = receipts.last().map_or(0, TxReceipt::cumulative_gas_used);
        same("gas used", &used, &header.gas_used)
    });
    Ok(())
}

/// Receipts as in `eth/69`: type, status, gas, logs; the bloom follows from the logs.
fn read_receipts(mut bytes: &[u8]) -> alloy_rlp::Result<Receipts> {
    let mut list = Rlp::decode_bytes(&mut bytes, true)?;
    let mut receipts = Receipts::new();
    while !list.is_empty() {
        let mut fields = Rlp::decode_bytes(&mut list, true)?;
        let kind = TxType::try_from(u8::decode(&mut fields)?)
            .map_err(|_| alloy_rlp::Error::Custom("unknown type of transaction"))?;
        let status = Eip658Value::decode(&mut fields)?;
        let cumulative_gas_used = u64::decode(&mut fields)?;
        let logs = Vec::<Log>::decode(&mut fields)?;
        let receipt = Record { status, cumulative_gas_used, logs };
        let logs_bloom = receipt.bloom();
        receipts.push(Receipt::from_typed(kind, ReceiptWithBloom { receipt, logs_bloom }));
    }
    Ok(receipts)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    parent_base_fee: u64,
    parent_gas_used: u64,
    parent_target_gas_used: u64,
    expected_base_fee: u64,
}

/// Above the target the draft's fees are the final ones.
const DRAFT: &str =
    "made for a draft of EIP-1559, which rounded otherwise below the target, and met gas above the limit";

/// `basefee-test.json`: EIP-1559's change of the base fee.
pub(super) fn run_fees(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: Vec<Change> = json::read(&sink.bytes()?)?;
    let spec = json::network("London")?;
    for (index, case) in cases.iter().enumerate() {
        let (used, target) = (case.parent_gas_used, case.parent_target_gas_used);
        sink.case("London", &index.to_string(), |_| {
            if used <= target || used > 2 * target {
                return Outcome::Skipped(DRAFT.into());
            }
            let parent = Header {
                number: 1,
                base_fee_per_gas: Some(case.parent_base_fee),
                gas_used: used,
                gas_limit: 2 * target,
                ..Header::default()
            };
            let have = spec.next_base_fee(&parent).ok_or("no base fee".to_owned());
            have.and_then(|have| same("base fee", &have, &case.expected_base_fee)).into()
        });
    }
    Ok(())
}
