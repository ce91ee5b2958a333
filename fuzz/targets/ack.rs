//! The handshake's `ack` packet.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("ack"),
    |data: &[u8]| quintet_fuzz::session::ack(data)
);
