//! quintet-evm
