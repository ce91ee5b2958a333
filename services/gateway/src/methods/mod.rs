//! Every JSON-RPC method, one line each, and what they are given.

mod accounts;
mod admin;
mod blocks;
mod calls;
mod clique;
mod context;
mod debug;
mod fees;
mod filters;
mod logs;
mod miner;
mod network;
mod proofs;
mod state;
mod transactions;
mod tx_args;
mod txpool;

pub(crate) use context::{Context, Output, Stop};
pub(crate) use logs::{LogFilter, block_logs};

use crate::auth::Caller;
use crate::error::RpcError;
use crate::params::Params;
use crate::shared::Shared;
use futures::future::BoxFuture;
use metrics::{Counter, Histogram};
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashMap};

/// A method that reads the view and the store.
pub(crate) type ReadFn = fn(&mut Context<'_>, &mut Params<'_>, &mut Output) -> Result<(), Stop>;
/// A method that asks another service.
pub(crate) type RemoteFn =
    for<'a> fn(&'a Shared, Params<'a>, &'a mut Output) -> BoxFuture<'a, Result<(), RpcError>>;
/// The same, of what belongs to the caller.
pub(crate) type OwnedFn =
    for<'a> fn(&'a Shared, &'a Caller, Params<'a>, &'a mut Output) -> BoxFuture<'a, Result<(), RpcError>>;

/// How a method is run.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// On the spot.
    Read(ReadFn),
    /// On the spot or apart, for as long as the EVM takes.
    Evm(ReadFn),
    /// As the EVM, but through blocks.
    Search(ReadFn),
    /// While another service is waited for.
    Remote(RemoteFn),
    /// As a remote one, on behalf of the caller.
    Owned(OwnedFn),
    /// By the connection, if it can carry notifications.
    Subscription,
    /// From the list of the enabled modules.
    Modules,
}

/// A method as it is offered.
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) handler: Handler,
    pub(crate) duration: Histogram,
    pub(crate) errors: Counter,
}

/// The methods of the enabled modules.
pub(crate) struct Methods {
    by_name: HashMap<&'static str, Method, alloy_primitives::map::DefaultHashBuilder>,
    modules: BTreeSet<String>,
}

use Handler::{Evm, Modules, Owned, Read, Remote, Search, Subscription};

const METHODS: &[(&str, Handler)] = &[
    ("eth_blockNumber", Read(blocks::block_number)),
    ("eth_chainId", Read(network::chain_id)),
    ("eth_syncing", Remote(network::syncing)),
    ("eth_accounts", Read(accounts::accounts)),
    ("eth_coinbase", Remote(network::coinbase)),
    ("eth_mining", Remote(network::mining)),
    ("eth_hashrate", Remote(network::hashrate)),
    // Fees.
    ("eth_gasPrice", Read(fees::gas_price)),
    ("eth_maxPriorityFeePerGas", Read(fees::max_priority_fee)),
    ("eth_feeHistory", Search(fees::fee_history)),
    ("eth_baseFee", Read(fees::base_fee)),
    ("eth_blobBaseFee", Read(fees::blob_base_fee)),
    // State.
    ("eth_getBalance", Read(state::balance)),
    ("eth_getCode", Read(state::code)),
    ("eth_getStorageAt", Read(state::storage)),
    ("eth_getStorageValues", Read(state::storage_values)),
    ("eth_getTransactionCount", Remote(state::transaction_count)),
    ("eth_getProof", Search(proofs::proof)),
    // Blocks.
    ("eth_getBlockByHash", Read(blocks::by_hash)),
    ("eth_getBlockByNumber", Read(blocks::by_number)),
    ("eth_getHeaderByHash", Read(blocks::header_by_hash)),
    ("eth_getHeaderByNumber", Read(blocks::header_by_number)),
    ("eth_getBlockTransactionCountByHash", Read(blocks::transaction_count_by_hash)),
    ("eth_getBlockTransactionCountByNumber", Read(blocks::transaction_count_by_number)),
    ("eth_getBlockReceipts", Read(blocks::receipts)),
    ("eth_getUncleCountByBlockHash", Read(blocks::uncle_count_by_hash)),
    ("eth_getUncleCountByBlockNumber", Read(blocks::uncle_count_by_number)),
    ("eth_getUncleByBlockHashAndIndex", Read(blocks::uncle_by_hash)),
    ("eth_getUncleByBlockNumberAndIndex", Read(blocks::uncle_by_number)),
    // Transactions.
    ("eth_getTransactionByHash", Remote(transactions::by_hash)),
    ("eth_getTransactionByBlockHashAndIndex", Read(transactions::by_block_hash)),
    ("eth_getTransactionByBlockNumberAndIndex", Read(transactions::by_block_number)),
    ("eth_getRawTransactionByHash", Remote(transactions::raw_by_hash)),
    ("eth_getRawTransactionByBlockHashAndIndex", Read(transactions::raw_by_block_hash)),
    ("eth_getRawTransactionByBlockNumberAndIndex", Read(transactions::raw_by_block_number)),
    ("eth_getTransactionReceipt", Read(transactions::receipt)),
    ("eth_sendRawTransaction", Remote(transactions::send_raw)),
    ("eth_sendTransaction", Remote(accounts::send_transaction)),
    ("eth_fillTransaction", Remote(accounts::fill_transaction)),
    ("eth_signTransaction", Remote(accounts::sign_transaction)),
    ("eth_sign", Read(accounts::sign)),
    ("personal_sign", Read(accounts::personal_sign)),
    ("eth_pendingTransactions", Remote(accounts::pending_transactions)),
    // The EVM.
    ("eth_call", Evm(calls::call)),
    ("eth_estimateGas", Evm(calls::estimate_gas)),
    ("eth_createAccessList", Evm(calls::create_access_list)),
    // Logs, filters and subscriptions.
    ("eth_getLogs", Search(logs::logs)),
    ("eth_newFilter", Owned(filters::new_filter)),
    ("eth_newBlockFilter", Owned(filters::new_block_filter)),
    ("eth_newPendingTransactionFilter", Owned(filters::new_pending_filter)),
    ("eth_getFilterChanges", Remote(filters::changes)),
    ("eth_getFilterLogs", Remote(filters::filter_logs)),
    ("eth_uninstallFilter", Remote(filters::uninstall)),
    ("eth_subscribe", Subscription),
    ("eth_unsubscribe", Subscription),
    // The node.
    ("net_version", Read(network::net_version)),
    ("net_listening", Remote(network::listening)),
    ("net_peerCount", Remote(network::peer_count)),
    ("web3_clientVersion", Read(network::client_version)),
    ("web3_sha3", Read(network::sha3)),
    ("rpc_modules", Modules),
    // The pool.
    ("txpool_content", Remote(txpool::content)),
    ("txpool_contentFrom", Remote(txpool::content_from)),
    ("txpool_inspect", Remote(txpool::inspect)),
    ("txpool_status", Remote(txpool::status)),
    // Proof of authority.
    ("clique_getSnapshot", Search(clique::snapshot)),
    ("clique_getSnapshotAtHash", Search(clique::snapshot_at_hash)),
    ("clique_getSigners", Search(clique::signers)),
    ("clique_getSignersAtHash", Search(clique::signers_at_hash)),
    ("clique_getSigner", Read(clique::signer)),
    ("clique_status", Search(clique::status)),
    ("clique_propose", Remote(clique::propose)),
    ("clique_discard", Remote(clique::discard)),
    // The miner.
    ("miner_start", Remote(miner::start)),
    ("miner_stop", Remote(miner::stop)),
    ("miner_setEtherbase", Remote(miner::set_etherbase)),
    ("miner_setExtra", Remote(miner::set_extra)),
    ("miner_setGasPrice", Remote(miner::set_gas_price)),
    ("miner_setGasLimit", Remote(miner::set_gas_limit)),
    // The node's peers.
    ("admin_addPeer", Remote(admin::add_peer)),
    ("admin_removePeer", Remote(admin::remove_peer)),
    ("admin_addTrustedPeer", Remote(admin::add_trusted_peer)),
    ("admin_removeTrustedPeer", Remote(admin::remove_trusted_peer)),
    ("admin_peers", Remote(admin::peers)),
    ("admin_nodeInfo", Remote(admin::node_info)),
    ("admin_datadir", Remote(admin::datadir)),
    ("admin_subscribe", Subscription),
    ("admin_unsubscribe", Subscription),
    // Raw data.
    ("debug_getBlockRlp", Read(debug::block_rlp)),
];

