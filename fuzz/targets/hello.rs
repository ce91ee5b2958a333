//! The base protocol's hello.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("hello"),
    |data: &[u8]| quintet_fuzz::session::hello(data)
);
