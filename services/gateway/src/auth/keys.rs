//! API keys: a file of them, read again when it changes.
//!
//! What must hold: keys are held and compared as their SHA-256 only, and none is written anywhere; a new file that is
//! wrong changes nothing; a key that is gone from the file, or expired, ends with the next request of whoever uses it.

use super::{Allowed, Grant};
use crate::limits::Rate;
use arc_swap::ArcSwap;
use k256::sha2::{Digest as _, Sha256};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// Bytes of a file of keys.
const MOST_BYTES: u64 = 16 << 20;

/// Why a file of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// It cannot be read.
    #[error("--rpc.keys: cannot read {}: {reason}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// It is not what it should be. The reason never quotes a key.
    #[error("--rpc.keys: {}: {reason}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong where.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// The key itself, or
    key: Option<String>,
    /// its SHA-256 in hex.
    sha256: Option<String>,
    /// Requests a second; no limit of its own if absent.
    rate: Option<f64>,
    burst: Option<u32>,
    #[serde(default)]
    modules: BTreeSet<String>,
    #[serde(default)]
    methods: BTreeSet<String>,
    expires: Option<toml::value::Datetime>,
}

type KeyHash = [u8; 32];

/// The keys of one file as it was read.
#[derive(Default)]
struct Table {
    by_hash: HashMap<KeyHash, Arc<Grant>>,
    by_name: HashMap<Arc<str>, Arc<Grant>>,
}

impl Table {
    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| {
            // The error's own text would quote the line, with the key in it.
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
            let message = error.message();
            // So do the messages about values.
            let message = if message.starts_with("invalid") { "a value of the wrong type" } else { message };
            format!("line {line}: {message}")
        })?;
        if file.key.is_empty() {
            return Err("there is no [[key]] in it".to_owned());
        }
        let mut table = Self::default();
        for entry in file.key {
            let (hash, grant) = entry.grant()?;
            let grant = Arc::new(grant);
            if table.by_name.insert(Arc::clone(&grant.name), Arc::clone(&grant)).is_some() {
                return Err(format!("there are two keys named {:?}", grant.name));
            }
            if let Some(other) = table.by_hash.insert(hash, Arc::clone(&grant)) {
                return Err(format!("{:?} and {:?} are the same key", other.name, grant.name));
            }
        }
        Ok(table)
    }
}

impl Entry {
    fn grant(self) -> Result<(KeyHash, Grant), String> {
        let wrong = |what: &str| format!("key {:?}: {what}", self.name);
        if self.name.is_empty() {
            return Err("a key has an empty name".to_owned());
        }
        let hash = match (&self.key, &self.sha256) {
            (Some(key), None) if !key.is_empty() => hash_of(key),
            (None, Some(hash)) => {
                hex_hash(hash).ok_or_else(|| wrong("sha256 must be 64 hexadecimal digits"))?
            }
            _ => return Err(wrong("needs either key or sha256")),
        };
        if self.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err(wrong("rate must be a number of requests a second above zero"));
        }
        if self.burst.is_some() && self.rate.is_none() {
            return Err(wrong("burst needs rate"));
        }
        let known = |module: &String| crate::config::MODULES.contains(&module.as_str());
        if let Some(module) = self.modules.iter().find(|module| !known(module)) {
            return Err(wrong(&format!("no module {module:?}")));
        }
        let expires = self.expires.as_ref().map(|time| {
            unix_time(time).ok_or_else(|| wrong("expires must be a date or a time with its offset from UTC"))
        });
        let expires = expires.transpose()?;
        let grant = Grant {
            rate: self.rate.and_then(|rate| Rate::new(rate, self.burst.unwrap_or_default())),
            allowed: Allowed { modules: self.modules, methods: self.methods },
            expires,
            revoked: Arc::default(),
            name: self.name.into(),
        };
        Ok((hash, grant))
    }
}

fn hash_of(key: &str) -> KeyHash {
    Sha256::digest(key.as_bytes()).into()
}

