//! RLPx frames.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("frame"),
    |data: &[u8]| quintet_fuzz::session::frame(data)
);
