//! quintet-events
