//! The rules and the surroundings of one block, out of its header and the chain's schedule: what revm is set
//! up with.

use crate::build::BlockAttributes;
use crate::eip1283;
use crate::error::ExecutionError;
use alloy_eips::eip7840::BlobParams;
use alloy_primitives::{Address, B256, U256};
use quintet_chainspec::{ChainSpec, Consensus, Fork};
use quintet_types::Header;
use revm::context::{BlockEnv, CfgEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::primitives::hardfork::SpecId;

/// A block's rules and surroundings.
#[derive(Clone, Debug)]
pub(crate) struct BlockEnvironment {
    pub(crate) cfg: CfgEnv,
    pub(crate) block: BlockEnv,
    /// The fork by its own name: revm has one for Constantinople and Petersburg.
    pub(crate) fork: Fork,
    pub(crate) number: u64,
    /// Most blob gas of one block (EIP-4844).
    pub(crate) max_blob_gas: u64,
    /// Where deposits are logged (EIP-6110).
    pub(crate) deposit_contract: Option<Address>,
    /// Whether transactions may carry replay protection (EIP-155).
    pub(crate) replay_protection: bool,
    /// Whether the DAO's wei moves in this block (EIP-779).
    pub(crate) dao_fork: bool,
    /// Whether the block pays its miner: proof of work.
    pub(crate) mining_rewards: bool,
}

impl BlockEnvironment {
    /// As geth, takes a block without difficulty for one of proof of stake.
    pub(crate) fn new(
        spec: &ChainSpec,
        header: &Header,
        beneficiary: Address,
    ) -> Result<Self, ExecutionError> {
        let merged = header.difficulty.is_zero();
        let fork = spec.fork_at(header.number, header.timestamp, merged);
        let rules = fork.spec_id();
        let blobs = spec.blob_params_at(header.timestamp).filter(|_| fork >= Fork::Cancun);
        let mut cfg = CfgEnv::new_with_spec(rules).with_chain_id(spec.chain_id());
        if fork == Fork::Constantinople {
            cfg.set_gas_params(eip1283::gas_params());
        }
        // Chain id, block gas and the gas cap of EIP-7825 are checked before revm, in geth's order.
        cfg.tx_chain_id_check = false;
        cfg.disable_block_gas_limit = true;
        cfg.tx_gas_limit_cap = Some(u64::MAX);
        cfg.max_blobs_per_tx = blobs.map(|params| params.max_blobs_per_tx);
        Ok(Self {
            cfg,
            block: block_env(header, beneficiary, rules, merged, blobs)?,
            fork,
            number: header.number,
            max_blob_gas: blobs.map_or(0, |params| params.max_blob_gas_per_block()),
            deposit_contract: spec.deposit_contract(),
            replay_protection: spec.is_eip155_active(header.number),
            dao_fork: spec.dao_fork().is_some_and(|fork| fork.support && fork.block == header.number),
            mining_rewards: !merged && spec.consensus() == Consensus::Ethash,
        })
    }
}

fn block_env(
    header: &Header,
    beneficiary: Address,
    fork: SpecId,
    merged: bool,
    blobs: Option<BlobParams>,
) -> Result<BlockEnv, ExecutionError> {
    if fork.is_enabled_in(SpecId::LONDON) && header.base_fee_per_gas.is_none() {
        return Err(ExecutionError::MissingField("baseFeePerGas"));
    }
    let blob_excess_gas_and_price = if fork.is_enabled_in(SpecId::CANCUN) {
        let excess_blob_gas = header.excess_blob_gas.ok_or(ExecutionError::MissingField("excessBlobGas"))?;
        let params = blobs.ok_or(ExecutionError::MissingField("blobSchedule"))?;
        let blob_gasprice = params.calc_blob_fee(excess_blob_gas);
        Some(BlobExcessGasAndPrice { excess_blob_gas, blob_gasprice })
    } else {
        None
    };
    Ok(BlockEnv {
        number: U256::from(header.number),
        beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: header.difficulty,
        prevrandao: merged.then_some(header.mix_hash),
        blob_excess_gas_and_price,
        slot_num: 0,
    })
}

/// The header of the next block as far as it is known before the transactions.
pub(crate) fn next_header(
    spec: &ChainSpec,
    parent: &Header,
    parent_hash: B256,
    attributes: &BlockAttributes,
) -> Result<Header, ExecutionError> {
    let number = parent.number.saturating_add(1);
    let timestamp = attributes.timestamp;
    let fork = spec.fork_at(number, timestamp, attributes.difficulty.is_zero());
    let cancun = fork >= Fork::Cancun;
    let excess_blob_gas = spec.next_excess_blob_gas(parent, timestamp).filter(|_| cancun);
    if cancun && excess_blob_gas.is_none() {
        return Err(ExecutionError::MissingField("blobSchedule"));
    }
    Ok(Header {
        parent_hash,
        number,
        timestamp,
        beneficiary: attributes.coinbase,
        gas_limit: attributes.gas_limit,
        difficulty: attributes.difficulty,
        mix_hash: attributes.mix_hash,
        nonce: attributes.nonce,
        extra_data: attributes.extra_data.clone(),
        state_root: B256::ZERO,
        base_fee_per_gas: spec.next_base_fee(parent),
        excess_blob_gas,
        parent_beacon_block_root: cancun.then(|| attributes.parent_beacon_block_root.unwrap_or_default()),
        ..Header::default()
    })
}
