//! The layout's rules, checked on the manifests: services know each other only through their `*-api` crates, and
//! pure crates have no runtime, network, file system or clock.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

const SERVICES: [&str; 5] =
    ["quintet-chain", "quintet-discovery", "quintet-gateway", "quintet-miner", "quintet-p2p"];
const PURE: [&str; 5] =
    ["quintet-chainspec", "quintet-evm", "quintet-trie", "quintet-txpool", "quintet-types"];
const IMPURE: [&str; 8] =
    ["tokio", "tonic", "hyper", "axum", "rand", "tempfile", "signet-libmdbx", "quintet-service"];

fn packages() -> Vec<Value> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// What a package needs to run; tests may use more.
fn dependencies(package: &Value) -> Vec<&str> {
    let all = package["dependencies"].as_array().expect("dependencies").iter();
    all.filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| dependency["name"].as_str().expect("a name"))
        .collect()
}

fn check(names: &[&str], forbidden: impl Fn(&str) -> bool) {
    let packages = packages();
    for name in names {
        let package = packages.iter().find(|package| package["name"] == *name);
        let package = package.unwrap_or_else(|| panic!("{name} is gone: update this test"));
        let wrong: Vec<_> = dependencies(package).into_iter().filter(|found| forbidden(found)).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn services_do_not_depend_on_services() {
    check(&SERVICES, |dependency| SERVICES.contains(&dependency));
}

#[test]
fn pure_crates_stay_pure() {
    check(&PURE, |dependency| IMPURE.contains(&dependency));
}
