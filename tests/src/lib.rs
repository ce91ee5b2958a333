//! quintet-tests
