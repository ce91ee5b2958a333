//! Whole chains through `import`, `export` and `db`, on both engines: every head is the known one, what comes out is
//! what went in, and a run that was ended anywhere is gone on with.

use crate::chains::{Chain, Home, blocks, gzip, head_of, import_failed, imported, succeeded, summary};
use crate::fixture::{call, quintet, until};
use quintet_testkit::postgres::Postgres;
use quintet_testkit::process::{Finished, Program};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::fs;
use std::time::Duration;

/// How often an import is killed.
const KILLS: usize = 6;

#[tokio::test]
async fn a_clique_chain_goes_in_and_comes_out_the_same() {
    let Some(chain) = Chain::clique() else { return };
    for home in [Home::embedded(), Home::postgres()] {
        home.init(&chain).await;
        let done = imported(&home.import(&chain, &chain.file)).await;
        assert_eq!(head_of(&done), chain.head);
        // 101 blocks are in the file; the genesis block is not imported.
        let counts = json!([done["blocks"], done["skipped"], done["transactions"], done["gas"]]);
        assert_eq!(counts, json!([100, 1, 506, 10_626_000]));
        assert!(done["seconds"].as_f64().expect("seconds") > 0.0);
        assert!(done["peak_rss_bytes"].as_u64().expect("bytes") > 1 << 20);
        let stages = done["stages_ms"].as_object().expect("stages");
        for stage in ["decode", "recover", "seal", "execute", "state_root", "commit"] {
            assert!(stages[stage].as_f64().expect("milliseconds") > 0.0, "{stage}: {done}");
        }
        home.verify(chain.head).await;
        assert!(succeeded(&home.command("verify")).await.contains("verified"));

        let whole = home.file("whole.rlp");
        succeeded(&home.command("export").arg(&whole)).await;
        assert!(fs::read(&whole).expect("read") == chain.bytes(), "the exported chain is another");

        // Again: everything is there.
        let done = imported(&home.import(&chain, &whole)).await;
        assert_eq!(json!([done["blocks"], done["skipped"]]), json!([0, 101]));
        assert_eq!(head_of(&done), chain.head);
    }
}

#[tokio::test]
async fn ranges_and_packed_files_are_exported_and_imported() {
    let Some(chain) = Chain::clique() else { return };
    let (bytes, home, other) = (chain.bytes(), Home::embedded(), Home::embedded());
    home.init(&chain).await;
    other.init(&chain).await;
    imported(&home.import(&chain, &home.write("chain.rlp.gz", &gzip(&bytes)))).await;
    let export = |name: &str| home.command("export").arg(home.file(name));

    // Ranges are appended, as geth does it.
    succeeded(&export("half.rlp").args(["1", "40"])).await;
    succeeded(&export("half.rlp").args(["41", "60"])).await;
    let places = blocks(&bytes);
    let half = fs::read(home.file("half.rlp")).expect("read");
    assert!(half == bytes[places[1].start..places[60].end], "other blocks");
    succeeded(&export("rest.rlp.gz").args(["61", "80"])).await;
    succeeded(&export("rest.rlp.gz").args(["81", "100"])).await;
    let rest = home.file("rest.rlp.gz");
    assert!(fs::read(&rest).expect("read").starts_with(&[0x1f, 0x8b]));

    let both = other.import(&chain, &home.file("half.rlp")).arg(&rest);
    assert_eq!(head_of(&imported(&both).await), chain.head);
    other.verify(chain.head).await;

    for (range, words) in [
        (["5", "4"], "first (5) is greater than last (4)"),
        (["5", "101"], "block number 101 larger than head block 100"),
        (["five", "6"], "five"),
    ] {
        let Finished { status, stderr, .. } = export("half.rlp").args(range).run().await;
        assert!(!status.success() && stderr.contains(words), "{stderr}");
    }
    let nowhere = home.command("export").arg("/no/such/folder/chain.rlp").run().await;
    assert!(
        nowhere.stderr.contains("cannot write /no/such/folder/chain.rlp: No such file"),
        "{}",
        nowhere.stderr
    );
    assert!(fs::read(home.file("half.rlp")).expect("read") == half, "what failed changed nothing");
}

