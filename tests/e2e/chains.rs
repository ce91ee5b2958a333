//! Chains that others made, and places to import them into: what the tests of the operator's commands share.

use crate::fixture::quintet;
use alloy_consensus::Header;
use alloy_primitives::{B256, b256};
use alloy_rlp::Decodable as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use quintet_testkit::generate::{Generator, Network, Options, encode_chain};
use quintet_testkit::postgres::Postgres;
use quintet_testkit::process::{Finished, Program};
use quintet_testkit::vectors::archive;
use quintet_types::BlockRef;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A chain: how its network begins, and its blocks.
pub(crate) struct Chain {
    genesis: Option<PathBuf>,
    /// Flags that an import of it needs.
    flags: Vec<&'static str>,
    /// The file of its blocks.
    pub file: PathBuf,
    /// Its last block.
    pub head: (u64, B256),
}

impl Chain {
    /// A clique network of geth 1.8.27: 101 blocks with the genesis, 506 transactions.
    pub(crate) fn clique() -> Option<Self> {
        let folder = archive("20")?;
        let calls: Value =
            serde_json::from_slice(&fs::read(folder.join("rpc.json")).expect("rpc.json")).expect("JSON");
        let file = folder.join("chain.rlp");
        let bytes = fs::read(&file).expect("chain.rlp");
        let head = header(&bytes[blocks(&bytes).pop().expect("a last block")]);
        // The network's nodes had all but the last block when they were asked.
        let recorded = calls.as_array().expect("a list").iter().find_map(|call| {
            let block = &call["response"]["result"];
            (block["number"] == "0x63").then(|| block["hash"].as_str()?.parse::<B256>().ok()).flatten()
        });
        assert_eq!(recorded, Some(head.parent_hash), "the hash of block 99");
        let genesis = Some(folder.join("genesis.json"));
        Some(Self { genesis, flags: Vec::new(), file, head: (100, head.hash_slow()) })
    }

    /// 3000 blocks with real proof of work, and 30 transactions.
    pub(crate) fn simple() -> Option<Self> {
        let folder = archive("14")?.join("hive-simplechain");
        let head = (3000, b256!("c95596f4707fb382554b660b4847c599eb5f8fdcf99be2c5654aaadd4ec97840"));
        let genesis = Some(folder.join("genesis.json"));
        Some(Self { genesis, flags: Vec::new(), file: folder.join("chain.rlp"), head })
    }

    /// The first thousand blocks of the main network: no transactions, but uncles and real proof of work.
    pub(crate) fn mainnet() -> Option<Self> {
        let file = archive("12")?.join("mainnet-0-999/blocks.rlp");
        let head = (999, b256!("c31b362e591aa07faa977dbc492ae43cd47eef291920435153bbbf3acaf2fc2f"));
        Some(Self { genesis: None, flags: vec!["--network", "mainnet"], file, head })
    }

    /// All forks from Frontier to Muir Glacier: 1311 blocks with the genesis, 22,258 transactions. Its proof of work
    /// is not looked at.
    pub(crate) fn forks() -> Option<Self> {
        let folder = archive("14")?.join("core-geth-foundation-condense-state");
        let head = (1310, b256!("8e8dfbabab379f2459d97ac3ec2c0ccfbbe920edc5c19043b89dc94f9ec2f707"));
        let genesis = Some(folder.join("foundation.conf.json"));
        Some(Self { genesis, flags: vec!["--fakepow"], file: folder.join("export.rlp"), head })
    }

    /// A clique network of contracts that come and go: 150 blocks. Its files are put into `folder`.
    pub(crate) fn generated(folder: &Path) -> Self {
        let mut generator = Generator::new(Options::small(Network::Clique));
        let blocks: Vec<_> = (0..150).map(|_| generator.next_block()).collect();
        let (genesis, file) = (folder.join("genesis.json"), folder.join("chain.rlp"));
        fs::write(&genesis, generator.genesis_json()).expect("written");
        fs::write(&file, encode_chain(generator.spec(), &blocks)).expect("written");
        let BlockRef { number, hash } = generator.head();
        Self { genesis: Some(genesis), flags: Vec::new(), file, head: (number, hash) }
    }

    /// Flags that an import of it, or a node on it, needs.
    pub(crate) fn flags(&self) -> &[&'static str] {
        &self.flags
    }

    /// The bytes of its file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(&self.file).expect("the chain's file")
    }

    /// Whether it needs a genesis file written before the import.
    pub(crate) fn genesis(&self) -> Option<&Path> {
        self.genesis.as_deref()
    }
}

