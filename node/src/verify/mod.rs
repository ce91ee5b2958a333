//! Checks a whole store against itself: that its state has the root which the head's header promises, and that its
//! blocks and what was derived from them fit together. Memory stays bounded, whatever the chain's size.

mod blocks;
mod state;

pub(crate) use blocks::{Checks, check_blocks};
pub(crate) use state::state_root;
