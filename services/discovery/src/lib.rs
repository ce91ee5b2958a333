//! quintet-discovery
