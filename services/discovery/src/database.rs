//! The node database: nodes that answered, over restarts, in the file `nodes` of the data directory.
//!
//! It is kept in memory and written as a whole, aside first and then in place, a line of JSON per node: at most
//! [`MOST_NODES`] of them, some two megabytes. A file that cannot be read costs the nodes in it, and nothing else.
//! Nodes are dropped a day after their last answer, and after too many failures, as geth does.

use alloy_primitives::B256;
use quintet_discv4::NodeFacts;
use quintet_enode::{Enode, Record};
use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nodes that are kept: those with the newest answers.
pub const MOST_NODES: usize = 5_000;
/// For how long a node that does not answer is kept, as geth's `dbNodeExpiration`.
pub const EXPIRATION: Duration = Duration::from_hours(24);
/// How old an answer may be for its node to be asked at the start, as geth's `seedMaxAge`: the database of a node that
/// was off for some days is still worth a try.
pub const SEED_AGE: Duration = Duration::from_hours(5 * 24);
/// The longest line that is read: a URL, a record and some numbers.
const LONGEST_LINE: usize = 4096;

/// What is known of a node. Times are seconds since the Unix epoch; 0 is never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredNode {
    /// Its URL.
    pub enode: String,
    /// Its record, `enr:…`, if it has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enr: Option<String>,
    /// When it last sent a ping of discovery v4.
    #[serde(default)]
    pub last_ping: u64,
    /// When it last answered a ping of discovery v4.
    #[serde(default)]
    pub last_pong: u64,
    /// When it last answered in discovery v5.
    #[serde(default)]
    pub last_v5: u64,
    /// Requests that it did not answer since then.
    #[serde(default)]
    pub failures: u32,
    /// Whether it was in the table for some minutes.
    #[serde(default)]
    pub seed: bool,
}

impl StoredNode {
    fn last_seen(&self) -> u64 {
        self.last_pong.max(self.last_v5)
    }

    fn record(&self) -> Option<Record> {
        self.enr.as_deref().and_then(|text| text.parse().ok())
    }
}

/// The first line: whose database it is.
#[derive(Serialize, Deserialize)]
struct Owner {
    /// The node id of the key.
    local_id: B256,
    /// The number of its last record.
    local_seq: u64,
}

/// The database of one local node.
#[derive(Debug)]
pub struct NodeDatabase {
    local_id: B256,
    local_seq: Option<u64>,
    nodes: HashMap<B256, StoredNode>,
    is_dirty: bool,
}

impl NodeDatabase {
    /// An empty one.
    pub fn new(local_id: B256) -> Self {
        Self { local_id, local_seq: None, nodes: HashMap::new(), is_dirty: false }
    }

