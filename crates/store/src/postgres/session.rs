//! The writer: its connection with the lock, what it knows of the store, and what it does when the connection
//! is lost.
//!
//! Until `COMMIT` is sent, a lost connection means that nothing was written. After that, the server may or
//! may not have done it: the writer connects again, which its lock allows only once the old connection is
//! gone, and reads the number that the transaction would have left.

use super::commit;
use super::connect;
use super::error::{Database, connection_lost};
use super::fetched;
use super::read::{HEAD, STORE_STATE, block_ref, column, trie_block};
use super::rows::Batch;
use super::{PostgresOptions, Wait};
use crate::{Commit, FetchedState, StoreError};
use quintet_types::BlockRef;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;
use tokio_postgres::{Client, Config, Error, Statement};

/// What the store holds, as far as the next commit depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) head: Option<BlockRef>,
    pub(super) trie: Option<BlockRef>,
    /// The first block whose state is held.
    pub(super) floor: u64,
    /// The number that the last commit drew.
    pub(super) last_commit: i64,
}

/// A connection that holds the lock.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) database: Database,
    statements: HashMap<String, Statement>,
    /// Partitions that are there, by their place.
    pub(super) partitions: BTreeSet<u64>,
    /// Blocks in a partition.
    pub(super) partition_blocks: u64,
}

impl Session {
    /// A statement, prepared once.
    pub(super) async fn statement(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Runs a statement that gives no rows, for `action`.
    pub(super) async fn execute(
        &mut self,
        action: &'static str,
        sql: &str,
        params: super::read::Params<'_>,
    ) -> Result<(), StoreError> {
        let work = async {
            let statement = self.statement(sql).await?;
            self.client.execute(&statement, params).await
        };
        let done = work.await;
        done.map(drop).map_err(|error| self.database.error(action, &error))
    }

    /// The rows that a statement gives, for `action`.
    pub(super) async fn query(
        &mut self,
        action: &'static str,
        sql: &str,
        params: super::read::Params<'_>,
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let work = async {
            let statement = self.statement(sql).await?;
            self.client.query(&statement, params).await
        };
        let rows = work.await;
        rows.map_err(|error| self.database.error(action, &error))
    }
}

/// What is written in one transaction.
pub(super) enum Work<'a> {
    /// A commit whose rows are built.
    Commit(&'a Commit, Batch),
    /// A part of a state.
    Fetched(FetchedState),
}

/// The only writer.
pub(super) struct Writer {
    config: Config,
    options: PostgresOptions,
    database: Database,
    /// `None` when the connection is known to be lost.
    session: Option<Session>,
    known: Known,
    /// What the store holds if the commit was done of which this is not known.
    doubt: Option<Known>,
}

impl Writer {
    /// Connects, and makes the tables if there are none.
    pub(super) async fn open(
        config: &Config,
        options: &PostgresOptions,
        database: &Database,
    ) -> Result<Self, StoreError> {
        let mut client = connect::writer(config, options, database).await?;
        connect::prepare(&mut client, options, database).await?;
        let (session, known) = load(client, database).await?;
        Ok(Self {
            config: config.clone(),
            options: options.clone(),
            database: database.clone(),
            session: Some(session),
            known,
            doubt: None,
        })
    }

    /// The first block whose state is held.
    pub(super) const fn floor(&self) -> u64 {
        self.known.floor
    }

    /// Does `work` in one transaction.
    pub(super) async fn write(&mut self, work: Work<'_>) -> Result<(), StoreError> {
        let mut session = self.begin().await?;
        let mut next = self.known.clone();
        next.last_commit = RandomState::new().hash_one(self.known.last_commit).cast_signed();
        let done = match work {
            Work::Commit(commit, batch) => commit::apply(&mut session, &mut next, commit, batch).await,
            Work::Fetched(part) => fetched::apply(&mut session, &next, part).await,
        };
        if let Err(error) = done {
            self.roll_back(session).await;
            return Err(error);
        }
        match session.client.batch_execute("COMMIT").await {
            Ok(()) => {
                self.known = next;
                self.session = Some(session);
                Ok(())
            }
            Err(error) if connection_lost(&error) => {
                drop(session);
                self.find_out(next).await
            }
            Err(error) => {
                let refused = self.database.error("commit", &error);
                self.roll_back(session).await;
                Err(refused)
            }
        }
    }

