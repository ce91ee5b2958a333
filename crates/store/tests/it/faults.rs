//! PostgreSQL when things go wrong: a clear error, nothing half-written, and the next call goes on.

use crate::chain::{Change, State, address, chain, commit, extend};
use crate::proxy::{Cut, Proxy};
use quintet_store::{Commit, PostgresOptions, Store, StoreError, TrieFlush, open_postgres};
use quintet_testkit::postgres::{Fsync, Postgres};
use quintet_types::{BlockRef, ExecutedBlock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn options() -> PostgresOptions {
    PostgresOptions {
        partition_blocks: 8,
        readers: 4,
        patience: Duration::from_secs(10),
        ..Default::default()
    }
}

fn opened(url: &str) -> Arc<dyn Store> {
    open_postgres(url, &options()).unwrap()
}

fn one(block: &ExecutedBlock) -> Commit {
    commit(std::slice::from_ref(block))
}

fn name(url: &str) -> &str {
    url.rsplit_once('/').unwrap().1
}

/// Makes each commit wait in its middle, until the advisory lock 5 is free.
fn slow_down(server: &Postgres, database: &str) {
    server.sql(
        database,
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(0.7); RETURN NULL; END $$; \
         CREATE TRIGGER slow AFTER INSERT ON canonical FOR EACH STATEMENT EXECUTE FUNCTION wait()",
    );
}

fn speed_up(server: &Postgres, database: &str) {
    server.sql(database, "DROP TRIGGER slow ON canonical");
}

/// Whether the store ends at `head`, and everything up to there fits together.
fn check(store: &dyn Store, blocks: &[ExecutedBlock]) {
    assert_eq!(store.head().unwrap(), blocks.last().map(|block| block.block.block_ref()));
    for block in blocks {
        let number = block.block.header().number;
        assert_eq!(store.block(&block.block.hash).unwrap().as_ref(), Some(&*block.block));
        assert_eq!(store.diff(number).unwrap(), *block.diff);
    }
    let end = blocks.len() as u64;
    assert_eq!(store.canonical_hash(end).unwrap(), None);
    let newest = store.account_at(&address(1), u64::MAX).unwrap().map(|account| account.nonce);
    assert_eq!(newest, end.checked_sub(1), "nothing is left above the head");
}

#[test]
fn a_connection_dropped_between_commits_is_replaced() {
    let server = Postgres::shared();
    let url = server.create_database();
    let (store, blocks) = (opened(&url), chain(3));
    let cut =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", name(&url));
    for (index, block) in blocks.iter().enumerate() {
        store.commit(one(block)).unwrap();
        check(&*store, &blocks[..=index]);
        server.sql("postgres", &cut);
    }
    check(&*store, &blocks);
}

#[test]
fn a_connection_dropped_in_a_commit_takes_it_back() {
    let server = Postgres::shared();
    let url = server.create_database();
    let (store, blocks) = (opened(&url), chain(4));
    store.commit(one(&blocks[0])).unwrap();
    slow_down(server, name(&url));
    let refused = thread::scope(|scope| {
        let refused = scope.spawn(|| store.commit(commit(&blocks[1..])).unwrap_err());
        let cut = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = '{}' AND wait_event = 'PgSleep'",
            name(&url)
        );
        while server.sql("postgres", &cut) == "0" {}
        refused.join().unwrap()
    });
    assert!(matches!(&refused, StoreError::Unavailable { .. }), "{refused}");
    assert!(refused.to_string().contains(&url), "{refused}");
    speed_up(server, name(&url));
    check(&*store, &blocks[..1]);
    store.commit(commit(&blocks[1..])).unwrap();
    check(&*store, &blocks);
}

