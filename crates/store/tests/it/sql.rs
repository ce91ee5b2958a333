//! `docs/sql.md`: its queries answer, and it knows every table.

use crate::chain::{Change, State, address, commit, extend, fetched, history};
use alloy_primitives::{B256, Bytes, U256, hex, keccak256};
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

#[test]
fn the_hash_is_keccak() {
    let url = Postgres::shared().create_database();
    drop(open_postgres(&url, &PostgresOptions::default()).unwrap());
    for length in [0_usize, 1, 20, 32, 135, 136, 137, 271, 272, 500] {
        let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
        let query = format!("SELECT encode(keccak256('\\x{}'), 'hex')", hex::encode(&bytes));
        assert_eq!(Postgres::shared().try_sql(&url, &query).unwrap(), hex::encode(keccak256(&bytes)));
    }
}

/// Base and versions as SQL reads them, before and after a state is adopted.
#[test]
fn a_fetched_state_is_read_in_sql() {
    let url = Postgres::shared().create_database();
    let store = open_postgres(&url, &PostgresOptions::default()).unwrap();
    let sql = |query: &str| {
        let query = format!("SET ROLE quintet_reader; {query}");
        Postgres::shared().try_sql(&url, &query).unwrap().replace("SET\n", "")
    };
    let mut state = State::new();
    let genesis = extend(&mut state, None, 0, &[(7, Change::Pay(7, 7))]);
    store.commit(commit(std::slice::from_ref(&genesis))).unwrap();
    let mut state = State::new();
    let changes = [(1, Change::Pay(3, 30)), (2, Change::Write(vec![(1, 11), (2, 22)]))];
    let first = extend(&mut state, Some(genesis.block.block_ref()), 0, &changes);
    store.write_fetched(fetched(&state)).unwrap();
    store.commit(history(std::slice::from_ref(&first))).unwrap();
    let account = |index, at| {
        sql(&format!("SELECT nonce, balance FROM account_at('\\x{}', {at})", hex::encode(address(index))))
    };
    let slot = |index, slot: u64, at| {
        let (owner, slot) = (hex::encode(address(index)), hex::encode(B256::from(U256::from(slot))));
        sql(&format!("SELECT uint(storage_at('\\x{owner}', '\\x{slot}', {at}))"))
    };
    // The transactions of what is not canonical are in no view.
    let counts = "SELECT (SELECT count(*) FROM v_transactions), (SELECT count(*) FROM receipts), \
                  (SELECT count(*) FROM v_logs), (SELECT count(*) FROM base_accounts)";
    assert_eq!(sql(counts), "1|1|1|2");
    assert_eq!([account(7, 0), account(1, 0)], ["7|7", ""]);

    let adopt = Some(first.block.block_ref());
    store.commit(Commit { adopt, ..Commit::default() }).unwrap();
    for (account, _) in state.values_mut() {
        account.incarnation = 1;
    }
    let changes = [(1, Change::Pay(4, 40)), (2, Change::Write(vec![(1, 0), (3, 33)]))];
    let second = extend(&mut state, adopt, 0, &changes);
    let third = extend(&mut state, Some(second.block.block_ref()), 0, &[(2, Change::Renew(vec![(9, 9)]))]);
    store.commit(commit(&[second, third])).unwrap();
    assert_eq!(sql(counts), "4|4|4|2");
    assert_eq!([account(1, 1), account(1, 2), account(1, 9)], ["3|30", "4|40", "4|40"]);
    assert_eq!([account(7, 0), account(7, 3), account(1, 0), account(2, 1)], ["", "", "", "0|0"]);
    assert_eq!([slot(2, 1, 1), slot(2, 2, 1), slot(2, 3, 1)], ["11", "22", ""]);
    assert_eq!([slot(2, 1, 2), slot(2, 2, 2), slot(2, 3, 2)], ["0", "22", "33"]);
    assert_eq!([slot(2, 1, 3), slot(2, 2, 3), slot(2, 9, 3)], ["", "", "9"]);
}

/// A database that the version before made: its migrations are those but the last.
#[test]
fn a_database_of_the_version_before_is_completed() {
    let url = Postgres::shared().create_database();
    let options = PostgresOptions::default();
    drop(open_postgres(&url, &options).unwrap());
    let undo = "DROP VIEW receipts, v_transactions, v_logs; \
                DROP FUNCTION account_at, storage_at, base_account, base_slot, keccak256; \
                DROP TABLE base_accounts, base_storage; \
                ALTER TABLE store_state DROP COLUMN first_state; \
                DELETE FROM refinery_schema_history WHERE version = 4";
    Postgres::shared().try_sql(&url, undo).unwrap();
    let views = include_str!("../../migrations/V2__views.sql");
    for statement in views.split(";\n").filter(|statement| {
        ["VIEW receipts", "VIEW v_transactions", "VIEW v_logs", "FUNCTION account_at", "FUNCTION storage_at"]
            .iter()
            .any(|name| statement.contains(name))
    }) {
        Postgres::shared().try_sql(&url, statement).unwrap();
    }
    let reading = PostgresOptions { read_only: true, ..options.clone() };
    let refused = open_postgres(&url, &reading).err().unwrap().to_string();
    assert!(refused.contains("3 migrations of 4"), "{refused}");
    let store = open_postgres(&url, &options).unwrap();
    assert_eq!(store.first_state().unwrap(), 0);
    assert!(open_postgres(&url, &reading).is_ok());
}
