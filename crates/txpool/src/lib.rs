//! The transaction pool's rules: what gets in, what can run on the head, what is replaced, and what leaves
//! when there is no room. They are geth's, in its order and its words, because wallets match on both.
//!
//! Sans-IO: [`Pool`] takes events (a transaction, a new head, a tick of the clock) and returns what became of
//! the transactions it holds. Time is a value, signatures are recovered and journals written by the caller.
//!
//! What must hold, always:
//! - an account's *pending* transactions have contiguous nonces from its state nonce on, and every one is
//!   affordable by itself; its *queued* ones lie beyond a gap;
//! - no account has two transactions with one nonce, nor blob and other transactions at a time;
//! - remote transactions stay within the configured slots, blob sidecars within the configured bytes;
//! - a transaction that [`Pool::add`] accepted is in the pool until an [`Event::Dropped`] says why it is not.

mod account;
mod add;
mod best;
mod blob;
mod config;
mod decode;
mod entry;
mod error;
mod gas;
mod head;
mod index;
pub mod journal;
mod limbo;
mod limits;
mod pool;
mod price;
mod read;
mod reset;
mod validate;

pub use add::Added;
pub use best::BestTransactions;
pub use blob::kzg_settings;
pub use config::Config;
pub use decode::{Undecodable, decode_transaction};
pub use entry::{Origin, Submission};
pub use error::{DropReason, PoolError};
pub use gas::{floor_data_gas, intrinsic_gas};
pub use head::{AccountView, HeadInfo, HeadUpdate, Rules};
pub use pool::{Event, Pool};
pub use read::{Content, Status, TxStatus};
pub use validate::{Validated, Validator, replay_protected_only};
