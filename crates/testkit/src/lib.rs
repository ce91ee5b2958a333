//! What tests share: conformance vectors and the chains in them, chains made from a seed, accounts with keys, the
//! networks that vectors name; and for tests of whole processes, a way to run them, private servers, a JSON-RPC client,
//! the checks that every service must pass, and a collector of OpenTelemetry spans.
//!
//! For tests only: it panics where a test should fail.

pub mod accounts;
pub mod chain;
pub mod generate;
pub mod networks;
pub mod otlp;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod rpc;
pub mod service;
pub mod split;
pub mod vectors;
