//! A discovery v4 datagram.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("discv4"),
    |data: &[u8]| quintet_fuzz::discovery::datagram(data)
);
