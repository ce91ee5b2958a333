//! quintet-benches
