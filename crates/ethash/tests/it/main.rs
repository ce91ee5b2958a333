//! Proof of work against what other implementations computed.

mod difficulty;
mod hashes;
mod seals;
mod uncles;
