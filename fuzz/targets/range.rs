//! Range proofs of `snap/1`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("range"),
    |data: &[u8]| quintet_fuzz::range::range(data)
);
