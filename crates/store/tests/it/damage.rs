//! Directories that are locked, damaged, or not what they should be: each is refused in clear words.

use crate::chain::{chain, commit};
use quintet_store::{Options, StoreError, open};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory with a chain of some blocks, closed, and its data file.
fn written() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &Options::default()).unwrap();
    store.commit(commit(&chain(50))).unwrap();
    drop(store);
    let data = directory.path().join("mdbx.dat");
    (directory, data)
}

fn refusal(directory: &Path) -> StoreError {
    open(directory, &Options::default()).err().expect("refused")
}

#[test]
fn one_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &Options::default()).unwrap();
    let refused = refusal(directory.path());
    assert!(matches!(refused, StoreError::InUse { .. }));
    assert!(refused.to_string().starts_with("datadir already used by another process"), "{refused}");
    store.commit(commit(&chain(1))).unwrap();
    let state = store.state_at(0).unwrap();
    drop(store);
    assert!(matches!(refusal(directory.path()), StoreError::InUse { .. }), "a reader keeps it open");
    drop(state);
    open(directory.path(), &Options::default()).unwrap();
}

#[test]
fn an_absent_store_is_not_made_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { create: false, ..Options::default() };
    let path = directory.path().join("nothing");
    assert!(matches!(open(&path, &options).err(), Some(StoreError::Absent { .. })));
    assert!(!path.exists());
    let (directory, _) = written();
    open(directory.path(), &options).unwrap();
}

#[test]
fn a_lost_data_file_is_noticed() {
    let (directory, data) = written();
    fs::remove_file(&data).unwrap();
    let refused = refusal(directory.path());
    assert!(matches!(&refused, StoreError::Missing { path } if *path == data));
    assert!(refused.to_string().contains("restore the file from a backup"), "{refused}");
}

#[test]
fn truncated_files_are_refused() {
    let (directory, data) = written();
    let whole = fs::read(&data).unwrap();
    let used = whole.chunks(4096).rposition(|page| page.iter().any(|byte| *byte != 0)).unwrap() * 4096;
    for length in [0, 1, 100, 4096, 12_288, 40_000, 40_960, used - 4096, used] {
        fs::write(&data, &whole[..length]).unwrap();
        // The second try must not find what the first one filled up.
        for _ in 0..2 {
            let refused = open(directory.path(), &Options::default()).err();
            let refused = refused.unwrap_or_else(|| panic!("{length} bytes are enough"));
            assert!(
                matches!(&refused, StoreError::Damaged { path, .. } if *path == data),
                "{length}: {refused}"
            );
        }
    }
    fs::write(&data, &whole).unwrap();
    open(directory.path(), &Options::default()).unwrap();
}

#[test]
fn foreign_files_are_refused() {
    let (directory, data) = written();
    for content in [vec![0x5a; 300_000], b"SQLite format 3\0".repeat(20_000)] {
        fs::write(&data, content).unwrap();
        let refused = refusal(directory.path());
        assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
        assert!(refused.to_string().contains("is damaged"), "{refused}");
    }
}

#[test]
fn another_schema_is_refused() {
    let (directory, _) = written();
    let environment = signet_libmdbx::Environment::builder().set_max_dbs(20).open(directory.path()).unwrap();
    let tx = environment.begin_rw_unsync().unwrap();
    let table = tx.open_db(Some("system")).unwrap();
    tx.put(table, b"schema", 99_u32.to_be_bytes(), signet_libmdbx::WriteFlags::UPSERT).unwrap();
    tx.commit().unwrap();
    drop(environment);
    let refused = refusal(directory.path());
    assert!(matches!(&refused, StoreError::Schema { found, expected: 1, .. } if found == "99"), "{refused}");
}

#[test]
fn a_file_in_the_way_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    File::create(&path).unwrap();
    let refused = refusal(&path).to_string();
    assert!(refused.contains(path.to_str().unwrap()), "{refused}");
}

#[test]
fn overwritten_pages_give_errors() {
    let (directory, data) = written();
    let pages = fs::metadata(&data).unwrap().len() / 4096;
    let mut file = File::options().write(true).open(&data).unwrap();
    // The first three pages tell the engine where all others are; the rest is garbage now.
    for page in 3..pages {
        file.seek(SeekFrom::Start(page * 4096)).unwrap();
        file.write_all(&[0xa5; 4096]).unwrap();
    }
    drop(file);
    let damaged = match open(directory.path(), &Options::default()) {
        Err(error) => error,
        Ok(store) => store.head().unwrap_err(),
    };
    assert!(matches!(damaged, StoreError::Damaged { .. }), "{damaged}");
}
