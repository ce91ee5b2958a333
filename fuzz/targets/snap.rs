//! Every message of `snap/1`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("snap"),
    |data: &[u8]| quintet_fuzz::messages::snap(data)
);
