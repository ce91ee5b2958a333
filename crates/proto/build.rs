//! Compiles the contract in `proto/` with protox, so that no `protoc` is needed.

use std::path::PathBuf;

const FILES: [&str; 6] = [
    "quintet/common/v1/types.proto",
    "quintet/discovery/v1/discovery_service.proto",
    "quintet/p2p/v1/peer_service.proto",
    "quintet/chain/v1/chain_service.proto",
    "quintet/chain/v1/peer_link_service.proto",
    "quintet/miner/v1/miner_service.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(false).open_files(FILES)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    // Comments are generated from descriptors with source info; reflection does not carry it.
    let set = compiler.include_source_info(true).file_descriptor_set();
    // Callers bring the transport; a generated `connect` would clash with `PeerLinkService/Connect`.
    tonic_prost_build::configure().build_transport(false).bytes(".").compile_fds(set)?;
    Ok(())
}