    /// Makes earlier commits durable that did not wait for it: the log is written up to this transaction's
    /// end.
    pub(super) async fn sync(&mut self) -> Result<(), StoreError> {
        let session = self.begin().await?;
        let work = session.client.batch_execute(
            "SET LOCAL synchronous_commit = on; UPDATE store_state SET last_commit = last_commit; COMMIT",
        );
        let done = work.await;
        match done {
            Ok(()) => self.session = Some(session),
            Err(_) => self.roll_back(session).await,
        }
        done.map_err(|error| self.database.error("sync", &error))
    }

    /// A session in a new transaction. A connection that was lost unnoticed is replaced.
    async fn begin(&mut self) -> Result<Session, StoreError> {
        if let Some(session) = self.session.take()
            && !session.client.is_closed()
        {
            match session.client.batch_execute("BEGIN").await {
                Ok(()) => return Ok(session),
                Err(error) if connection_lost(&error) => {}
                Err(error) => return Err(self.database.error("begin", &error)),
            }
        }
        let session = self.reconnect().await?;
        let begun = session.client.batch_execute("BEGIN").await;
        begun.map_err(|error| self.database.error("begin", &error))?;
        Ok(session)
    }

    async fn roll_back(&mut self, session: Session) {
        if session.client.batch_execute("ROLLBACK").await.is_ok() {
            self.session = Some(session);
        }
    }

    /// Connects again, and looks whether the store is as it was left.
    async fn reconnect(&mut self) -> Result<Session, StoreError> {
        let client = connect::writer(&self.config, &self.options, &self.database).await?;
        let (session, found) = load(client, &self.database).await?;
        if self.doubt.as_ref().is_some_and(|doubt| *doubt == found) {
            self.known = found;
        } else if self.known != found {
            return Err(StoreError::Overtaken { url: self.database.url.clone() });
        }
        self.doubt = None;
        tracing::info!(database = self.database.url, "connected again");
        Ok(session)
    }

    /// After a `COMMIT` without an answer: whether it was done. `next` is what the store holds then.
    async fn find_out(&mut self, next: Known) -> Result<(), StoreError> {
        let wanted = next.last_commit;
        self.doubt = Some(next);
        let started = Instant::now();
        let mut wait = Wait::default();
        loop {
            match self.reconnect().await {
                Ok(session) => {
                    self.session = Some(session);
                    if self.known.last_commit == wanted {
                        return Ok(());
                    }
                    let detail = "the connection was lost at the commit, which was not done".to_owned();
                    return Err(self.database.unavailable(detail));
                }
                Err(StoreError::Unavailable { detail, .. }) if started.elapsed() >= self.options.patience => {
                    let detail = format!(
                        "the connection was lost at the commit, whose outcome is unknown until the server \
                         answers again: {detail}"
                    );
                    return Err(self.database.unavailable(detail));
                }
                Err(StoreError::Unavailable { .. }) => wait.sleep().await,
                Err(error) => return Err(error),
            }
        }
    }
}

/// What the store holds, over a new connection.
async fn load(client: Client, database: &Database) -> Result<(Session, Known), StoreError> {
    let action = "read the store's state";
    let mut session = Session {
        client,
        database: database.clone(),
        statements: HashMap::new(),
        partitions: BTreeSet::new(),
        partition_blocks: 0,
    };
    let head = session.query(action, HEAD, &[]).await?;
    let head = head.first().map(|row| block_ref(database, row, 0)).transpose()?;
    let rows = session.query(action, STORE_STATE, &[]).await?;
    let row = rows.first().ok_or_else(|| StoreError::DatabaseSchema {
        url: database.url.clone(),
        detail: "its table store_state is empty".to_owned(),
    })?;
    let known = Known {
        head,
        trie: trie_block(database, row)?,
        floor: column::<i64>(database, row, 4)?.cast_unsigned(),
        last_commit: column(database, row, 2)?,
    };
    session.partition_blocks = column::<i64>(database, row, 3)?.cast_unsigned().max(1);
    let partitions = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'logs'::regclass";
    for row in session.query(action, partitions, &[]).await? {
        let name: &str = column(database, &row, 0)?;
        session.partitions.extend(name.rsplit_once("_p").and_then(|(_, place)| place.parse::<u64>().ok()));
    }
    Ok((session, known))
}
