//! Files that are not what they should be. Whatever is wrong with one: the error names file, place and block, everything
//! before it is imported, the store is whole, and the good file goes on from there.

use crate::chains::{Chain, Home, blocks, gzip, head_of, header, import_failed, imported};
use alloy_primitives::B256;
use quintet_testkit::process::Finished;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::ops::Range;

/// How many damaged files are tried.
const ROUNDS: usize = 20;

/// A chain in memory.
struct File {
    chain: Chain,
    bytes: Vec<u8>,
    blocks: Vec<Range<usize>>,
}

impl File {
    fn clique() -> Option<Self> {
        let chain = Chain::clique()?;
        let bytes = chain.bytes();
        Some(Self { blocks: blocks(&bytes), bytes, chain })
    }

    /// The bytes of these blocks.
    fn of(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[self.blocks[range.start].start..self.blocks[range.end - 1].end]
    }

    fn hash(&self, number: usize) -> B256 {
        header(&self.bytes[self.blocks[number].clone()]).hash_slow()
    }

    /// Imports a file that must fail with these words behind its name, and leave block `head` as the head.
    async fn fails(&self, home: &Home, bytes: &[u8], words: &[&str], head: usize) {
        let file = home.write("bad.rlp", bytes);
        let done =
            import_failed(&home.import(&self.chain, &file), &[&["bad.rlp, byte "], words].concat()).await;
        assert_eq!(head_of(&done), (head as u64, self.hash(head)));
        assert!(done["error"].as_str().is_some_and(|error| error.contains(words[0])), "{done}");
        home.verify((head as u64, self.hash(head))).await;
    }

    /// Imports the good file.
    async fn recovers(&self, home: &Home) {
        let done = imported(&home.import(&self.chain, &self.chain.file)).await;
        assert_eq!(head_of(&done), self.chain.head);
        home.verify(self.chain.head).await;
    }

    async fn home(&self, home: Home) -> Home {
        home.init(&self.chain).await;
        home
    }
}

#[tokio::test]
async fn a_truncated_file_is_imported_up_to_its_end() {
    let Some(file) = File::clique() else { return };
    for home in [Home::embedded(), Home::postgres()] {
        let home = file.home(home).await;
        let begin = file.blocks[50].start;
        let have = file.blocks[50].len() - 7;
        let cut = &file.bytes[..begin + have];
        let place = format!("byte {begin}: the file is truncated: {have} of the block's {} bytes", have + 7);
        file.fails(&home, cut, &[&place], 49).await;
        // One byte more of the next block; the rest is known.
        let begin = file.blocks[60].start;
        file.fails(&home, &file.bytes[..=begin], &[&format!("byte {begin}: ")], 59).await;
        file.recovers(&home).await;
    }
    let home = file.home(Home::embedded()).await;
    let packed = gzip(&file.bytes);
    let path = home.write("cut.rlp.gz", &packed[..packed.len() * 3 / 4]);
    let words = ["cut.rlp.gz, byte ", " of its unpacked content: cannot read on: "];
    let done = import_failed(&home.import(&file.chain, &path), &words).await;
    assert!((20..100).contains(&head_of(&done).0), "{done}");
    file.recovers(&home).await;
}

#[tokio::test]
async fn reordered_and_missing_blocks_are_named() {
    let Some(file) = File::clique() else { return };
    for home in [Home::embedded(), Home::postgres()] {
        let home = file.home(home).await;
        // Two blocks have changed places.
        let bytes = [file.of(0..30), file.of(31..32), file.of(30..31), file.of(32..101)].concat();
        let place =
            format!("byte {}: unknown ancestor of block 31 [{}]", file.blocks[30].start, file.hash(31));
        file.fails(&home, &bytes, &[&place], 29).await;
        // One is missing.
        let bytes = [file.of(0..40), file.of(41..101)].concat();
        let place =
            format!("byte {}: unknown ancestor of block 41 [{}]", file.blocks[40].start, file.hash(41));
        file.fails(&home, &bytes, &[&place], 39).await;
        // The beginning is missing.
        let place = format!("byte 0: unknown ancestor of block 90 [{}]", file.hash(90));
        file.fails(&home, file.of(90..101), &[&place], 39).await;
        file.recovers(&home).await;
    }
}

