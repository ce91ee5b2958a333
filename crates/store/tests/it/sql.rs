//! `docs/sql.md`: its queries answer, and it knows every table.

use alloy_primitives::Bytes;
use quintet_store::{Commit, PostgresOptions, Store, open_postgres};
use quintet_testkit::chain::Chain;
use quintet_testkit::postgres::Postgres;
use quintet_testkit::vectors::archive;
use quintet_types::ExecutedBlock;
use std::fs;
use std::sync::Arc;

const DOCUMENT: &str = include_str!("../../../../docs/sql.md");

/// A canonical block with all that belongs to it, as it was committed.
fn executed(store: &dyn Store, number: u64) -> ExecutedBlock {
    let hash = store.canonical_hash(number).unwrap().unwrap();
    ExecutedBlock {
        block: Arc::new(store.block(&hash).unwrap().unwrap()),
        receipts: Arc::new(store.receipts(&hash).unwrap().unwrap()),
        diff: Arc::new(store.diff(number).unwrap()),
        total_difficulty: store.total_difficulty(&hash).unwrap().unwrap(),
    }
}

/// A real chain of all forks, in a database.
fn chain() -> Option<(Chain, Arc<dyn Store>, String)> {
    let folder = archive("10")?.join("tests-50d1e5e0-osaka");
    let genesis = fs::read_to_string(folder.join("genesis.json")).unwrap();
    let chain = Chain::import(&genesis, &fs::read(folder.join("chain.rlp")).unwrap()).unwrap();
    let url = Postgres::shared().create_database();
    let options = PostgresOptions { partition_blocks: 20, ..PostgresOptions::default() };
    let store = open_postgres(&url, &options).unwrap();
    let blocks = (0..=chain.head.number).map(|number| executed(&*chain.store, number)).collect();
    let meta = vec![("genesis.json".to_owned(), Some(Bytes::from(genesis.into_bytes())))];
    store.commit(Commit { blocks, meta, ..Commit::default() }).unwrap();
    Some((chain, store, url))
}

fn queries() -> Vec<&'static str> {
    DOCUMENT.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_query_of_the_document_gives_rows() {
    let Some((_, _, url)) = chain() else { return };
    let server = Postgres::shared();
    assert_eq!(queries().len(), 10);
    for query in queries() {
        // As somebody who may only read.
        let output = server.try_sql(&url, &format!("SET ROLE quintet_reader; {query}"));
        let rows = output.unwrap_or_else(|error| panic!("{query}\n{error}"));
        assert!(!rows.is_empty(), "no rows: {query}");
    }
}

#[test]
fn what_the_tables_say_is_what_the_store_says() {
    let Some((chain, store, url)) = chain() else { return };
    let sql = |query: &str| Postgres::shared().try_sql(&url, query).unwrap();
    let (mut transactions, mut logs, mut wei) = (0, 0, alloy_primitives::U256::ZERO);
    for number in 0..=chain.head.number {
        let block = executed(&*store, number);
        assert_eq!(*block.diff, *executed(&*chain.store, number).diff, "block {number}");
        assert_eq!(block.block, executed(&*chain.store, number).block);
        assert_eq!(block.receipts, executed(&*chain.store, number).receipts);
        transactions += block.block.senders.len();
        logs += block.receipts.iter().map(|receipt| receipt.logs().len()).sum::<usize>();
        for transaction in &block.block.block.body.transactions {
            wei += alloy_consensus::Transaction::value(transaction);
        }
    }
    assert_eq!(sql("SELECT count(*) FROM transactions"), transactions.to_string());
    assert_eq!(sql("SELECT sum(value) FROM transactions"), wei.to_string());
    assert_eq!(sql("SELECT count(*) FROM logs"), logs.to_string());
    assert_eq!(sql("SELECT count(*) FROM v_blocks"), (chain.head.number + 1).to_string());
    assert_eq!(
        sql("SELECT bool_and(gas_used = used) FROM (SELECT b.gas_used, sum(t.gas_used) AS used \
         FROM blocks b JOIN transactions t ON t.block = b.number GROUP BY b.number, b.hash) sums"),
        "t"
    );
    assert_eq!(
        sql(
            "SELECT bool_and(storage_at(address, slot, block) = decode(lpad(encode(value, 'hex'), 64, '0'), 'hex')) \
             FROM storage"
        ),
        "t"
    );
    assert_eq!(sql(r"SELECT uint('\x0100000000000000000001'), uint('\x')"), "1208925819614629174706177|0");
    let largest = format!("SELECT uint('\\x{}')", "ff".repeat(32));
    assert_eq!(sql(&largest), alloy_primitives::U256::MAX.to_string());
}

#[test]
fn the_document_names_every_table() {
    let url = Postgres::shared().create_database();
    drop(open_postgres(&url, &PostgresOptions::default()).unwrap());
    let tables = "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                  WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition";
    for table in Postgres::shared().try_sql(&url, tables).unwrap().lines() {
        assert!(DOCUMENT.contains(&format!("`{table}`")), "{table} is not in docs/sql.md");
    }
}
