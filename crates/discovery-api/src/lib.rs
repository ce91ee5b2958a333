//! quintet-discovery-api
