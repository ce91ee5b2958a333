//! The base protocol's disconnect.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("disconnect"),
    |data: &[u8]| quintet_fuzz::session::disconnect(data)
);