#[test]
fn a_server_killed_in_a_commit_loses_nothing_acknowledged() {
    let mut server = Postgres::start_with(Fsync::On, &[]);
    let url = server.create_database();
    let (store, blocks) = (opened(&url), chain(12));
    store.commit(commit(&blocks[..3])).unwrap();
    slow_down(&server, name(&url));
    let port = server.port();
    thread::scope(|scope| {
        let refused = scope.spawn(|| store.commit(commit(&blocks[3..])).unwrap_err());
        let sleeping = format!(
            "SELECT 1 FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
            name(&url)
        );
        while server.sql("postgres", &sleeping).is_empty() {}
        server.kill();
        let refused = refused.join().unwrap();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused}");
        let refused = store.head().unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused}");
        assert!(store.commit(commit(&blocks[3..])).is_err());
    });
    server.restart();
    assert_eq!(server.port(), port);
    speed_up(&server, name(&url));
    check(&*store, &blocks[..3]);
    store.commit(commit(&blocks[3..])).unwrap();
    check(&*store, &blocks);
    server.restart();
    check(&*store, &blocks);
}

#[test]
fn a_server_killed_again_and_again_keeps_what_it_acknowledged() {
    let mut server = Postgres::start_with(Fsync::On, &[]);
    let url = server.create_database();
    let store = opened(&url);
    let blocks = chain(400);
    for round in 0..3 {
        let first = store.head().unwrap().map_or(0, |head| head.number + 1);
        let done = AtomicU64::new(0);
        let acknowledged = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                // Not so many that none are left for the next round, should killing take long.
                let rest = blocks.iter().skip(usize::try_from(first).unwrap()).take(120);
                rest.take_while(|block| {
                    let trie = TrieFlush { block: block.block.block_ref(), ..TrieFlush::default() };
                    let committed = store.commit(Commit { trie: Some(trie), ..one(block) }).is_ok();
                    done.fetch_add(1, Ordering::Relaxed);
                    committed
                })
                .last()
                .map(|block| block.block.header().number)
            });
            while done.load(Ordering::Relaxed) < 3 && !writer.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(3 * round));
            server.kill();
            // The writer may be waiting to find out what became of its commit.
            server.restart();
            writer.join().unwrap()
        });
        let head = store.head().unwrap().unwrap();
        assert!(
            acknowledged.is_some() && Some(head.number) >= acknowledged,
            "{acknowledged:?} was acknowledged, the head is {head:?}"
        );
        assert_eq!(store.trie_block().unwrap(), Some(head));
        check(&*store, &blocks[..=usize::try_from(head.number).unwrap()]);
    }
}

#[test]
fn the_outcome_of_a_commit_is_found_out() {
    let server = Postgres::shared();
    let url = server.create_database();
    let proxy = Proxy::start(server.port());
    let (store, blocks) = (opened(&proxy.url(&url)), chain(4));
    store.commit(one(&blocks[0])).unwrap();
    proxy.plan(Cut::After);
    store.commit(one(&blocks[1])).unwrap();
    assert_eq!(proxy.planned(), Cut::Never, "the connection was cut");
    check(&*store, &blocks[..2]);
    proxy.plan(Cut::Before);
    let refused = store.commit(one(&blocks[2])).unwrap_err();
    assert!(refused.to_string().contains("lost at the commit, which was not done"), "{refused}");
    check(&*store, &blocks[..2]);
    store.commit(commit(&blocks[2..])).unwrap();
    check(&*store, &blocks);
}

#[test]
fn an_outcome_that_cannot_be_found_out_is_said_to_be_unknown() {
    let server = Postgres::shared();
    let url = server.create_database();
    let proxy = Proxy::start(server.port());
    let options = PostgresOptions { patience: Duration::from_millis(300), ..options() };
    let store = open_postgres(&proxy.url(&url), &options).unwrap();
    let blocks = chain(3);
    store.commit(one(&blocks[0])).unwrap();
    proxy.plan(Cut::AfterAndRefuse);
    let refused = store.commit(one(&blocks[1])).unwrap_err();
    assert!(refused.to_string().contains("whose outcome is unknown"), "{refused}");
    proxy.plan(Cut::Never);
    // It was done; the writer sees that and goes on from there.
    assert_eq!(store.head().unwrap(), Some(blocks[1].block.block_ref()));
    store.commit(one(&blocks[2])).unwrap();
    check(&*store, &blocks);
}

