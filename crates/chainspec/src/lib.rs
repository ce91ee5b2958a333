//! quintet-chainspec