#[tokio::test]
async fn proof_of_work_is_checked_unless_told_otherwise() {
    let Some(chain) = Chain::mainnet() else { return };
    let home = Home::embedded();
    // A network's name is enough; later runs know it.
    assert_eq!(head_of(&imported(&home.import(&chain, &chain.file)).await), chain.head);
    home.verify(chain.head).await;

    // The same genesis block, and a first block without work.
    let bad = chain.file.with_file_name("badpow-block.rlp");
    let other = Home::embedded();
    let begin = blocks(&fs::read(&bad).expect("read"))[1].start;
    let place = format!("badpow-block.rlp, byte {begin}: invalid block 1 [0x");
    let done = import_failed(&other.import(&chain, &bad), &[&place, "invalid mix digest"]).await;
    assert_eq!(head_of(&done).0, 0);
    // The good chain goes on where the bad one ended.
    assert_eq!(head_of(&imported(&other.import(&chain, &chain.file)).await), chain.head);
    let other = Home::embedded();
    let _ = import_failed(&other.import(&chain, &bad), &["invalid block 1 [0x"]).await;
    assert_eq!(head_of(&imported(&other.import(&chain, &bad).arg("--fakepow")).await).0, 1);
}

#[tokio::test]
async fn three_thousand_sealed_blocks_are_imported() {
    let Some(chain) = Chain::simple() else { return };
    let home = Home::embedded();
    home.init(&chain).await;
    let done = imported(&home.import(&chain, &chain.file)).await;
    assert_eq!(head_of(&done), chain.head);
    assert!(done["stages_ms"]["seal"].as_f64().expect("milliseconds") > 0.0);
    home.verify(chain.head).await;
    // The file begins with block 1; an export with the genesis block.
    succeeded(&home.command("export").arg(home.file("out.rlp"))).await;
    let out = fs::read(home.file("out.rlp")).expect("read");
    assert!(out.ends_with(&chain.bytes()) && blocks(&out).len() == 3001);
}

/// Runs an import again and again, killing it after times of `life` milliseconds, until it comes through.
async fn import_under_kills(home: &Home, chain: &Chain, life: std::ops::Range<u64>, random: &mut StdRng) {
    let import = home.import(chain, &chain.file);
    let mut before = 0;
    for _ in 0..KILLS {
        let mut process = import.start();
        tokio::time::sleep(Duration::from_millis(random.random_range(life.clone()))).await;
        process.kill().await;
        let (number, _) = home.head().await;
        assert!(number >= before, "the head went back from {before} to {number}");
        before = number;
    }
    let done = imported(&import).await;
    assert_eq!(head_of(&done), chain.head);
    // No block that was committed is imported again.
    assert_eq!(done["blocks"].as_u64(), Some(chain.head.0 - before), "{done}");
    home.verify(chain.head).await;
}

#[tokio::test]
async fn an_import_that_is_killed_anywhere_is_gone_on_with() {
    let Some(chain) = Chain::forks() else { return };
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let home = Home::embedded();
    home.init(&chain).await;
    import_under_kills(&home, &chain, 30..500, &mut random).await;
    let Some(chain) = Chain::clique() else { return };
    let home = Home::postgres();
    home.init(&chain).await;
    import_under_kills(&home, &chain, 20..300, &mut random).await;
}

#[tokio::test]
async fn a_signal_stops_an_import_after_a_batch() {
    let Some(chain) = Chain::forks() else { return };
    for signal in ["TERM", "INT"] {
        let home = Home::embedded();
        home.init(&chain).await;
        let import = home.import(&chain, &chain.file);
        let mut process = import.start();
        until("a commit", async || process.log().contains("Imported new chain segment").then_some(())).await;
        let status = process.signal(signal).await;
        let log = process.log();
        assert_eq!(status.code(), Some(130), "{signal}: {log}");
        assert!(log.contains("Interrupted: stopping after the batch under way"), "{log}");
        assert!(log.trim_end().ends_with("Fatal: interrupted"), "{log}");
        let line = log.lines().find(|line| line.starts_with('{')).expect("a summary");
        let stopped = head_of(&summary(line));
        assert!(stopped.0 > 0 && stopped.0 < chain.head.0, "{stopped:?}");
        assert_eq!(home.head().await, stopped);
        let done = imported(&import).await;
        assert_eq!(head_of(&done), chain.head);
        assert_eq!(done["blocks"].as_u64(), Some(chain.head.0 - stopped.0));
    }
}

