//! quintet-miner