#[test]
fn a_second_writer_is_refused() {
    let url = Postgres::shared().create_database();
    let store = opened(&url);
    store.commit(commit(&chain(1))).unwrap();
    let refused = open_postgres(&url, &options()).err().expect("refused");
    assert!(matches!(refused, StoreError::DatabaseInUse { .. }), "{refused}");
    assert!(refused.to_string().contains(&url), "{refused}");
    // Another database of the same server has a writer of its own.
    opened(&Postgres::shared().create_database());
    drop(store);
    assert_eq!(opened(&url).head().unwrap().map(|head| head.number), Some(0));
}

#[test]
fn a_writer_that_was_overtaken_stops() {
    let server = Postgres::shared();
    let url = server.create_database();
    let proxy = Proxy::start(server.port());
    let (first, blocks) = (opened(&proxy.url(&url)), chain(3));
    first.commit(one(&blocks[0])).unwrap();
    proxy.plan(Cut::Refuse);
    let cut =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", name(&url));
    server.sql("postgres", &cut);
    let second = opened(&url);
    second.commit(one(&blocks[1])).unwrap();
    proxy.plan(Cut::Never);
    let refused = first.commit(one(&blocks[1])).unwrap_err();
    assert!(matches!(refused, StoreError::DatabaseInUse { .. }), "{refused}");
    drop(second);
    let refused = first.commit(one(&blocks[1])).unwrap_err();
    assert!(matches!(refused, StoreError::Overtaken { .. }), "{refused}");
}

#[test]
fn a_full_disk_is_named_and_nothing_is_written() {
    let server = Postgres::shared();
    let url = server.create_database();
    let (store, blocks) = (opened(&url), chain(3));
    store.commit(one(&blocks[0])).unwrap();
    // What the server says when a file cannot grow, said after half of the tables are written.
    server.sql(
        name(&url),
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$; \
         CREATE TRIGGER full_disk AFTER INSERT ON accounts FOR EACH STATEMENT EXECUTE FUNCTION full_disk()",
    );
    let refused = store.commit(commit(&blocks[1..])).unwrap_err();
    assert!(matches!(refused, StoreError::DatabaseFull { .. }), "{refused}");
    assert!(refused.to_string().contains("No space left on device"), "{refused}");
    check(&*store, &blocks[..1]);
    server.sql(name(&url), "DROP TRIGGER full_disk ON accounts");
    store.commit(commit(&blocks[1..])).unwrap();
    check(&*store, &blocks);
}

#[test]
fn other_schemas_are_refused() {
    let server = Postgres::shared();
    let url = server.create_database();
    let refused = |options: &PostgresOptions| open_postgres(&url, options).err().expect("refused");
    let absent = |options: &PostgresOptions| {
        let refused = refused(options);
        assert!(matches!(refused, StoreError::DatabaseAbsent { .. }), "{refused}");
    };
    absent(&PostgresOptions { create: false, ..options() });
    let reader = PostgresOptions { read_only: true, ..options() };
    absent(&reader);
    drop(opened(&url));
    let alter = |sql: &str, words: &str, options: &PostgresOptions| {
        server.sql(name(&url), &format!("CREATE TABLE saved AS TABLE refinery_schema_history; {sql}"));
        let refused = refused(options);
        assert!(matches!(refused, StoreError::DatabaseSchema { .. }), "{refused}");
        assert!(refused.to_string().contains(words), "{refused}");
        let restore = "DELETE FROM refinery_schema_history; \
                       INSERT INTO refinery_schema_history TABLE saved; DROP TABLE saved";
        server.sql(name(&url), restore);
    };
    let newer = "INSERT INTO refinery_schema_history SELECT 99, 'future', applied_on, '1' FROM saved LIMIT 1";
    let altered = "UPDATE refinery_schema_history SET checksum = '1' WHERE version = 2";
    for options in [&options(), &reader] {
        alter(newer, "migration 99 (future) is of a newer version", options);
        alter(altered, "migration 2 (views) is not the one that this version has", options);
    }
    alter("DELETE FROM refinery_schema_history WHERE version = 4", "it has 3 migrations of 4", &reader);
    opened(&url);
}