#[tokio::test]
async fn a_chain_is_rolled_back_and_imported_again() {
    let Some(chain) = Chain::clique() else { return };
    for home in [Home::embedded(), Home::postgres()] {
        home.init(&chain).await;
        imported(&home.import(&chain, &chain.file)).await;
        for target in [99, 70, 33, 0] {
            let from = home.head().await;
            let said = succeeded(&home.command("db rollback").arg(target.to_string())).await;
            let head = home.head().await;
            assert_eq!(head.0, target);
            let words =
                [format!("from {} [{}]", from.0, from.1), format!("the head is {} [{}]", head.0, head.1)];
            assert!(words.iter().all(|words| said.contains(words)), "{said}");
            home.verify(head).await;
        }
        let above = home.command("db rollback 7").run().await;
        assert!(!above.status.success() && above.stderr.contains("block number 7 larger than head block 0"));
        assert_eq!(head_of(&imported(&home.import(&chain, &chain.file)).await), chain.head);
        home.verify(chain.head).await;
        let range = succeeded(&home.command("db verify --full").args(["10", "20"])).await;
        assert!(range.starts_with("blocks 10 to 20: "), "{range}");
    }
}

/// Rows of a table.
fn rows(stats: &serde_json::Value, table: &str) -> u64 {
    let tables = stats["tables"].as_array().expect("tables");
    let found = tables.iter().find(|found| found["name"] == table);
    found.and_then(|table| table["rows"].as_u64()).unwrap_or_else(|| panic!("no table {table}: {stats}"))
}

#[tokio::test]
async fn statistics_tell_what_is_there() {
    let Some(chain) = Chain::clique() else { return };
    for home in [Home::embedded(), Home::postgres()] {
        home.init(&chain).await;
        imported(&home.import(&chain, &chain.file)).await;
        let text = succeeded(&home.command("db stats")).await;
        let head = format!("head      100 [{}]", chain.head.1);
        assert!(text.contains(&head) && text.contains("chain id  ") && text.contains("trie      "), "{text}");
        // A database counts its rows a little later.
        let stats = until("the numbers of rows", async || {
            let stats = succeeded(&home.command("db stats --json")).await;
            let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
            (rows(&stats, "canonical") == 101 && rows(&stats, "transactions") == 506).then_some(stats)
        });
        let stats = stats.await;
        assert!(stats["bytes"].as_u64().expect("bytes") > 0);
    }
}

/// What is changed behind the store's back, and what `db verify --full` says of it.
const DAMAGE: [(&str, &str); 9] = [
    ("UPDATE blocks SET total_difficulty = total_difficulty + 1 WHERE number = 50", "block 50 [0x"),
    (
        "UPDATE blocks SET header = (SELECT header FROM blocks WHERE number = 51) WHERE number = 50",
        "block 50 [0x",
    ),
    ("UPDATE blocks SET body = (SELECT body FROM blocks WHERE number = 0) WHERE number = 10", "block 10 [0x"),
    (
        "UPDATE blocks SET senders = overlay(senders PLACING '\\x00' FROM 3) WHERE number = 10",
        "the sender of its",
    ),
    ("UPDATE blocks SET receipts = NULL WHERE number = 10", "block 10 [0x"),
    ("DELETE FROM transactions WHERE block = 10 AND index = 0", "its transaction 0 [0x"),
    ("DELETE FROM canonical WHERE number = 60", "block 60 is missing"),
    ("DELETE FROM block_numbers WHERE number = 60", "block 60"),
    (
        "UPDATE accounts SET balance = balance + 1 WHERE block = (SELECT max(block) FROM accounts)",
        "state root",
    ),
];

