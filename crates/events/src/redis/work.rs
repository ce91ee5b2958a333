//! Miners' work: who publishes it leaves the newest for a task to write, and who follows it reads the whole stream, which
//! is short, and takes the newest.
//!
//! Several processes write to this stream, one leader after the other. They leave the stream's generation to the one that
//! publishes chain events, which is told by it that Redis was emptied.

use super::entry::{Entry, add, work_fields};
use super::link::Link;
use super::reader::StreamReader;
use super::{RedisBus, WRITE_WAIT};
use crate::bus::count_received;
use crate::{BusError, WorkTopic};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use quintet_service::propagation::set_parent;
use quintet_types::Work;
use redis::{Cmd, RedisError};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::Instrument as _;

/// Works that the stream holds: more than one, so that late work of a former leader does not hide the leader's.
const WORK_HISTORY: usize = 16;

impl WorkTopic for RedisBus {
    /// Done when called: a task writes it soon after, and tries again while Redis is away, until there is newer work.
    fn publish_work(&self, work: Arc<Work>) -> Result<(), BusError> {
        let runtime = self.inner.runtime()?;
        let newest = self.inner.work.get_or_init(|| {
            let (sender, newest) = watch::channel(None);
            let link = Link::new(Arc::clone(&self.inner.shared), WRITE_WAIT, "writes of work");
            let alive = Arc::clone(&self.inner.alive);
            runtime.spawn(async move {
                write(link, newest).await;
                drop(alive);
            });
            sender
        });
        newest.send_replace(Some(work));
        Ok(())
    }

    fn follow_work(&self) -> BoxStream<'static, Arc<Work>> {
        let shared = Arc::clone(&self.inner.shared);
        let key = shared.work.clone();
        let stream = StreamReader::new(shared, key, Arc::downgrade(&self.inner.alive), "miners' work");
        let works = stream::unfold(WorkReader { stream, given: None }, |mut reader| async move {
            let work = reader.next().await?;
            Some((work, reader))
        });
        works.inspect(|_| count_received("work")).boxed()
    }
}

/// Writes the newest work, until nobody publishes any more.
async fn write(mut link: Link, mut newest: watch::Receiver<Option<Arc<Work>>>) {
    while newest.changed().await.is_ok() {
        let Some(work) = newest.borrow_and_update().clone() else { continue };
        let span = tracing::info_span!("XADD work", otel.kind = "producer");
        set_parent(&span, &work.trace);
        let command = add(&link.shared.work, WORK_HISTORY, &work_fields(&work));
        while let Err(error) = send(&mut link, &command).instrument(span.clone()).await {
            link.failed(&error);
            match newest.has_changed() {
                Ok(false) => {}
                Ok(true) => break,
                Err(_) => return,
            }
        }
    }
}

async fn send(link: &mut Link, command: &Cmd) -> Result<(), RedisError> {
    let mut connection = link.connection().await?;
    command.exec_async(&mut connection).await?;
    link.works();
    Ok(())
}

/// One follower's place.
#[derive(Debug)]
struct WorkReader {
    stream: StreamReader,
    /// What was given last.
    given: Option<Arc<Work>>,
}

impl WorkReader {
    /// The next work; `None` once the bus is gone and all is read.
    async fn next(&mut self) -> Option<Arc<Work>> {
        loop {
            match self.stream.read(WORK_HISTORY).await {
                Ok(entries) => {
                    let newest = self.newest(&entries).map(Arc::new);
                    // A stream that was made anew is read again from its start, which may be nothing new.
                    if newest.is_some() && newest != self.given {
                        self.given.clone_from(&newest);
                        return newest;
                    }
                }
                Err(error) => {
                    self.stream.link.failed(&error);
                }
            }
            if self.stream.is_over() {
                return None;
            }
        }
    }

    /// The newest work in these entries, unless it is under a lower token than other work.
    fn newest(&self, entries: &[Entry]) -> Option<Work> {
        let mut token = self.given.as_ref().map_or(0, |given| given.token);
        let mut newest = None;
        for entry in entries {
            match entry.work() {
                Ok(work) if work.token >= token => {
                    token = work.token;
                    newest = Some(work);
                }
                Ok(work) => {
                    tracing::debug!(target: "quintet_events", token = work.token, newest = token, "work of a former leader");
                }
                Err(error) => tracing::warn!(target: "quintet_events", %error, "work is missed"),
            }
        }
        newest
    }
}
