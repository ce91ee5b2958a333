//! A node record (EIP-778), its bytes and its text.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("record"),
    |data: &[u8]| quintet_fuzz::discovery::record(data)
);
