//! Proof of work (ethash): caches and datasets, seals, difficulty, uncles.
