//! A place in a stream, from which a reader goes on.

use super::entry::{Entry, range_entries, read_entries};
use super::link::{Link, Shared};
use redis::{RedisError, Value};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The place before the first entry.
const START: &str = "0-0";
/// The place of the newest entry.
pub(super) const NEWEST: &str = "+";
/// How long one read waits for an entry; then the reader looks whether its place is still one.
const BLOCK: Duration = Duration::from_secs(1);

/// Reads one stream on a connection of its own.
#[derive(Debug)]
pub(super) struct StreamReader {
    pub(super) link: Link,
    key: String,
    /// The last entry read.
    place: String,
    /// The generation in which that is a place.
    generation: Option<Vec<u8>>,
    // Weak: a reader does not keep the bus alive.
    bus: Weak<()>,
}

impl StreamReader {
    /// A reader at the start of stream `key`.
    pub(super) fn new(shared: Arc<Shared>, key: String, bus: Weak<()>, what: &'static str) -> Self {
        let link = Link::new(shared, BLOCK, what);
        Self { link, key, place: START.to_owned(), generation: None, bus }
    }

    /// Whether the bus is gone, so that nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.bus.strong_count() == 0
    }

    /// Whether nothing of the stream was read.
    pub(super) fn is_at_start(&self) -> bool {
        self.place == START
    }

    /// Whether the stream no longer holds all that was ever added to it.
    pub(super) async fn was_trimmed(&mut self) -> Result<bool, RedisError> {
        let mut connection = self.link.connection().await?;
        let answer = redis::cmd("XINFO").arg("STREAM").arg(&self.key).query_async(&mut connection).await?;
        // A server that does not count what was added is older than Redis 7.
        Ok(number(&answer, "entries-added").zip(number(&answer, "length")).is_some_and(|(a, b)| a > b))
    }

    /// Goes right behind the newest entry, and returns it.
    pub(super) async fn go_to_end(&mut self) -> Result<Option<Entry>, RedisError> {
        let newest = self.newest_first(NEWEST, 1).await?.into_iter().next();
        newest.as_ref().map_or(START, |entry| &entry.id).clone_into(&mut self.place);
        Ok(newest)
    }

    /// Goes right behind the entry with this id.
    pub(super) fn go_behind(&mut self, id: &str) {
        id.clone_into(&mut self.place);
    }

    /// Goes right before the entry with this id, which is read again.
    pub(super) fn go_before(&mut self, id: &str) {
        self.place = predecessor(id).unwrap_or_else(|| START.to_owned());
    }

    /// Up to `count` entries from `from` (`+` for the newest, with which one must begin) back, newest first.
    pub(super) async fn newest_first(&mut self, from: &str, count: usize) -> Result<Vec<Entry>, RedisError> {
        let (generation, entries) = self.range(from, count).await?;
        if from == NEWEST {
            self.generation = generation;
        }
        Ok(entries)
    }

    /// The newest entry, without going there.
    pub(super) async fn newest(&mut self) -> Result<Option<Entry>, RedisError> {
        Ok(self.range(NEWEST, 1).await?.1.into_iter().next())
    }

    async fn range(&mut self, from: &str, count: usize) -> Result<(Option<Vec<u8>>, Vec<Entry>), RedisError> {
        let mut connection = self.link.connection().await?;
        let mut commands = redis::pipe();
        // First, so that it is not newer than the entries.
        commands.cmd("GET").arg(&self.link.shared.generation);
        commands.cmd("XREVRANGE").arg(&self.key).arg(from).arg("-").arg("COUNT").arg(count);
        let (generation, entries): (Option<Vec<u8>>, Value) = commands.query_async(&mut connection).await?;
        self.link.works();
        Ok((generation, range_entries(entries)))
    }

    /// The next entries, up to `count`; waits for one. None when the wait ended first, or when the stream was made
    /// anew: it is then read from its start.
    pub(super) async fn read(&mut self, count: usize) -> Result<Vec<Entry>, RedisError> {
        let mut connection = self.link.connection().await?;
        let mut commands = redis::pipe();
        commands.cmd("XREAD").arg("COUNT").arg(count).arg("BLOCK").arg(BLOCK.as_secs() * 1_000);
        commands.arg("STREAMS").arg(&self.key).arg(&self.place);
        commands.cmd("GET").arg(&self.link.shared.generation);
        let (entries, generation): (Value, Option<Vec<u8>>) = commands.query_async(&mut connection).await?;
        self.link.works();
        if generation != self.generation {
            self.generation = generation;
            START.clone_into(&mut self.place);
            return Ok(Vec::new());
        }
        let entries = read_entries(entries);
        if let Some(last) = entries.last() {
            self.place.clone_from(&last.id);
        }
        Ok(entries)
    }
}

/// A number in an answer of names and values.
fn number(answer: &Value, wanted: &str) -> Option<i64> {
    let is_wanted = |name: &Value| match name {
        Value::BulkString(name) => name == wanted.as_bytes(),
        Value::SimpleString(name) => name == wanted,
        _ => false,
    };
    let value = match answer {
        Value::Array(words) => words.iter().skip_while(|word| !is_wanted(word)).nth(1),
        Value::Map(pairs) => pairs.iter().find(|(name, _)| is_wanted(name)).map(|(_, value)| value),
        _ => None,
    };
    if let Some(Value::Int(number)) = value { Some(*number) } else { None }
}

/// The greatest id below `id`.
fn predecessor(id: &str) -> Option<String> {
    let (milliseconds, number) = id.split_once('-')?;
    let (milliseconds, number): (u64, u64) = (milliseconds.parse().ok()?, number.parse().ok()?);
    Some(match number.checked_sub(1) {
        Some(number) => format!("{milliseconds}-{number}"),
        None => format!("{}-{}", milliseconds.checked_sub(1)?, u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_predecessors() {
        assert_eq!(predecessor("5-3").as_deref(), Some("5-2"));
        assert_eq!(predecessor("5-0").as_deref(), Some("4-18446744073709551615"));
        assert_eq!(predecessor("0-0"), None);
        assert_eq!(predecessor("nonsense"), None);
    }
}