#[tokio::test]
async fn damaged_data_does_not_pass_for_whole() {
    let Some(chain) = Chain::clique() else { return };
    let server = Postgres::shared();
    let whole = server.create_database();
    let home = Home::at(whole.clone());
    home.init(&chain).await;
    imported(&home.import(&chain, &chain.file)).await;
    let template = whole.rsplit('/').next().expect("a name");
    for (index, (damage, words)) in DAMAGE.into_iter().enumerate() {
        let name = format!("{template}_damaged_{index}");
        server.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        server.sql(&name, damage);
        let Finished { status, stdout, stderr } =
            Home::at(server.url(&name)).command("db verify --full").run().await;
        assert_eq!(status.code(), Some(1), "{damage}: {stdout}{stderr}");
        assert!(stderr.contains(words) && stderr.contains("damaged"), "{damage}: {stderr}");
    }
    home.verify(chain.head).await;
}

#[tokio::test]
async fn an_imported_chain_is_served() {
    let Some(chain) = Chain::clique() else { return };
    for home in [Home::embedded(), Home::postgres()] {
        home.init(&chain).await;
        imported(&home.import(&chain, &chain.file)).await;
        let node = home.command("node --http").start_node().await;
        let head = call(&node.rpc, "eth_getBlockByNumber", json!(["latest", false])).await;
        assert_eq!(head["hash"], json!(chain.head.1));
        // One writer at a time. Who only reads needs no turn in a database, and waits for one elsewhere.
        for (second, writes) in [
            (home.import(&chain, &chain.file), true),
            (home.command("db rollback 5"), true),
            (home.command("node --http").args(["--http.port", "0"]), true),
            (home.command("db verify"), false),
            (home.command("export").arg(home.file("out.rlp")), false),
        ] {
            refused_or_not(&second, &home, writes).await;
        }
        node.stop().await;
        assert_eq!(home.head().await, chain.head);
    }
}

async fn refused_or_not(second: &Program, home: &Home, writes: bool) {
    let Finished { status, stdout, stderr } = second.run().await;
    let in_database = home.flags().len() > 2;
    if !writes && in_database {
        assert!(status.success(), "{second:?}: {stdout}{stderr}");
        return;
    }
    assert_eq!(status.code(), Some(1), "{second:?}: {stdout}{stderr}");
    let kind = if in_database { "database" } else { "datadir" };
    assert!(stderr.contains(&format!("{kind} already used by another process: ")), "{stderr}");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let home = Home::embedded();
    let file = home.file("chain.rlp");
    let missing = home.command("import").arg(&file).run().await;
    assert!(
        missing.stderr.contains("cannot open") && missing.stderr.contains("chain.rlp"),
        "{}",
        missing.stderr
    );
    home.write("chain.rlp", &[]);
    let no_chain = home.command("import").arg(&file).run().await;
    assert_eq!(no_chain.status.code(), Some(1));
    assert!(no_chain.stderr.contains("quintet init"), "{}", no_chain.stderr);
    assert!(!home.file("chaindata").exists(), "an import makes no store for a chain that it does not know");
    let nothing = Home::embedded();
    for command in ["db stats", "db verify", "db rollback 1", "export out.rlp"] {
        let finished = nothing.command(command).run().await;
        assert_eq!(finished.status.code(), Some(1));
        assert!(finished.stderr.contains("no chain store"), "{}", finished.stderr);
    }
    let unknown = quintet("db").args(["stats", "--store", "mysql://u:s3cret@db/chain"]).run().await;
    assert!(unknown.stderr.contains("mysql") && !unknown.stderr.contains("s3cret"), "{}", unknown.stderr);
    // Without a server, and with a password.
    let absent =
        quintet("db").arg("stats").env("QUINTET_STORE", "postgres://u:s3cret@127.0.0.1:1/chain").run().await;
    assert_eq!(absent.status.code(), Some(1));
    assert!(absent.stderr.contains("127.0.0.1:1") && !absent.stderr.contains("s3cret"), "{}", absent.stderr);
}
