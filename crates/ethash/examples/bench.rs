//! Times what the node and a miner wait for: a cache, a dataset, one hash by each, and the search's rate.
//!
//! `cargo run --release -p quintet-ethash --example bench [epoch] [seconds of search]`

use alloy_primitives::{B256, U256};
use quintet_ethash::{
    Cache, Dataset, EPOCH_LENGTH, Epoch, Search, hashimoto_full, hashimoto_light, verify_seals,
};
use quintet_types::Header;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let index: u64 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let epoch = Epoch::of_block(index * EPOCH_LENGTH)?;

    let start = Instant::now();
    let cache = Cache::generate(epoch);
    println!("cache of epoch {index}: {:?} ({} bytes)", start.elapsed(), epoch.cache_size());

    let hashes = 500;
    let start = Instant::now();
    for nonce in 0..hashes {
        std::hint::black_box(hashimoto_light(&cache, &B256::ZERO, nonce));
    }
    println!("light hash: {:?}", start.elapsed() / u32::try_from(hashes)?);

    let headers =
        vec![Header { difficulty: U256::ONE, number: epoch.first_block(), ..Header::default() }; 512];
    let start = Instant::now();
    std::hint::black_box(verify_seals(&cache, &headers.iter().collect::<Vec<_>>()));
    println!("light hash among many: {:?}", start.elapsed() / 512);

    let start = Instant::now();
    let dataset = Dataset::generate(&cache, &|_, _| (), &AtomicBool::new(false))?;
    println!("dataset of epoch {index}: {:?} ({} bytes)", start.elapsed(), epoch.dataset_size());

    for nonce in 0..64 {
        let light = hashimoto_light(&cache, &B256::ZERO, nonce);
        assert_eq!(hashimoto_full(&dataset, &B256::ZERO, nonce), light, "nonce {nonce}");
    }

    let hashes = 20_000;
    let start = Instant::now();
    for nonce in 0..hashes {
        std::hint::black_box(hashimoto_full(&dataset, &B256::ZERO, nonce));
    }
    println!("full hash, one by one: {:?}", start.elapsed() / u32::try_from(hashes)?);

    let threads = thread::available_parallelism()?.get() as u64;
    let search = Search::new(B256::ZERO, U256::MAX);
    let (stop, tried) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            let range = u64::MAX / threads * thread..u64::MAX / threads * (thread + 1);
            let (dataset, stop, tried) = (&dataset, &stop, &tried);
            scope.spawn(move || search.run(dataset, range, stop, tried));
        }
        thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
    });
    let rate = tried.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    println!("search on {threads} threads: {rate:.0} hashes a second");
    Ok(())
}
