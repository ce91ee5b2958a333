//! Where a corpus begins: real packets and blocks from the conformance vectors, and one small sample of every message.

mod discovery;
mod messages;
mod session;

use alloy_primitives::hex;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// Writes the target's seeds into the folder that `QUINTET_FUZZ_SEEDS` names and ends the process; does nothing when
/// the variable is not set. `QUINTET_FUZZ_VECTORS` names a folder of unpacked vectors.
///
/// # Panics
/// When a file cannot be read or written.
pub fn write(target: &str) {
    let Some(folder) = env::var_os("QUINTET_FUZZ_SEEDS").map(PathBuf::from) else { return };
    let vectors = env::var_os("QUINTET_FUZZ_VECTORS").map(|vectors| Vectors(PathBuf::from(vectors)));
    let vectors = vectors.unwrap_or_else(|| Vectors(PathBuf::from("/nonexistent")));
    let seeds = match target {
        "discv4" => discovery::datagrams(&vectors),
        "record" => discovery::records(&vectors),
        "enode" => discovery::enodes(),
        "auth" => session::auth(&vectors),
        "ack" => session::ack(&vectors),
        "frame" => session::frames(&vectors),
        "hello" => session::hellos(&vectors),
        "disconnect" => session::disconnects(),
        "eth" => messages::eth(&vectors),
        "snap" => messages::snap(),
        "range" => crate::range::seeds(),
        other => panic!("no seeds for {other}"),
    };
    fs::create_dir_all(&folder).expect("the folder of the seeds");
    for (index, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{index:04}")), seed).expect("a seed");
    }
    println!("{target}: {} seeds", seeds.len());
    process::exit(0);
}

/// The unpacked conformance vectors. What is not there gives nothing.
struct Vectors(PathBuf);

impl Vectors {
    /// Files whose path ends so.
    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().ends_with(ending) {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// The texts between quotes in such a file.
    fn texts(&self, ending: &str) -> Vec<String> {
        let files = self.files(ending);
        let read = |path: &PathBuf| fs::read_to_string(path).expect("a text file");
        files.iter().flat_map(|path| texts(&read(path))).collect()
    }

    /// Those of the texts that are hexadecimal, and long enough to be no number.
    fn bytes(&self, ending: &str) -> Vec<Vec<u8>> {
        let texts = self.texts(ending).into_iter();
        texts.filter(|text| text.len() >= 16).filter_map(|text| hex::decode(text).ok()).collect()
    }
}

fn texts(json: &str) -> Vec<String> {
    json.split('"').map(str::to_owned).collect()
}

/// A file's content.
fn content(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a vector")
}
