//! quintet-miner-api
