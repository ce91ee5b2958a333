//! Connections: their settings, the writer's lock, and the tables that a store must have.

use super::PostgresOptions;
use super::embedded::migrations;
use super::error::{Database, words};
use crate::{Durability, StoreError};
use refinery::Migration;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

/// The advisory lock that a database's only writer holds for as long as it is connected.
const WRITER_LOCK: i64 = 0x0051_5549_4e54_4554;
/// For how long a lock is waited for that a connection lost just now may still hold.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Silence after which a connection is looked after.
const SILENCE: Duration = Duration::from_secs(8);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Every read is an index seek whose shape does not depend on how much the tables hold. Left alone, the
/// planner would choose a scan while they are empty, and keep to it.
const READER_SETTINGS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_bitmapscan=off \
     -c enable_hashjoin=off -c enable_mergejoin=off -c enable_material=off -c enable_memoize=off -c jit=off \
     -c max_parallel_workers_per_gather=0";
/// The writer's deletes by block use the block range indexes, which are read by bitmap scans.
const WRITER_SETTINGS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off \
     -c enable_hashjoin=off -c enable_mergejoin=off -c enable_material=off -c jit=off \
     -c max_parallel_workers_per_gather=0 -c idle_in_transaction_session_timeout=0 -c statement_timeout=0 \
     -c client_min_messages=warning";

/// The address and options as the driver wants them.
pub(super) fn config(url: &str, options: &PostgresOptions) -> Result<Config, StoreError> {
    let mut config: Config =
        url.parse().map_err(|error| StoreError::BadAddress { url: redacted(url), detail: words(&error) })?;
    if config.get_application_name().is_none() {
        config.application_name("quintet");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(options.connect_timeout);
    }
    // A server that is cut off is given up after about this long, where TCP alone would wait for a quarter of an hour.
    config.keepalives_idle(SILENCE).keepalives_interval(SILENCE / 4).keepalives_retries(4);
    config.tcp_user_timeout(SILENCE * 2);
    Ok(config)
}

/// An address that cannot be parsed, with nothing between the scheme and the host.
fn redacted(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => url.to_owned(),
    }
}

/// The settings for sessions that read.
pub(super) fn reader(config: &Config, options: &PostgresOptions) -> Config {
    let read_only = if options.read_only { " -c default_transaction_read_only=on" } else { "" };
    with_settings(config, &format!("{READER_SETTINGS}{read_only}"))
}

fn with_settings(config: &Config, settings: &str) -> Config {
    let mut config = config.clone();
    let own = config.get_options().map(str::to_owned).unwrap_or_default();
    config.options(format!("{settings} {own}").trim());
    config
}

/// Connects the writer and takes the lock.
pub(super) async fn writer(
    config: &Config,
    options: &PostgresOptions,
    database: &Database,
) -> Result<Client, StoreError> {
    let synchronous = match options.durability {
        // As the server is set up: it may be told to wait for replicas too.
        Durability::Sync => "",
        Durability::Lazy | Durability::None => " -c synchronous_commit=off",
    };
    let config = with_settings(config, &format!("{WRITER_SETTINGS}{synchronous}"));
    let client = connect(&config, database).await?;
    let started = Instant::now();
    loop {
        let locked = client.query_one("SELECT pg_try_advisory_lock($1)", &[&WRITER_LOCK]).await;
        let locked = locked.and_then(|row| row.try_get(0)).map_err(|error| database.error("lock", &error))?;
        if locked {
            return Ok(client);
        }
        if started.elapsed() > LOCK_PATIENCE {
            return Err(StoreError::DatabaseInUse { url: database.url.clone() });
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Connects. The connection ends when the client is dropped.
pub(super) async fn connect(config: &Config, database: &Database) -> Result<Client, StoreError> {
    let connected = config.connect(NoTls).await;
    let (client, connection) = connected.map_err(|error| database.error("connect", &error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(error = words(&error), "connection to PostgreSQL lost");
        }
    });
    Ok(client)
}

/// What a database has of this version's tables.
enum Found {
    Nothing,
    /// Some or all of them, as this version would have made them.
    Migrations(usize),
}

/// Checks the tables, and makes or completes them if `client` may write.
pub(super) async fn prepare(
    client: &mut Client,
    options: &PostgresOptions,
    database: &Database,
) -> Result<(), StoreError> {
    let runner = migrations::runner();
    let known = runner.get_migrations();
    let found = found(client, known, database).await?;
    match found {
        Found::Nothing if options.read_only || !options.create => {
            return Err(StoreError::DatabaseAbsent { url: database.url.clone() });
        }
        Found::Migrations(applied) if applied == known.len() => return Ok(()),
        Found::Migrations(applied) if options.read_only => {
            let detail =
                format!("it has {applied} migrations of {}; its writer adds the others", known.len());
            return Err(StoreError::DatabaseSchema { url: database.url.clone(), detail });
        }
        Found::Nothing | Found::Migrations(_) => {}
    }
    runner.run_async(client).await.map_err(|error| migration_error(&error, database))?;
    let size = super::copy::bigint(options.partition_blocks.max(1));
    let insert = "INSERT INTO store_state (partition_blocks) VALUES ($1) ON CONFLICT DO NOTHING";
    client.execute(insert, &[&size]).await.map_err(|error| database.error("make the tables", &error))?;
    Ok(())
}

/// Compares the migrations that the database has seen with those that this version knows.
async fn found(client: &Client, known: &[Migration], database: &Database) -> Result<Found, StoreError> {
    let query = "SELECT version, name, checksum FROM refinery_schema_history ORDER BY version";
    let rows = match client.query(query, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(Found::Nothing),
        Err(error) => return Err(database.error("read the schema's version", &error)),
    };
    let known: BTreeMap<_, _> = known.iter().map(|migration| (migration.version(), migration)).collect();
    for row in &rows {
        let parts = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        let parts: Result<(i32, String, String), tokio_postgres::Error> = parts();
        let (version, name, checksum) =
            parts.map_err(|error| database.error("read the schema's version", &error))?;
        let refused = |words| {
            let detail = format!("migration {version} ({name}) {words}");
            Err(StoreError::DatabaseSchema { url: database.url.clone(), detail })
        };
        match known.get(&version) {
            None => return refused("is of a newer version"),
            Some(known) if known.name() != name || known.checksum().to_string() != checksum => {
                return refused("is not the one that this version has");
            }
            Some(_) => {}
        }
    }
    Ok(if rows.is_empty() { Found::Nothing } else { Found::Migrations(rows.len()) })
}

fn migration_error(error: &refinery::Error, database: &Database) -> StoreError {
    use refinery::error::Kind;
    match error.kind() {
        Kind::Connection(_, source) => match source.downcast_ref() {
            Some(error) => database.error("make the tables", error),
            None => StoreError::Engine { action: "make the tables", detail: source.to_string() },
        },
        kind => StoreError::DatabaseSchema { url: database.url.clone(), detail: kind.to_string() },
    }
}
