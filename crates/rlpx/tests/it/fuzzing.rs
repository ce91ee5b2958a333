//! The fuzz entry points on random and on slightly damaged bytes: what a fuzzer does for hours, for a moment; for
//! longer with `PROPTEST_CASES`.

use proptest::collection::vec;
use proptest::prelude::*;
use quintet_rlpx::{Capability, Hello, PublicKey, base, fuzz};

fn hello() -> Vec<u8> {
    let capabilities = vec![Capability::new("eth", 68), Capability::new("snap", 1)];
    let id = PublicKey::repeat_byte(1);
    Hello { version: base::VERSION, client: "test/v1".into(), capabilities, port: 30303, id }.encode()
}

proptest! {
    #[test]
    fn any_bytes_are_survived(data in vec(any::<u8>(), 0..400)) {
        fuzz::hello(&data);
        fuzz::frame(&data);
    }

    #[test]
    fn any_handshake_is_survived(data in vec(any::<u8>(), 0..400)) {
        fuzz::auth(&data);
        fuzz::ack(&data);
    }

    #[test]
    fn any_damaged_hello_is_survived(index in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut data = hello();
        let index = index.index(data.len());
        data[index] = byte;
        fuzz::hello(&data);
        data.truncate(cut.index(data.len()));
        fuzz::hello(&data);
    }
}

#[test]
fn lists_that_claim_to_be_endless_are_survived() {
    for first in 0..=u8::MAX {
        for filler in [0, 0x7f, 0x80, 0xc0, 0xff] {
            let data = [vec![first], vec![filler; 20]].concat();
            fuzz::hello(&data);
            fuzz::auth(&data);
            fuzz::ack(&data);
            fuzz::frame(&data);
        }
    }
}
