//! quintet-testkit