fn hex_hash(text: &str) -> Option<KeyHash> {
    let mut hash = KeyHash::default();
    alloy_primitives::hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

/// Seconds since 1970. A date alone is its beginning in UTC.
fn unix_time(time: &toml::value::Datetime) -> Option<u64> {
    let date = time.date?;
    let offset = match (&time.time, &time.offset) {
        (None, None) | (Some(_), Some(toml::value::Offset::Z)) => 0,
        (Some(_), Some(toml::value::Offset::Custom { minutes })) => i64::from(*minutes),
        _ => return None,
    };
    // Days of the proleptic Gregorian calendar, counted in years that begin in March.
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    let year = i64::from(date.year) - i64::from(month <= 2);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let clock = time.time.as_ref().map_or(0, |time| {
        let (minute, second) = (time.minute, time.second.unwrap_or_default());
        i64::from(time.hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
    });
    u64::try_from(days * 86_400 + clock - offset * 60).ok()
}

/// The keys that are good now.
pub(crate) struct Keys {
    file: PathBuf,
    table: ArcSwap<Table>,
}

impl Keys {
    /// Reads a file.
    pub(crate) fn open(file: &Path) -> Result<Self, KeysError> {
        let text = read(file)?;
        let table =
            Table::parse(&text).map_err(|reason| KeysError::Content { file: file.to_owned(), reason })?;
        Ok(Self { file: file.to_owned(), table: ArcSwap::from_pointee(table) })
    }

    /// What a key grants. Takes as long for one key as for another: what is compared is not the key.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Grant>> {
        self.table.load().by_hash.get(&hash_of(key)).cloned()
    }

    /// What the key of this name grants.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Grant>> {
        self.table.load().by_name.get(name).cloned()
    }

    /// Reads the file again whenever it has changed, until `token` is cancelled.
    pub(crate) async fn follow(&self, token: CancellationToken) {
        let mut seen = self.stamp();
        let mut ticks = tokio::time::interval(INTERVAL);
        // What was written in the same moment as the first reading may not show in the file's time.
        let mut read = false;
        while token.run_until_cancelled(ticks.tick()).await.is_some() {
            let stamp = self.stamp();
            if stamp != seen {
                // Who writes may not be done: half a file is not read.
                (seen, read) = (stamp, false);
            } else if !read {
                read = true;
                self.reload();
            }
        }
    }

    /// When the file was last changed, and how long it is.
    fn stamp(&self) -> Option<(std::time::SystemTime, u64)> {
        let metadata = std::fs::metadata(&self.file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    fn reload(&self) {
        let parsed = read(&self.file).and_then(|text| {
            Table::parse(&text).map_err(|reason| KeysError::Content { file: self.file.clone(), reason })
        });
        let mut table = match parsed {
            Ok(table) => table,
            Err(error) => {
                metrics::counter!("quintet_rpc_keys_errors_total").increment(1);
                tracing::warn!(target: "quintet_gateway", %error, "the API keys stay as they were");
                return;
            }
        };
        let old = self.table.load_full();
        table.keep_unchanged(&old);
        for (hash, grant) in &old.by_hash {
            if !table.by_hash.get(hash).is_some_and(|kept| Arc::ptr_eq(kept, grant)) {
                grant.revoked.store(true, Ordering::Relaxed);
            }
        }
        if table.by_hash.values().any(|grant| !old.by_name.contains_key(&grant.name))
            || old.by_hash.values().any(|grant| grant.revoked.load(Ordering::Relaxed))
        {
            tracing::info!(target: "quintet_gateway", keys = table.by_hash.len(), "API keys were read again");
        }
        self.table.store(Arc::new(table));
    }
}

impl Table {
    /// Takes over the grants that are as they were, so that connections with them go on.
    fn keep_unchanged(&mut self, old: &Self) {
        for (hash, grant) in &mut self.by_hash {
            if let Some(kept) = old.by_hash.get(hash).filter(|kept| kept.is_same(grant)) {
                *grant = Arc::clone(kept);
                self.by_name.insert(Arc::clone(&kept.name), Arc::clone(kept));
            }
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("file", &self.file).finish_non_exhaustive()
    }
}

fn read(file: &Path) -> Result<String, KeysError> {
    let wrong = |reason: String| KeysError::Read { file: file.to_owned(), reason };
    let length = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if length > MOST_BYTES {
        return Err(wrong(format!("it has {length} bytes, more than {MOST_BYTES}")));
    }
    std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))
}

/// Whether a grant has been taken back.
pub(super) type Revoked = Arc<AtomicBool>;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // of "secret"

    #[test]
    fn keys_are_found_by_themselves_or_their_hash() {
        let text = format!(
            "[[key]]\nname = \"a\"\nkey = \"open sesame\"\nrate = 5\n\n[[key]]\nname = \"b\"\nsha256 = \"{HASH}\"\n\
             modules = [\"eth\"]\nmethods = [\"net_version\"]\nexpires = 2026-11-21T11:00:00+01:00\n"
        );
        let table = Table::parse(&text).expect("keys");
        let a = table.by_hash.get(&hash_of("open sesame")).expect("there");
        assert_eq!((&*a.name, a.rate.map(|rate| (rate.per_second, rate.burst))), ("a", Some((5.0, 10.0))));
        assert!(a.allows("debug_traceCall") && a.is_good(u64::MAX));
        let b = table.by_hash.get(&hash_of("secret")).expect("there");
        assert!(b.allows("eth_call") && b.allows("net_version") && !b.allows("net_listening"));
        assert!(b.is_good(1_795_255_199) && !b.is_good(1_795_255_200));
        assert!(!table.by_hash.contains_key(&hash_of("other")));
        // As it is while somebody writes it anew.
        assert!(Table::parse("").is_err());
    }

    #[test]
    fn what_is_wrong_is_named_and_no_key_is_quoted() {
        let two = "[[key]]\nname = \"a\"\nkey = \"hunter2\"\n[[key]]\nname = \"b\"\nkey = \"hunter2\"\n";
        let same = "[[key]]\nname = \"a\"\nkey = \"hunter2\"\n[[key]]\nname = \"a\"\nkey = \"other\"\n";
        for (text, expected) in [
            ("[[key]]\nname = \"a\"\nkey = hunter2\n", "line 3: "),
            ("[[key]]\nname = \"a\"\nkey = \"hunter2\"\nlimit = 1\n", "line 4: unknown field `limit`"),
            ("[[key]]\nname = \"hunter2\"\nkey = [\"hunter2\"]\n", "line 3: a value of the wrong type"),
            ("[[key]]\nname = \"a\"\n", "key \"a\": needs either key or sha256"),
            ("[[key]]\nname = \"a\"\nsha256 = \"hunter2\"\n", "key \"a\": sha256 must be 64"),
            ("[[key]]\nname = \"a\"\nkey = \"hunter2\"\nrate = -1\n", "key \"a\": rate must be"),
            ("[[key]]\nname = \"a\"\nkey = \"hunter2\"\nburst = 1\n", "key \"a\": burst needs rate"),
            ("[[key]]\nname = \"a\"\nkey = \"hunter2\"\nmodules = [\"x\"]\n", "key \"a\": no module \"x\""),
            ("[[key]]\nname = \"a\"\nkey = \"hunter2\"\nexpires = 10:00:00\n", "key \"a\": expires must be"),
            (two, "\"a\" and \"b\" are the same key"),
            (same, "there are two keys named \"a\""),
        ] {
            let error = Table::parse(text).err().expect("wrong");
            assert!(error.starts_with(expected) && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn dates_are_seconds() {
        let seconds = |text: &str| unix_time(&text.parse().expect("a time"));
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29"), Some(951_782_400));
        assert_eq!(seconds("2026-11-21T12:34:56Z"), Some(1_795_264_496));
        assert_eq!(seconds("2026-11-21T12:34:56-08:30"), Some(1_795_264_496 + 30_600));
        assert_eq!(seconds("2026-11-21T12:34:56"), None);
        assert_eq!(seconds("1969-12-31"), None);
    }
}
