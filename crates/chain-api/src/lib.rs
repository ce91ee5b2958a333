//! quintet-chain-api
