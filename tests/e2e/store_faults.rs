//! What can happen to a store in the middle of an import: the disk is full, the database goes away or is another
//! version's. A clear error, the store consistent, and the next run goes on.

use crate::chains::{Chain, Home, head_of, import_failed, imported, succeeded};
use crate::fixture::until;
use quintet_testkit::postgres::{Fsync, Postgres};
use quintet_testkit::process::{Finished, Process, Program};
use std::process::Command;
use std::time::Duration;

/// A command of the shell that ends when one of its commands fails.
fn shell(script: &str) -> Program {
    Program::new("sh").args(["-euc", script, env!("CARGO_BIN_EXE_quintet")])
}

#[tokio::test]
async fn a_full_disk_stops_an_import_and_space_lets_it_go_on() {
    let Some(chain) = Chain::forks() else { return };
    // A file system of one's own, which is gone with its processes.
    let allowed = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("SKIPPED: no mount namespaces here");
        return;
    }
    let home = Home::embedded();
    let script = r#"
        mount -t tmpfs -o size=12m none "$1"
        "$0" init --datadir "$1" "$2"
        code=0; "$0" import --datadir "$1" --fakepow "$3" 2>"$1/../log" || code=$?
        echo "code $code"; tail -n 1 "$1/../log"
        "$0" db verify --full --datadir "$1"
        mount -o remount,size=1g "$1"
        "$0" import --datadir "$1" --fakepow "$3"
        "$0" db verify --full --datadir "$1"
    "#;
    let data = home.file("small");
    std::fs::create_dir(&data).expect("made");
    let unshared = Program::new("unshare").args(["-rm", "sh", "-euc", script, env!("CARGO_BIN_EXE_quintet")]);
    let unshared = unshared.arg(&data).arg(chain.genesis().expect("a genesis file")).arg(&chain.file);
    let said = succeeded(&unshared).await;
    let words = said.split("\ncode 1\nFatal: ").nth(1).unwrap_or_else(|| panic!("{said}"));
    assert!(words.contains("no space left on the disk that holds chain store "), "{said}");
    let verified = said.matches("state root").count();
    assert!(verified == 2 && said.contains(&format!("block 1310 [{}]: state root", chain.head.1)), "{said}");
}

#[tokio::test]
async fn a_limit_on_file_sizes_is_an_error_like_others() {
    let Some(chain) = Chain::forks() else { return };
    let home = Home::embedded();
    home.init(&chain).await;
    // Blocks of 512 bytes. The signal would end the process before it could say anything.
    let script = r#"trap "" XFSZ; ulimit -f 24576; exec "$0" "$@""#;
    let flags = home.flags();
    let limited = shell(script).arg("import").args(flags).args(["--fakepow", "--json"]).arg(&chain.file);
    let done = import_failed(&limited, &["mdbx.dat"]).await;
    assert!(done["error"].as_str().expect("an error").contains("Input/output error"), "{done}");
    assert!(head_of(&done).0 < chain.head.0);
    assert_eq!(home.head().await, head_of(&done));
    home.verify(head_of(&done)).await;
    assert_eq!(head_of(&imported(&home.import(&chain, &chain.file)).await), chain.head);
}

#[tokio::test]
async fn an_export_onto_a_full_disk_leaves_nothing_half_done() {
    let Some(chain) = Chain::clique() else { return };
    let home = Home::embedded();
    home.init(&chain).await;
    imported(&home.import(&chain, &chain.file)).await;
    let file = home.write("out.rlp", b"before");
    let script = r#"trap "" XFSZ; ulimit -f 100; exec "$0" "$@""#;
    for range in [&[][..], &["1", "100"]] {
        let export = shell(script).arg("export").args(home.flags()).arg(&file).args(range);
        let Finished { status, stderr, .. } = export.run().await;
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("cannot write") && stderr.contains("out.rlp: File too large"), "{stderr}");
        assert_eq!(std::fs::read(&file).expect("read"), b"before");
        let left = std::fs::read_dir(home.path()).expect("a directory").flatten();
        let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("out.rlp")).count();
        assert_eq!(left, 1);
    }
}

/// An import into a database that is slow enough to be disturbed in its middle.
async fn import_in_its_middle(home: &Home, chain: &Chain) -> Process {
    let process = home.import(chain, &chain.file).start();
    until("a commit", async || process.log().contains("Imported new chain segment").then_some(())).await;
    process
}

