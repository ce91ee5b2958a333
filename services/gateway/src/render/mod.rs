//! Chain objects as JSON, field by field as geth and the execution API specification have them.

mod block;
mod log;
mod receipt;
mod sync;
mod transaction;

pub(crate) use block::{write_block, write_header_object, write_uncle};
pub(crate) use log::{LogPlace, write_log};
pub(crate) use receipt::{ReceiptPlace, write_receipt, write_receipts};
pub(crate) use sync::write_sync_progress;
pub(crate) use transaction::{TransactionPlace, write_access_list, write_pending, write_transaction};
