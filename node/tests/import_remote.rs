//! `quintet import --chain.url`: files into a chain service that runs.

use alloy_primitives::B256;
use quintet_chain::{Chain, ChainServer, Config, genesis};
use quintet_chain_api::rlp;
use quintet_events::LocalBus;
use quintet_service::grpc::{GrpcConfig, GrpcServer};
use quintet_service::{Readiness, Supervisor};
use quintet_testkit::generate::{Generator, Network, Options};
use quintet_testkit::process::Program;
use quintet_types::Block;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

fn write(path: &Path, blocks: &[Block]) {
    std::fs::write(path, blocks.iter().flat_map(|block| rlp(block).to_vec()).collect::<Vec<_>>()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_imported_into_a_service_that_runs() {
    quintet_types::install_crypto();
    let mut generator = Generator::new(Options::small(Network::Ethash));
    let mut blocks: Vec<Block> = (0..80).map(|_| generator.next_block().block.block.clone()).collect();
    let store = quintet_store::open_temporary().unwrap();
    genesis::init(store.as_ref(), generator.spec()).unwrap();
    let config = Config { check_work: false, ..Config::of(generator.spec()) };
    let chain = Chain::open(Arc::clone(generator.spec()), store, Arc::new(LocalBus::new()), config).unwrap();
    let chain = Arc::new(chain);
    let supervisor = Supervisor::new();
    let config = GrpcConfig { addr: "127.0.0.1".to_owned(), port: 0 };
    let server = GrpcServer::bind(&config, Readiness::new()).await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let server = server.with(ChainServer::new(Arc::clone(&chain), supervisor.token()).into_server());
    supervisor.spawn("gRPC server", server.serve(supervisor.token()));

    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first.rlp"), directory.path().join("second.rlp"));
    write(&first, &blocks[..50]);
    let import = |path: &Path| {
        let program = Program::new(env!("CARGO_BIN_EXE_quintet"));
        program.args(["import", "--json", "--chain.url", &url]).arg(path)
    };
    let done = import(&first).run().await;
    assert!(done.status.success(), "{}", done.stderr);
    let summary: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&summary["blocks"], &summary["skipped"]), (&50.into(), &0.into()), "{summary}");
    assert_eq!(chain.head().block.number, 50);

    // The error names file, byte, block and reason, as that of an import into a store does.
    let good = std::mem::replace(&mut blocks[60].header.state_root, B256::repeat_byte(7));
    write(&second, &blocks);
    let refused = import(&second).run().await;
    assert!(!refused.status.success());
    let place = blocks[..60].iter().map(|block| rlp(block).len()).sum::<usize>();
    let hash = blocks[60].header.hash_slow();
    for words in
        [format!("{}, byte {place}: ", second.display()), format!("[{hash}]"), "merkle root".to_owned()]
    {
        assert!(refused.stderr.contains(&words), "{words}: {}", refused.stderr);
    }
    assert_eq!(chain.head().block.number, 60);

    blocks[60].header.state_root = good;
    write(&second, &blocks);
    let done = import(&second).run().await;
    assert!(done.status.success(), "{}", done.stderr);
    let summary: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&summary["blocks"], &summary["skipped"]), (&20.into(), &60.into()), "{summary}");
    assert_eq!(chain.head().block, generator.head());

    supervisor.shutdown();
    let nobody = Program::new(env!("CARGO_BIN_EXE_quintet"));
    let nobody = nobody.args(["import", "--chain.url", "http://127.0.0.1:1"]).arg(&second).run().await;
    assert!(!nobody.status.success() && nobody.stderr.contains("unavailable"), "{}", nobody.stderr);
}