/// Where each block is in a file of blocks.
pub(crate) fn blocks(file: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let begin = file.len() - rest.len();
        alloy_rlp::Header::decode_bytes(&mut rest, true).expect("a block");
        found.push(begin..file.len() - rest.len());
    }
    found
}

/// The header of a block.
pub(crate) fn header(mut block: &[u8]) -> Header {
    alloy_rlp::Header::decode(&mut block).expect("a block");
    Header::decode(&mut block).expect("a header")
}

/// The bytes, packed by gzip.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

/// A data directory, with the chain in it or in a database.
pub(crate) struct Home {
    directory: TempDir,
    store: Option<String>,
}

impl Home {
    /// With the embedded engine.
    pub(crate) fn embedded() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), store: None }
    }

    /// With an empty database of the server that all tests share.
    pub(crate) fn postgres() -> Self {
        Self::at(Postgres::shared().create_database())
    }

    /// With the store at an address.
    pub(crate) fn at(store: String) -> Self {
        Self { store: Some(store), ..Self::embedded() }
    }

    /// The data directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file in the data directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file into the data directory.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, bytes).expect("written");
        path
    }

    /// What a command is given to find the data.
    pub(crate) fn flags(&self) -> Vec<String> {
        let mut flags = vec!["--datadir".to_owned(), self.path().to_str().expect("text").to_owned()];
        if let Some(store) = &self.store {
            flags.extend(["--store".to_owned(), store.clone()]);
        }
        flags
    }

    /// A command on the data, as `db stats`.
    pub(crate) fn command(&self, words: &str) -> Program {
        let mut words = words.split(' ');
        quintet(words.next().expect("a word")).args(words).args(self.flags())
    }

    /// An import of a file into a store that has the chain's genesis block.
    pub(crate) fn import(&self, chain: &Chain, file: &Path) -> Program {
        self.command("import").args(&chain.flags).args(ethash()).arg("--json").arg(file)
    }

    /// Writes the genesis block of a chain that brings a file for it.
    pub(crate) async fn init(&self, chain: &Chain) {
        if let Some(genesis) = &chain.genesis {
            succeeded(&self.command("init").arg(genesis)).await;
        }
    }

    /// The head, as `db stats` has it.
    pub(crate) async fn head(&self) -> (u64, B256) {
        let stats: Value =
            serde_json::from_str(&succeeded(&self.command("db stats --json")).await).expect("JSON");
        head_of(&stats)
    }

    /// Checks everything, and that the head is this one.
    pub(crate) async fn verify(&self, head: (u64, B256)) {
        let said = succeeded(&self.command("db verify --full")).await;
        let state = format!("block {} [{}]: state root", head.0, head.1);
        assert!(said.contains(&format!("blocks 0 to {}: ", head.0)), "{said}");
        assert!(said.contains(&state), "{said} has no {state}");
    }
}

/// Where all tests keep ethash's caches, so that one makes them.
fn ethash() -> [String; 2] {
    let directory = std::env::temp_dir().join("quintet-tests-ethash");
    ["--ethash.cachedir".to_owned(), directory.to_str().expect("text").to_owned()]
}

/// The head in a summary of `import` or `db stats`.
pub(crate) fn head_of(summary: &Value) -> (u64, B256) {
    let head = &summary["head"];
    let hash = head["hash"].as_str().and_then(|hash| hash.parse().ok());
    (head["number"].as_u64().expect("a number"), hash.expect("a hash"))
}

/// Runs a command that must succeed; what it prints.
pub(crate) async fn succeeded(program: &Program) -> String {
    let Finished { status, stdout, stderr } = program.run().await;
    assert!(status.success(), "{program:?}: {status}\n{stdout}\n{stderr}");
    stdout
}

/// Runs an import that must succeed; its summary.
pub(crate) async fn imported(program: &Program) -> Value {
    summary(&succeeded(program).await)
}

/// The line that an import prints.
pub(crate) fn summary(stdout: &str) -> Value {
    serde_json::from_str(stdout.trim()).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// Runs an import that must fail in order, and say so with all of these words; its summary.
pub(crate) async fn import_failed(program: &Program, words: &[&str]) -> Value {
    let Finished { status, stdout, stderr } = program.run().await;
    assert_eq!(status.code(), Some(1), "{program:?}:\n{stdout}\n{stderr}");
    assert!(!stderr.contains("panicked"), "{program:?}: {stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("Fatal: "), "{stderr}");
    for word in words {
        assert!(last.contains(word), "no {word:?}: {last}");
    }
    summary(&stdout)
}
