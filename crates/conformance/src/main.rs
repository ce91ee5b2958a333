//! Runs the conformance vectors.

fn main() {}
