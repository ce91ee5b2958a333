//! The test tools themselves, and by them: that the EVM, the trie and the store together execute real chains.

mod chains;
mod generated;
