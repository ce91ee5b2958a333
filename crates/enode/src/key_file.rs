//! geth's `nodekey` file: 64 hexadecimal digits, for the owner's eyes only.

use crate::{KeyError, NodeKey};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The digits of a key.
const DIGITS: usize = 64;
/// What may follow them: a line's end.
const LINE_ENDS: [&[u8]; 4] = [b"", b"\n", b"\r\n", b"\r"];

impl NodeKey {
    /// The key of this file, as geth writes it.
    ///
    /// # Errors
    /// When there is no such file, or it holds something else.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let mut content = Vec::new();
        // A wrong path may name anything, however large.
        let limit = DIGITS.saturating_add(16) as u64;
        let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut content));
        read.map_err(|error| at(path, error))?;
        let Some((digits, rest)) = content.split_at_checked(DIGITS) else {
            return Err(KeyError::FileTooShort { path: path.to_owned() });
        };
        if !LINE_ENDS.contains(&rest) {
            return Err(KeyError::FileTooLong { path: path.to_owned() });
        }
        let wrong = |error| KeyError::FileContent { path: path.to_owned(), error: Box::new(error) };
        let digits = str::from_utf8(digits).map_err(|_| wrong(KeyError::NotHex))?;
        Self::from_hex(digits).map_err(wrong)
    }

    /// The key of this file; where there is no file, a new key that it holds from now on, in mode 0600. Of several
    /// processes that start at once on one path, all get the key of the fastest.
    ///
    /// # Errors
    /// As [`Self::load`], and when the file cannot be written.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
        }
        let key = Self::generate();
        // Written aside and linked, so that nobody reads half a key, or replaces one that another process holds.
        let draft = draft_path(path);
        let linked = write_private(&draft, &key.to_hex()).and_then(|()| fs::hard_link(&draft, path));
        let removed = fs::remove_file(&draft);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(at(path, error)),
            Ok(()) => removed.map(|()| key).map_err(|error| at(&draft, error)),
        }
    }
}

fn at(path: &Path, error: io::Error) -> KeyError {
    KeyError::File { path: path.to_owned(), error }
}

/// A name beside `path` that no other process uses.
fn draft_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", rand::random::<u64>()));
    path.with_file_name(name)
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_new_file_is_private_and_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("geth/nodekey");
        let key = NodeKey::load_or_create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), key.to_hex());
        assert_eq!(NodeKey::load_or_create(&path).unwrap(), key);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn all_who_start_at_once_get_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodekey");
        let keys = thread::scope(|scope| {
            let starts = [(); 8].map(|()| scope.spawn(|| NodeKey::load_or_create(&path).unwrap()));
            starts.map(|start| start.join().unwrap())
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn what_is_no_key_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodekey");
        let digits = NodeKey::generate().to_hex();
        for end in ["", "\n", "\r\n"] {
            fs::write(&path, format!("{digits}{end}")).unwrap();
            assert_eq!(NodeKey::load_or_create(&path).unwrap().to_hex(), digits);
        }
        let zero = "0".repeat(64);
        let cases = [
            (String::new(), "too short"),
            (digits[1..].to_owned(), "too short"),
            (format!("{digits}0"), "too long"),
            (format!("{digits}\n\n"), "too long"),
            (format!("{}g", &digits[1..]), "want 64 hex digits"),
            (zero, "not a secp256k1 secret"),
        ];
        for (content, expected) in cases {
            fs::write(&path, &content).unwrap();
            let error = NodeKey::load_or_create(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("nodekey"), "{content}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }
}
