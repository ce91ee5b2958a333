//! quintet-p2p-api
