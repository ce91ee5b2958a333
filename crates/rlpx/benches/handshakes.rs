//! Handshakes a second: what it costs to be dialled, alone and on two cores, and a handshake with both of its
//! sides on one core.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quintet_rlpx::{Accepted, Codec, Initiator, PublicKey, Recipient};
use secp256k1::SecretKey;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_byte_array([byte; 32]).expect("it is below the order")
}

fn initiator() -> Initiator {
    let point = secp256k1::PublicKey::from_secret_key_global(&key(2));
    let remote = PublicKey::from_slice(&point.serialize_uncompressed()[1..]);
    Initiator::new(&key(1), &remote).expect("it is a point")
}

/// All that a listener computes for a peer before the first frame.
fn accept(auth: &[u8]) -> (Vec<u8>, Codec) {
    let accepted = Recipient::new(&key(2)).read_auth(&mut BytesMut::from(auth));
    let Accepted { ack, secrets } = accepted.expect("the packet is good").expect("the packet is whole");
    (ack, Codec::new(secrets))
}

fn handshakes(criterion: &mut Criterion) {
    let auth = initiator().auth().to_vec();
    let mut group = criterion.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    group.bench_function("inbound", |bencher| bencher.iter(|| accept(black_box(&auth))));
    group.bench_function("inbound/two cores", |bencher| {
        bencher.iter_custom(|rounds| {
            let start = Instant::now();
            thread::scope(|scope| {
                for share in [rounds / 2, rounds.div_ceil(2)] {
                    let auth = &auth;
                    scope.spawn(move || (0..share).for_each(|_| drop(accept(black_box(auth)))));
                }
            });
            start.elapsed()
        });
    });
    group.bench_function("both sides", |bencher| {
        bencher.iter(|| {
            let mut initiator = initiator();
            let (ack, theirs) = accept(initiator.auth());
            let secrets = initiator.read_ack(&mut BytesMut::from(ack.as_slice()));
            (theirs, Codec::new(secrets.expect("the packet is good").expect("the packet is whole")))
        });
    });
    group.finish();
}

criterion_group!(benches, handshakes);
criterion_main!(benches);
