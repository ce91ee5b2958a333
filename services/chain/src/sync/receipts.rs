//! Receipts of history: what headers vouch for them by.

use super::network::Fault;
use super::parts::{Part, PartQueue};
use crate::bulk::weight;
use crate::history::RootedReceipts;
use alloy_consensus::EMPTY_ROOT_HASH;
use alloy_primitives::B256;
use quintet_types::Header;

/// The receipts of the headers on their way in.
pub(crate) type ReceiptQueue = PartQueue<RootedReceipts>;

/// What surrounds a block's receipts.
const LIST: usize = 64;

impl Part for RootedReceipts {
    type Roots = B256;
    const FOREIGN: Fault = Fault::WrongReceipts;

    fn roots_in(header: &Header) -> B256 {
        header.receipts_root
    }

    fn roots(&self) -> B256 {
        self.root()
    }

    fn empty(header: &Header) -> Option<Self> {
        (header.receipts_root == EMPTY_ROOT_HASH).then(Self::none)
    }

    fn weight(&self) -> usize {
        LIST + weight::of_receipts(self.receipts())
    }
}