#[tokio::test]
async fn blocks_that_come_twice_are_passed_over() {
    let Some(file) = File::clique() else { return };
    for home in [Home::embedded(), Home::postgres()] {
        let home = file.home(home).await;
        let bytes =
            [file.of(0..30), file.of(29..31), file.of(10..40), file.of(40..101), file.of(0..101)].concat();
        let path = home.write("twice.rlp", &bytes);
        let done = imported(&home.import(&file.chain, &path)).await;
        assert_eq!(head_of(&done), file.chain.head);
        assert_eq!(done["blocks"], json!(100), "{done}");
        home.verify(file.chain.head).await;
    }
}

#[tokio::test]
async fn a_file_of_another_chain_or_of_none_is_refused() {
    let Some(file) = File::clique() else { return };
    let Some(other) = Chain::forks() else { return };
    let home = file.home(Home::embedded()).await;
    let other = other.bytes();
    file.fails(&home, &other, &["byte 0: ", "genesis"], 0).await;
    let first = blocks(&other)[1].clone();
    file.fails(&home, &other[first], &["byte 0: ", "block 1 ["], 0).await;
    file.fails(&home, b"{\"config\": {}}", &["byte 0: not a block: it begins with 0x7b"], 0).await;
    file.fails(&home, &[0xff; 100], &["byte 0: not a block: it claims"], 0).await;
    // Much of nothing, and blocks followed by it.
    let bomb = gzip(&vec![0; 64 << 20]);
    let words = ["byte 0 of its unpacked content: not a block"];
    file.fails(&home, &bomb, &words, 0).await;
    let after = [gzip(file.of(0..50)), bomb].concat();
    let place = format!("byte {} of its unpacked content: not a block", file.blocks[50].start);
    file.fails(&home, &after, &[&place], 49).await;
    // Packed twice is not packed.
    let words = ["byte 0 of its unpacked content: not a block: it begins with 0x1f"];
    file.fails(&home, &gzip(&gzip(&file.bytes)), &words, 49).await;
    file.recovers(&home).await;
}

/// Flips bits of a few bytes in one block, not of the first one. Which block it is.
fn damage(file: &File, random: &mut StdRng) -> (Vec<u8>, usize) {
    let number = random.random_range(1..file.blocks.len());
    let mut bytes = file.bytes.clone();
    let place = random.random_range(file.blocks[number].clone());
    let end = (place + random.random_range(1..4)).min(file.blocks[number].end);
    for byte in &mut bytes[place..end] {
        *byte ^= random.random_range(1..=u8::MAX);
    }
    (bytes, number)
}

#[tokio::test]
async fn a_file_damaged_anywhere_gives_an_error_or_the_right_chain() {
    let Some(file) = File::clique() else { return };
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..ROUNDS {
        let home = if round % 5 == 0 { Home::postgres() } else { Home::embedded() };
        let home = file.home(home).await;
        let (bytes, number) = damage(&file, &mut random);
        let path = home.write("damaged.rlp", &bytes);
        let Finished { status, stdout, stderr } = home.import(&file.chain, &path).run().await;
        let head = home.head().await;
        if status.success() {
            assert_eq!(head, file.chain.head, "damaged block {number}: {stdout}");
            continue;
        }
        assert_eq!(status.code(), Some(1), "damaged block {number}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        let place = format!("damaged.rlp, byte {}: ", file.blocks[number].start);
        // Behind a length that is wrong, everything is.
        let prefix = stderr.contains("truncated") || stderr.contains("not a block");
        assert!(
            last.contains(&place) || prefix && last.contains("damaged.rlp, byte "),
            "block {number}: {last}"
        );
        assert_eq!(head, (number as u64 - 1, file.hash(number - 1)), "damaged block {number}: {last}");
        home.verify(head).await;
        file.recovers(&home).await;
    }
}

#[tokio::test]
async fn a_damaged_packed_file_gives_an_error() {
    let Some(file) = File::clique() else { return };
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let packed = gzip(&file.bytes);
    let home = file.home(Home::embedded()).await;
    for _ in 0..ROUNDS / 4 {
        let mut bytes = packed.clone();
        // The header's first bytes hold what changes nothing: its time, the system's name.
        let place = random.random_range(10..bytes.len());
        bytes[place] ^= random.random_range(1..=u8::MAX);
        let path = home.write("damaged.rlp.gz", &bytes);
        let done = import_failed(&home.import(&file.chain, &path), &["damaged.rlp.gz, byte "]).await;
        let head = head_of(&done);
        assert_eq!(head.1, file.hash(usize::try_from(head.0).expect("a number")));
    }
    file.recovers(&home).await;
}
