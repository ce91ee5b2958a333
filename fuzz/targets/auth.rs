//! The handshake's `auth` packet.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("auth"),
    |data: &[u8]| quintet_fuzz::session::auth(data)
);
