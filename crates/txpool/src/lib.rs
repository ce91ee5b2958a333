//! quintet-txpool