#[test]
fn readers_read_beside_the_writer_and_cannot_write() {
    let server = Postgres::shared();
    let url = server.create_database();
    let (store, blocks) = (opened(&url), chain(20));
    store.commit(commit(&blocks[..2])).unwrap();
    let user = format!("reader_of_{}", name(&url));
    server.sql("postgres", &format!("CREATE ROLE {user} LOGIN; GRANT quintet_reader TO {user}"));
    let theirs = server.url_as(&user, name(&url));
    let reader = open_postgres(&theirs, &PostgresOptions { read_only: true, ..options() }).unwrap();
    check(&*reader, &blocks[..2]);
    // New partitions too.
    store.commit(commit(&blocks[2..])).unwrap();
    check(&*reader, &blocks);
    assert!(reader.stats().unwrap().iter().any(|table| table.bytes > 0));
    let read_only = |refused: StoreError| {
        assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused}");
    };
    read_only(reader.commit(Commit::default()).unwrap_err());
    read_only(reader.sync().unwrap_err());
    for sql in
        ["DELETE FROM canonical", "INSERT INTO meta VALUES ('a', '')", "TRUNCATE logs", "DROP VIEW v_logs"]
    {
        let refused = server.try_sql(&theirs, sql).unwrap_err();
        assert!(
            refused.contains("permission denied") || refused.contains("must be owner"),
            "{sql}: {refused}"
        );
    }
    assert_eq!(server.try_sql(&theirs, "SELECT count(*) FROM v_blocks").unwrap(), "20");
    drop(store);
    // Whoever may not write, but does not say so, is told at the first commit.
    let writer = open_postgres(&theirs, &options()).unwrap();
    read_only(writer.commit(Commit::default()).unwrap_err());
}

#[test]
fn an_address_that_leads_nowhere_is_named_without_its_password() {
    for url in ["postgres://ann:s3cret@127.0.0.1:1/chain", "postgres://ann:s3cret@127.0.0.1:port/chain"] {
        let started = Instant::now();
        let refused = open_postgres(url, &options()).err().expect("refused");
        let unreachable = matches!(refused, StoreError::Unavailable { .. } | StoreError::BadAddress { .. });
        assert!(unreachable, "{refused}");
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
        assert!(refused.to_string().contains("127.0.0.1"), "{refused}");
        assert!(started.elapsed() < Duration::from_secs(3));
    }
    let missing = Postgres::shared().url("nobody_made_this");
    let refused = open_postgres(&missing, &options()).err().expect("refused");
    assert!(refused.to_string().contains("does not exist"), "{refused}");
}

#[test]
fn a_lazy_store_can_be_synced() {
    let mut server = Postgres::start_with(Fsync::On, &["wal_writer_delay=10s"]);
    let url = server.create_database();
    let lazy = PostgresOptions { durability: quintet_store::Durability::Lazy, ..options() };
    let store = open_postgres(&url, &lazy).unwrap();
    let blocks = chain(3);
    for block in &blocks {
        store.commit(one(block)).unwrap();
    }
    store.sync().unwrap();
    server.kill();
    server.restart();
    check(&*store, &blocks);
}

#[test]
fn numbers_of_64_bits_come_back() {
    let url = Postgres::shared().create_database();
    let store = opened(&url);
    let mut state = State::new();
    let changes = [(1, Change::Pay(u64::MAX, u64::MAX)), (2, Change::Pay(1 << 63, 1))];
    let genesis = extend(&mut state, None::<BlockRef>, 0, &changes);
    store.commit(one(&genesis)).unwrap();
    assert_eq!(store.diff(0).unwrap(), *genesis.diff);
    assert_eq!(store.account_at(&address(1), 0).unwrap().unwrap().nonce, u64::MAX);
    let shown = "SELECT a.nonce::text FROM accounts a ORDER BY a.nonce";
    assert_eq!(Postgres::shared().sql(name(&url), shown), "-9223372036854775808\n-1");
}