/// Methods of public modules that change the node.
const PRIVATE: [&str; 2] = ["clique_propose", "clique_discard"];

impl Methods {
    /// The methods of these modules, with their metrics; without those that change the node if it is for the public.
    pub(crate) fn new(modules: BTreeSet<String>, public: bool) -> Self {
        let is_offered = |name: &str| {
            name.split_once('_').is_some_and(|(module, _)| modules.contains(module))
                && !(public && PRIVATE.contains(&name))
        };
        let offered = METHODS.iter().filter(|(name, _)| is_offered(name));
        let by_name = offered.map(|(name, handler)| {
            let method = Method {
                name,
                handler: *handler,
                duration: metrics::histogram!("quintet_rpc_duration_seconds", "method" => *name),
                errors: metrics::counter!("quintet_rpc_errors_total", "method" => *name),
            };
            (*name, method)
        });
        Self { by_name: by_name.collect(), modules }
    }

    /// The method of this name, if its module is enabled.
    pub(crate) fn get(&self, name: &str) -> Option<&Method> {
        self.by_name.get(name)
    }

    /// `rpc_modules`: the enabled modules and their versions.
    pub(crate) fn write_modules(&self, out: &mut Vec<u8>) {
        let mut object = crate::json::Object::new(out);
        for module in &self.modules {
            object.string(module, "1.0");
        }
        object.end();
    }
}

/// Whether parameters speak of the pending block. It may be said without being meant, which costs only time.
pub(crate) fn wants_pending(params: Option<&RawValue>) -> bool {
    params.is_some_and(|params| params.get().contains("\"pending\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_of_known_modules() {
        let names: BTreeSet<_> = METHODS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), METHODS.len());
        for name in names {
            let module = name.split_once('_').map(|(module, _)| module);
            assert!(module.is_some_and(|module| crate::config::MODULES.contains(&module)), "{name}");
        }
    }

    #[test]
    fn only_enabled_modules_are_offered() {
        let methods = Methods::new(["net".to_owned(), "clique".to_owned()].into(), true);
        assert!(methods.get("net_version").is_some());
        assert!(methods.get("eth_call").is_none());
        assert!(methods.get("clique_getSigners").is_some() && methods.get("clique_propose").is_none());
        assert!(Methods::new(["clique".to_owned()].into(), false).get("clique_propose").is_some());
    }
}
