//! quintet-trie
