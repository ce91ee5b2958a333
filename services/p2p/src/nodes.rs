//! The operator's nodes: lists in flags, and geth 1.8's `static-nodes.json` and `trusted-nodes.json`.

use crate::error::P2pError;
use quintet_enode::Enode;
use std::io::Read as _;
use std::path::Path;

/// Most bytes of a file of nodes: some six thousand.
const FILE_LIMIT: u64 = 1 << 20;

/// Reads `enode://` URLs separated by commas.
///
/// # Errors
/// What is wrong, with the URL.
pub(crate) fn list(text: &str) -> Result<Vec<Enode>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(|entry| entry.parse().map_err(|error| format!("{entry}: {error}"))).collect()
}

/// Reads a file with a JSON list of URLs; no file, no nodes. As in geth, a URL that is none is passed over.
///
/// # Errors
/// When there is a file that cannot be read, or that holds something else.
pub(crate) fn file(path: &Path) -> Result<Vec<Enode>, P2pError> {
    let wrong = |reason: String| P2pError::NodesFile { path: path.to_owned(), reason };
    let mut text = String::new();
    match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.and_then(|file| file.take(FILE_LIMIT).read_to_string(&mut text)),
    }
    .map_err(|error| wrong(error.to_string()))?;
    let urls: Vec<String> = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let mut nodes = Vec::with_capacity(urls.len());
    for url in urls.iter().filter(|url| !url.is_empty()) {
        match url.parse() {
            Ok(node) => nodes.push(node),
            Err(error) => tracing::error!(file = %path.display(), url, %error, "node URL is invalid"),
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::{file, list};
    use quintet_enode::{Enode, NodeKey};

    fn node(port: u16) -> Enode {
        Enode { public_key: NodeKey::generate().public(), ip: [10, 0, 0, 1].into(), tcp: port, udp: port }
    }

    #[test]
    fn nodes_are_read_from_flags_and_files() {
        let [one, two] = [node(1), node(2)];
        assert_eq!(list(&format!(" {one},{two},")), Ok(vec![one, two]));
        assert_eq!(list(""), Ok(vec![]));
        assert!(list("enode://00@10.0.0.1:1").expect_err("no key").starts_with("enode://00@"));

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("static-nodes.json");
        assert_eq!(file(&path).expect("no file"), vec![]);
        let content = format!("[\n\"{one}\", \"\", \"enode://broken\",\n\"{two}\"]");
        std::fs::write(&path, content).expect("written");
        assert_eq!(file(&path).expect("read"), vec![one, two]);
        std::fs::write(&path, "{}").expect("written");
        let error = file(&path).expect_err("no list").to_string();
        assert!(error.contains("static-nodes.json"), "{error}");
    }
}
