//! Frames one way, with messages of 64 KiB: what one core encodes, and what one core decodes.
//!
//! `random` does not compress, as keys and hashes; `half` compresses to about half, as bodies and receipts do;
//! `uncompressed` is for peers of base protocol 4. Bytes are those of the messages.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;

use alloy_primitives::{B256, Keccak256};
use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quintet_rlpx::{Codec, PublicKey, Secrets};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

const MESSAGE: usize = 64 << 10;

/// A session that reads what it writes.
fn codec(version: u64) -> Codec {
    let state = Keccak256::new();
    let secrets = Secrets::new(
        PublicKey::repeat_byte(1),
        B256::repeat_byte(2),
        B256::repeat_byte(3),
        state.clone(),
        state,
    );
    let mut codec = Codec::new(secrets);
    codec.hello_received(version);
    codec
}

fn random() -> Vec<u8> {
    let mut bytes = vec![0; MESSAGE];
    StdRng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
}

/// Hashes between words that are mostly zero.
fn half() -> Vec<u8> {
    let mut bytes = random();
    for (index, word) in bytes.chunks_mut(32).enumerate() {
        if index % 2 == 0 {
            word[..30].fill(0);
        }
    }
    bytes
}

fn frames(criterion: &mut Criterion) {
    let messages = [("random", 5, random()), ("half", 5, half()), ("uncompressed", 4, random())];
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(MESSAGE as u64));
    for (name, version, message) in &messages {
        let mut codec = codec(*version);
        let mut out = BytesMut::new();
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                out.clear();
                codec.encode(16, black_box(message), &mut out).expect("the message fits")
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(MESSAGE as u64));
    for (name, version, message) in &messages {
        let (mut encoder, _) = codec(*version).into_parts();
        let (_, mut decoder) = codec(*version).into_parts();
        group.bench_function(*name, |bencher| {
            bencher.iter_batched(
                || {
                    let mut wire = BytesMut::new();
                    encoder.encode(16, message, &mut wire).expect("the message fits");
                    wire
                },
                |mut wire| decoder.decode(&mut wire).expect("the frame is good"),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
