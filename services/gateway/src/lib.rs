//! quintet-gateway
