//! An `enode://` URL.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("enode"),
    |data: &[u8]| quintet_fuzz::discovery::enode(data)
);
