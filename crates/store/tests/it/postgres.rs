//! The PostgreSQL engine keeps the contract, and its own promises.

use crate::contract::Place;
use quintet_store::{PostgresOptions, open_postgres};
use quintet_testkit::postgres::Postgres;

/// A database of its own for each case.
fn place() -> Place {
    let url = Postgres::shared().create_database();
    // Small partitions, so that cases cross their borders.
    let options = PostgresOptions { partition_blocks: 4, readers: 6, ..PostgresOptions::default() };
    Box::new(move || open_postgres(&url, &options).unwrap())
}

contract!(place);

#[test]
fn a_history_longer_than_a_stretch_is_adopted() {
    let url = Postgres::shared().create_database();
    let store = open_postgres(&url, &PostgresOptions::default()).unwrap();
    crate::contract::a_long_history_is_adopted(&*store, 8300);
}
