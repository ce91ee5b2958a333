//! What the pool knows of the chain: the head, the rules in force on it, and its senders' accounts.

use alloy_primitives::{Address, B256, U256};
use quintet_types::{Account, Transaction};

/// The fork rules that decide whether a transaction is valid on the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "one flag per fork, as the forks are")]
pub struct Rules {
    /// The network's chain id (EIP-155).
    pub chain_id: u64,
    /// Contract creation costs 53,000 gas, and high-s signatures are refused (EIP-2).
    pub homestead: bool,
    /// Calldata costs 16 gas a byte (EIP-2028).
    pub istanbul: bool,
    /// Access list transactions (EIP-2930).
    pub berlin: bool,
    /// Dynamic fee transactions (EIP-1559).
    pub london: bool,
    /// Init code is limited and metered (EIP-3860).
    pub shanghai: bool,
    /// Blob transactions (EIP-4844).
    pub cancun: bool,
    /// Set code transactions (EIP-7702), calldata floor (EIP-7623).
    pub prague: bool,
    /// Transaction gas cap (EIP-7825), cell proofs (EIP-7594).
    pub osaka: bool,
    /// The most blobs that one transaction may carry: the block's maximum before Osaka, six from then on.
    /// The pool never takes more than six (as geth does: more do not fit the size limit).
    pub max_blobs_per_tx: usize,
}

impl Rules {
    /// Every fork up to Osaka.
    pub const fn osaka(chain_id: u64) -> Self {
        Self {
            chain_id,
            homestead: true,
            istanbul: true,
            berlin: true,
            london: true,
            shanghai: true,
            cancun: true,
            prague: true,
            osaka: true,
            max_blobs_per_tx: 6,
        }
    }

    /// No fork at all.
    pub const fn frontier(chain_id: u64) -> Self {
        Self {
            chain_id,
            homestead: false,
            istanbul: false,
            berlin: false,
            london: false,
            shanghai: false,
            cancun: false,
            prague: false,
            osaka: false,
            max_blobs_per_tx: 0,
        }
    }
}

/// The head as the pool sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadInfo {
    /// The head's number.
    pub number: u64,
    /// The head's timestamp, in seconds.
    pub timestamp: u64,
    /// The base fee of the *next* block, in wei per gas; zero before London.
    pub base_fee: u64,
    /// The blob base fee of the *next* block, in wei per blob gas; zero before Cancun.
    pub blob_base_fee: u128,
    /// The head's gas limit: no transaction that asks for more gets in.
    pub gas_limit: u64,
    /// The rules in force.
    pub rules: Rules,
}

/// What the pool needs to know of a sender's account on the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountView {
    /// The next nonce to be mined.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// Whether the account has code: a delegation (EIP-7702) or a contract.
    pub has_code: bool,
}

impl From<Option<&Account>> for AccountView {
    fn from(account: Option<&Account>) -> Self {
        account.map_or_else(Self::default, |account| Self {
            nonce: account.nonce,
            balance: account.balance,
            has_code: account.has_code(),
        })
    }
}

/// A change of the head: one block, several, or a reorg.
#[derive(Clone, Debug)]
pub struct HeadUpdate {
    /// The new head.
    pub head: HeadInfo,
    /// Every account that differs from the state of the previous head, as it stands on the new one. Accounts
    /// that the pool does not hold are passed over ([`crate::Pool::tracks`] tells), but the senders of
    /// `reinject` must be here.
    pub changed: Vec<(Address, AccountView)>,
    /// Hashes of the transactions in the blocks that became canonical.
    pub mined: Vec<B256>,
    /// Transactions of the blocks that left the canonical chain and that the new blocks do not have, with
    /// their senders. A blob transaction's sidecar is kept by the pool for as long as reorgs normally reach.
    pub reinject: Vec<(Transaction, Address)>,
}

impl HeadUpdate {
    /// A head above which nothing changed.
    pub const fn new(head: HeadInfo) -> Self {
        Self { head, changed: Vec::new(), mined: Vec::new(), reinject: Vec::new() }
    }
}
