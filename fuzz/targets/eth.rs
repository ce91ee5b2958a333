//! Every message of every version of `eth`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: quintet_fuzz::seeds::write("eth"),
    |data: &[u8]| quintet_fuzz::messages::eth(data)
);
