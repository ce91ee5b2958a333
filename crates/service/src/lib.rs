//! quintet-service
