//! Clique against EIP-225's scenarios, chains that geth and Besu made, and headers that break one rule each.

mod chains;
mod history;
mod network;
mod rules;
mod sealing;
mod voting;
