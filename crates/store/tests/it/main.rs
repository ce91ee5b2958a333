//! The store, from outside.

mod chain;
#[macro_use]
mod contract;
mod crash;
mod damage;
mod embedded;
