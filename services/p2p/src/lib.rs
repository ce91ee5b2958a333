//! quintet-p2p
