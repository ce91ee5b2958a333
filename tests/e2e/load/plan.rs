//! What is sent: transfers to accounts that nobody else pays, and calls of a contract that counts them.

use crate::fixture::{call, quantity, send_and_wait, to_u64, transaction, transfer};
use alloy_consensus::{TxEip1559, TxEnvelope};
use alloy_primitives::{Address, Bytes, TxKind, bytes};
use quintet_testkit::accounts::{TestAccount, dev_account};
use quintet_testkit::rpc::HttpClient;
use serde_json::json;
use std::ops::Range;

/// The accounts that send; the first account deploys.
const SENDERS: Range<usize> = 1..4;
/// Each of so many transactions calls the contract; the others are transfers.
const CALLS: u64 = 5;
const GAS: u64 = 200_000;

/// Deploys a contract that adds one to slot 0 and logs the new count when it is called without input, and answers the
/// count when it is called with any.
pub(crate) const TALLY: Bytes =
    bytes!("6023600c60003960236000f3366017576000546001018060005560005260206000a0005b60005460005260206000f3");

/// A sender, from the nonce that it had when the load began.
pub(crate) struct Sender {
    pub(crate) account: &'static TestAccount,
    pub(crate) first_nonce: u64,
    /// Paid by this sender alone.
    pub(crate) receiver: Address,
}

/// What a load sends, the same whenever it is asked: sending a transaction again changes nothing.
pub(crate) struct Plan {
    pub(crate) senders: Vec<Sender>,
    pub(crate) tally: Address,
    /// Nothing of the load is in this block or before it.
    pub(crate) base: u64,
}

/// Deploys [`TALLY`] from a development account; gives its address.
pub(crate) async fn deploy_tally(rpc: &HttpClient, account: &TestAccount) -> Address {
    let nonce = quantity(rpc, "eth_getTransactionCount", json!([account.address, "pending"])).await.to();
    let deployment = transaction(nonce, TxKind::Create, 0, TALLY);
    send_and_wait(rpc, &account.sign(deployment).into()).await;
    account.address.create(nonce)
}

impl Plan {
    /// A plan on the chain of the node at `url`.
    pub(crate) async fn new(url: &str) -> Self {
        let rpc = HttpClient::new(url);
        let tally = deploy_tally(&rpc, dev_account(0)).await;
        let mut senders = Vec::new();
        for account in SENDERS.map(dev_account) {
            let nonce = quantity(&rpc, "eth_getTransactionCount", json!([account.address, "pending"])).await;
            senders.push(Sender { account, first_nonce: nonce.to(), receiver: Address::random() });
        }
        let base = to_u64(&call(&rpc, "eth_blockNumber", json!([])).await);
        Self { senders, tally, base }
    }

    /// A call of [`TALLY`] that counts.
    pub(crate) fn tally(from: &TestAccount, nonce: u64, contract: Address) -> TxEnvelope {
        let call = transaction(nonce, contract.into(), 0, Bytes::new());
        from.sign(TxEip1559 { gas_limit: GAS, ..call }).into()
    }

    /// Whether the sender's transaction of this index calls the contract.
    pub(crate) const fn is_call(index: u64) -> bool {
        index.is_multiple_of(CALLS)
    }

    /// What the sender's transfer of this index is worth.
    pub(crate) const fn value(index: u64) -> u64 {
        index + 1
    }

    /// The sender's transaction of this index.
    pub(crate) fn transaction(&self, sender: usize, index: u64) -> TxEnvelope {
        let Sender { account, first_nonce, receiver } = &self.senders[sender];
        let nonce = first_nonce + index;
        if Self::is_call(index) {
            return Self::tally(account, nonce, self.tally);
        }
        transfer(account, nonce, *receiver, Self::value(index))
    }
}