    /// Reads the file; an absent one is empty, and lines that are not as they should be are passed over.
    pub fn load(path: &Path, local_id: B256) -> Self {
        let mut database = Self::new(local_id);
        match File::open(path).and_then(|file| database.read(BufReader::new(file))) {
            Ok(0) => {}
            Ok(broken) => {
                tracing::warn!(file = %path.display(), broken, "Node database has lines that are no nodes");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(file = %path.display(), %error, "Couldn't read the node database"),
        }
        database
    }

    /// Gives the number of lines that are broken.
    fn read(&mut self, reader: impl io::BufRead) -> io::Result<usize> {
        let mut broken: usize = 0;
        let limit = u64::try_from(MOST_NODES.saturating_mul(LONGEST_LINE)).unwrap_or(u64::MAX);
        for line in reader.take(limit).split(b'\n').take(2 * MOST_NODES) {
            let line = line?;
            if let Ok(owner) = serde_json::from_slice::<Owner>(&line) {
                // With another key it is another node, but its neighbours are as good as before.
                self.local_seq = (owner.local_id == self.local_id).then_some(owner.local_seq);
            } else if let Some((id, node)) = read_node(&line) {
                self.nodes.insert(id, node);
            } else {
                broken = broken.saturating_add(1);
            }
        }
        self.trim();
        Ok(broken)
    }

    /// The number of the local node's last record.
    pub const fn local_seq(&self) -> Option<u64> {
        self.local_seq
    }

    /// Takes note of the number of the local node's record.
    pub fn set_local_seq(&mut self, seq: u64) {
        self.is_dirty |= self.local_seq != Some(seq);
        self.local_seq = Some(seq);
    }

    /// Nodes in it.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What is known of a node.
    pub fn get(&self, id: &B256) -> Option<&StoredNode> {
        self.nodes.get(id)
    }

    /// Takes what discovery v4 knows of a node.
    pub fn take(&mut self, facts: &NodeFacts) {
        let seconds = |time: Option<Duration>| time.unwrap_or_default().as_secs();
        let node = self.node(&facts.enode, facts.record.as_ref());
        node.last_ping = seconds(facts.last_ping);
        node.last_pong = seconds(facts.last_pong);
        node.failures = facts.failures;
        node.seed = facts.seed;
    }

    /// Takes note that a node answered in discovery v5 at `now`.
    pub fn answered_v5(&mut self, enode: &Enode, record: &Record, now: u64) {
        self.node(enode, Some(record)).last_v5 = now;
    }

    /// The node to be changed, with its newest place and record.
    fn node(&mut self, enode: &Enode, record: Option<&Record>) -> &mut StoredNode {
        // Not at each node above the limit: sorting costs more than a few more nodes do.
        if self.nodes.len() > MOST_NODES.saturating_add(MOST_NODES / 10) {
            self.trim();
        }
        self.is_dirty = true;
        let new = || StoredNode {
            enode: String::new(),
            enr: None,
            last_ping: 0,
            last_pong: 0,
            last_v5: 0,
            failures: 0,
            seed: false,
        };
        let node = self.nodes.entry(enode.node_id()).or_insert_with(new);
        node.enode = enode.to_string();
        node.enr = record.map(ToString::to_string).or_else(|| node.enr.take());
        node
    }

    /// Drops nodes whose last answer is too old at `now` (Unix seconds).
    pub fn expire(&mut self, now: u64) {
        let before = self.nodes.len();
        self.nodes.retain(|_, node| is_younger(node.last_seen(), now, EXPIRATION));
        self.is_dirty |= self.nodes.len() != before;
    }

    /// All nodes of discovery v4, to go on with.
    pub fn facts(&self) -> Vec<NodeFacts> {
        let time = |seconds: u64| Some(Duration::from_secs(seconds)).filter(|time| !time.is_zero());
        let facts = self.nodes.values().filter_map(|node| {
            Some(NodeFacts {
                enode: node.enode.parse().ok()?,
                record: node.record(),
                last_ping: time(node.last_ping),
                last_pong: time(node.last_pong),
                failures: node.failures,
                seed: node.seed,
            })
        });
        facts.collect()
    }

    /// Nodes of discovery v4 to begin with, that answered within `age` before `now`: those of long standing first, and
    /// of these the ones that fail least, otherwise at random.
    pub fn seeds(&self, now: u64, age: Duration, most: usize) -> Vec<Enode> {
        let mut nodes: Vec<_> =
            self.nodes.values().filter(|node| is_younger(node.last_pong, now, age)).collect();
        nodes.shuffle(&mut rand::rng());
        nodes.sort_by_key(|node| (!node.seed, node.failures));
        nodes.into_iter().filter_map(|node| node.enode.parse().ok()).take(most).collect()
    }

    /// Records of nodes that answered in discovery v5 within `age` before `now`, the newest first.
    pub fn v5_seeds(&self, now: u64, age: Duration, most: usize) -> Vec<Record> {
        let mut nodes: Vec<_> =
            self.nodes.values().filter(|node| is_younger(node.last_v5, now, age)).collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(node.last_v5));
        nodes.into_iter().filter_map(StoredNode::record).take(most).collect()
    }

    /// The text of the file, if anything changed since it was asked for last.
    pub fn to_write(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.is_dirty) {
            return None;
        }
        self.trim();
        let mut lines = Vec::with_capacity(self.nodes.len().saturating_add(2));
        let owner = Owner { local_id: self.local_id, local_seq: self.local_seq.unwrap_or_default() };
        lines.extend(serde_json::to_string(&owner).ok());
        lines.extend(self.nodes.values().filter_map(|node| serde_json::to_string(node).ok()));
        lines.push(String::new());
        Some(lines.join("\n"))
    }

    fn trim(&mut self) {
        if self.nodes.len() <= MOST_NODES {
            return;
        }
        let mut by_age: Vec<_> = self.nodes.iter().map(|(id, node)| (node.last_seen(), *id)).collect();
        by_age.sort_unstable();
        let surplus = by_age.len().saturating_sub(MOST_NODES);
        for (_, id) in by_age.into_iter().take(surplus) {
            self.nodes.remove(&id);
        }
        self.is_dirty = true;
    }
}

/// Writes the file so that nobody ever sees half of it.
///
/// # Errors
/// When the directory cannot be made, or the file not be written.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft: PathBuf = path.with_file_name(name);
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn read_node(line: &[u8]) -> Option<(B256, StoredNode)> {
    let node: StoredNode = serde_json::from_slice(line.get(..LONGEST_LINE).map_or(line, |_| &[])).ok()?;
    let enode: Enode = node.enode.parse().ok()?;
    Some((enode.node_id(), node))
}

fn is_younger(time: u64, now: u64, age: Duration) -> bool {
    time != 0 && now.saturating_sub(time) < age.as_secs()
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