/// The import must have ended in order, with these words.
async fn ended(mut process: Process, words: &[&str]) {
    let status = process.wait().await;
    let log = process.log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("Fatal: ") && words.iter().all(|word| last.contains(word)), "{log}");
}

#[tokio::test]
async fn a_database_that_stops_or_crashes_ends_an_import_and_nothing_is_lost() {
    let Some(chain) = Chain::forks() else { return };
    let mut server = Postgres::start_with(Fsync::On, &[]);
    let home = Home::at(server.create_database());
    home.init(&chain).await;
    let mut before = 0;
    for crash in [false, true] {
        let process = import_in_its_middle(&home, &chain).await;
        if crash {
            server.kill();
        } else {
            server.stop();
        }
        ended(process, &["chain store postgres://", "is not available"]).await;
        let Finished { status, stderr, .. } = home.command("db stats").run().await;
        assert!(!status.success() && stderr.contains("is not available"), "{stderr}");
        server.restart();
        let head = home.head().await;
        // Commits in bulk do not wait for the disk: a crash may take the newest ones back, and nothing else.
        let least = if crash { before } else { before + 1 };
        assert!(head.0 >= least && head.0 < chain.head.0, "{head:?} after {before}");
        before = head.0;
        home.verify(head).await;
    }
    let done = imported(&home.import(&chain, &chain.file)).await;
    assert_eq!(head_of(&done), chain.head);
    home.verify(chain.head).await;
}

#[tokio::test]
async fn connections_that_are_dropped_lose_nothing() {
    let Some(chain) = Chain::forks() else { return };
    let server = Postgres::shared();
    let url = server.create_database();
    let home = Home::at(url.clone());
    home.init(&chain).await;
    let mut process = import_in_its_middle(&home, &chain).await;
    let mut dropped = 0;
    while process.exit_status().is_none() {
        let drop = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let count = server.try_sql(&url, drop).expect("dropped");
        dropped += count.parse::<u32>().expect("a number");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(dropped > 0);
    let log = process.log();
    assert!(!log.contains("panicked"), "{log}");
    // It may have connected again and come through, or have given up: then it says so.
    if !process.wait().await.success() {
        let last = log.lines().last().unwrap_or_default();
        assert!(last.starts_with("Fatal: ") && last.contains("is not available"), "{log}");
    }
    home.verify(home.head().await).await;
    assert_eq!(head_of(&imported(&home.import(&chain, &chain.file)).await), chain.head);
    home.verify(chain.head).await;
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_and_left_alone() {
    let Some(chain) = Chain::clique() else { return };
    let server = Postgres::shared();
    let url = server.create_database();
    let home = Home::at(url.clone());
    home.init(&chain).await;
    imported(&home.import(&chain, &chain.file)).await;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
                 VALUES (9999, 'from_the_future', '2100-01-01T00:00:00Z', '1')";
    server.try_sql(&url, newer).expect("inserted");
    for command in ["db stats", "db verify", "db rollback 5", "node"] {
        let Finished { status, stderr, .. } = home.command(command).run().await;
        assert_eq!(status.code(), Some(1), "{command}: {stderr}");
        assert!(stderr.contains("has another schema") && stderr.contains("from_the_future"), "{stderr}");
    }
    let again = home.import(&chain, &chain.file).run().await;
    assert!(
        again.status.code() == Some(1) && again.stderr.contains("has another schema"),
        "{}",
        again.stderr
    );
    server.try_sql(&url, "DELETE FROM refinery_schema_history WHERE version = 9999").expect("deleted");
    home.verify(chain.head).await;
}

#[tokio::test]
async fn two_imports_into_one_store_do_not_meet() {
    let Some(chain) = Chain::forks() else { return };
    for (home, kind) in [(Home::embedded(), "datadir"), (Home::postgres(), "database")] {
        home.init(&chain).await;
        let mut first = import_in_its_middle(&home, &chain).await;
        let second = home.import(&chain, &chain.file).run().await;
        assert_eq!(second.status.code(), Some(1), "{}", second.stderr);
        let words = format!("{kind} already used by another process: ");
        assert!(second.stderr.contains(&words), "{}", second.stderr);
        let status = first.wait().await;
        assert!(status.success(), "{}", first.log());
        assert_eq!(home.head().await, chain.head);
    }
}
