//! quintet-chain
