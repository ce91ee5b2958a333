//! The store, from outside.

mod chain;
#[macro_use]
mod contract;
mod crash;
mod damage;
mod embedded;
mod faults;
mod postgres;
mod proxy;
mod sql;
