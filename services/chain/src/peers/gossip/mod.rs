//! What is told of one's own accord: blocks and transactions.

mod blocks;
mod choice;
mod fetching;
mod insane;
mod receive;
mod transactions;

#[cfg(test)]
mod simulation;

pub(crate) use fetching::fetch_announced;
pub(crate) use insane::check_block;
pub(crate) use receive::{take_announcement, take_broadcast};
pub(crate) use transactions::{greet, relay};
