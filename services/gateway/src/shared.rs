//! What every method works with.

use crate::accounts::Signers;
use crate::chain_link::ChainLink;
use crate::config::LimitsConfig;
use crate::error::RpcError;
use crate::evm_slots::EvmSlots;
use crate::filters::Filters;
use crate::flights::Flights;
use crate::notice::Notices;
use crate::peers::PeerServices;
use crate::pool_log::PendingLog;
use crate::read::Reads;
use crate::sending::Sending;
use alloy_primitives::Address;
use arc_swap::ArcSwapOption;
use quintet_chain_api::{ChainError, PendingAnswer, PendingVersion};
use quintet_chainspec::ChainSpec;
use quintet_clique::Clique;
use quintet_miner_api::MinerClient;
use quintet_types::{ExecutedBlock, Header, RecoveredBlock};
use std::path::PathBuf;
use std::sync::Arc;

/// What every method works with.
pub(crate) struct Shared {
    pub(crate) limits: LimitsConfig,
    pub(crate) reads: Arc<Reads>,
    pub(crate) spec: Arc<ChainSpec>,
    pub(crate) network_id: u64,
    pub(crate) chain: ChainLink,
    pub(crate) p2p: PeerServices,
    /// Where the node keeps its files; `None` where its chain is in a database.
    pub(crate) datadir: Option<PathBuf>,
    pub(crate) miner: MinerClient,
    pub(crate) signers: Signers,
    /// Held from choosing a nonce until the pool has the transaction.
    pub(crate) sending: Sending,
    pub(crate) notices: Notices,
    pub(crate) filters: Filters,
    /// Where filters of pending transactions are polled.
    pub(crate) pool_log: PendingLog,
    /// Calls that are being run.
    pub(crate) flights: Flights,
    pub(crate) evm: EvmSlots,
    pub(crate) pending: PendingCache,
    pub(crate) suggested_tip: ArcSwapOption<SuggestedTip>,
    /// The engine of a proof-of-authority network.
    pub(crate) clique: Option<Clique>,
}

/// The tip that was suggested at a head.
pub(crate) struct SuggestedTip {
    /// The head's hash.
    pub(crate) head: alloy_primitives::B256,
    /// Wei per gas.
    pub(crate) tip: alloy_primitives::U256,
}

/// The block that would be sealed now.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) executed: ExecutedBlock,
    version: PendingVersion,
}

impl Pending {
    /// The block.
    pub(crate) fn block(&self) -> &RecoveredBlock {
        &self.executed.block
    }
}

/// The pending block that was given last. `chain` is asked whether it is still the one.
#[derive(Debug, Default)]
pub(crate) struct PendingCache {
    held: ArcSwapOption<Pending>,
}

impl Shared {
    /// Sends a transaction to the pool. Who asks for `pending` after the answer sees it.
    pub(crate) async fn send(
        &self,
        raw: alloy_primitives::Bytes,
    ) -> Result<alloy_primitives::B256, RpcError> {
        Ok(self.chain.send_transaction(raw, true, self.limits.allow_unprotected).await?)
    }

    /// What `COINBASE` says in a block: the header's beneficiary, or under clique the signer; of a block that
    /// nobody has signed, as geth has it, zero.
    pub(crate) fn author(&self, header: &Header) -> Address {
        match &self.clique {
            // After the merge blocks have no difficulty, and no seal.
            Some(clique) if !header.difficulty.is_zero() => clique.recover_signer(header).unwrap_or_default(),
            _ => header.beneficiary,
        }
    }

    /// The block that would be sealed now on the head.
    pub(crate) async fn pending(&self) -> Result<Arc<Pending>, RpcError> {
        let held = self.pending.held.load_full();
        let known = held.as_ref().map(|held| held.version);
        let pending = match (self.chain.pending_block(known).await?, held) {
            (PendingAnswer::Unchanged, Some(held)) => return Ok(held),
            (PendingAnswer::Unchanged, None) => return Err(ChainError::Malformed("no pending block").into()),
            (PendingAnswer::Block { executed, version }, _) => Arc::new(Pending { executed, version }),
        };
        self.pending.held.store(Some(Arc::clone(&pending)));
        Ok(pending)
    }
}
