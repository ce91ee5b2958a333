//! The binary on a real PostgreSQL, which comes late, goes away, and comes back.

use crate::fixture::{GAS_LIMIT, transfer};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes};
use quintet_chain_api::{BuildRequest, ChainClient, ChainError};
use quintet_service::grpc::Transport;
use quintet_store::{Location, Store};
use quintet_testkit::postgres::{Fsync, Postgres};
use quintet_testkit::process::{Process, Program, free_port};
use quintet_testkit::service;
use std::path::Path;
use std::time::{Duration, Instant};

/// For how long anything is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(10);

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_quintet-chain"))
}

fn on(datadir: &Path, url: &str) -> Program {
    // The address comes as it does in a container: from a file.
    let secret = datadir.join("store-url");
    std::fs::write(&secret, format!("{url}\n")).unwrap();
    program().arg("--dev").arg("--datadir").arg(datadir).env("QUINTET_STORE_FILE", secret.to_str().unwrap())
}

struct Running {
    process: Process,
    admin: u16,
    client: ChainClient,
}

impl Running {
    fn start(program: Program) -> Self {
        let (grpc, admin) = (free_port(), free_port());
        let program = program.args(["--grpc.port", &grpc.to_string(), "--admin.port", &admin.to_string()]);
        let caller = quintet_service::Service::Miner;
        let transport = Transport::remote(caller, &format!("http://127.0.0.1:{grpc}"), DEADLINE).unwrap();
        Self { process: program.start(), admin, client: ChainClient::new(transport) }
    }

    /// What `quintet-chain health` says, and whether it is ready.
    async fn health(&self) -> (bool, String) {
        let said = program().args(["health", "--admin.port", &self.admin.to_string()]).run().await;
        (said.status.success(), said.stdout + &said.stderr)
    }

    async fn wait_for_health(&mut self, ready: bool, text: &str) {
        let start = Instant::now();
        loop {
            let (is_ready, said) = self.health().await;
            if is_ready == ready && said.contains(text) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "not {text:?}: {said}\n{}", self.process.log());
            assert_eq!(self.process.exit_status(), None, "{}", self.process.log());
            tokio::time::sleep(POLL).await;
        }
    }

    async fn stop(mut self) {
        let status = self.process.signal("TERM").await;
        assert_eq!(status.code(), Some(0), "{}", self.process.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_late_is_waited_for() {
    let mut server = Postgres::start();
    let url = server.create_database();
    server.stop();
    let datadir = tempfile::tempdir().unwrap();
    let mut chain = Running::start(on(datadir.path(), &url));
    chain.wait_for_health(false, "[-]store failed: waiting for the store: chain store postgres://").await;
    // It can be stopped meanwhile.
    chain.stop().await;
    let mut chain = Running::start(on(datadir.path(), &url));
    chain.wait_for_health(false, "waiting for the store").await;
    server.restart();
    chain.wait_for_health(true, "[+]store ok\nready\n").await;
    let head = chain.client.head().await.unwrap();
    assert_eq!((head.head.number, head.safe), (0, Some(head.head)), "blocks of --dev are safe at once");
    let network = chain.client.chain_spec().await.unwrap();
    assert_eq!((network.genesis, network.network_id), (head.head.hash, 1337));
    chain.stop().await;

    // What no waiting can mend ends the process, with a reason.
    let other = on(datadir.path(), &url).args(["--balance", "7"]);
    service::assert_refuses(&other, "Fatal: ").await;
    let nobody = on(datadir.path(), &server.url("nobody_made_this"));
    service::assert_refuses(&nobody, "Fatal: the server of chain store postgres://").await;
    let name = url.rsplit('/').next().unwrap();
    server.sql(name, "INSERT INTO refinery_schema_history VALUES (99, 'later', 'now', '1')");
    service::assert_refuses(&on(datadir.path(), &url), "Fatal: chain store postgres://").await;
}

/// Sends transactions and seals blocks, as a miner does, through a stop of the server: nothing acknowledged is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_and_starts_under_load_loses_nothing() {
    let mut server = Postgres::start_with(Fsync::On, &[]);
    let url = server.create_database();
    let datadir = tempfile::tempdir().unwrap();
    let mut chain = Running::start(on(datadir.path(), &url));
    chain.wait_for_health(true, "ready").await;

    let (mut acknowledged, mut nonce, mut refused) = (Vec::new(), 0, 0);
    let mut timestamp = 1;
    let mut stopped = None;
    let start = Instant::now();
    while nonce < 30 {
        assert!(start.elapsed() < 2 * PATIENCE, "{}", chain.process.log());
        match nonce {
            10 if stopped.is_none() => {
                server.stop();
                stopped = Some(Instant::now());
                chain.wait_for_health(false, "[-]store failed").await;
            }
            _ => {}
        }
        if let Some(since) = stopped
            && refused >= 2
            && since.elapsed() > Duration::from_millis(500)
            && nonce == 10
        {
            server.restart();
            refused = 0;
            chain.wait_for_health(true, "[+]store ok").await;
        }
        let transaction = transfer(0, nonce, 1);
        match chain.client.send_transaction(transaction.encoded_2718().into(), true, false).await {
            Ok(hash) => {
                acknowledged.push(hash);
                nonce += 1;
            }
            Err(ChainError::Unavailable(said) | ChainError::Interrupted(said)) => {
                assert!(!said.contains("postgres://"), "{said}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
        seal(&chain.client, &mut timestamp).await;
    }
    while chain.client.pool_status().await.unwrap().pending > 0 {
        assert!(start.elapsed() < 2 * PATIENCE, "{}", chain.process.log());
        seal(&chain.client, &mut timestamp).await;
    }
    let head = chain.client.head().await.unwrap().head;
    chain.stop().await;
    let missing = tokio::task::spawn_blocking(move || {
        let store = Location::parse(&url).unwrap().open_to_read().unwrap();
        assert_eq!(store.head().unwrap(), Some(head));
        missing(store.as_ref(), &acknowledged)
    });
    assert_eq!(missing.await.unwrap(), Vec::<B256>::new());
}

/// One round of a miner, which takes a refusal for what it is.
async fn seal(client: &ChainClient, timestamp: &mut u64) {
    let request =
        BuildRequest { timestamp: *timestamp, gas_limit_target: GAS_LIMIT, ..BuildRequest::default() };
    let sealed = match client.build_block(request).await {
        Ok(Some(work)) => client.submit_block(&work.block, 1).await.map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    match sealed {
        Ok(Some(_)) => *timestamp += 1,
        Ok(None) | Err(ChainError::Unavailable(_) | ChainError::Interrupted(_)) => {
            tokio::time::sleep(POLL).await;
        }
        // A commit of unknown outcome may have been done: the head has moved then.
        Err(ChainError::Rejected(said)) if said.contains("timestamp") => *timestamp += 1,
        Err(error) => panic!("{error}"),
    }
}

fn missing(store: &dyn Store, hashes: &[B256]) -> Vec<B256> {
    let absent = |hash: &&B256| store.transaction_location(hash).unwrap().is_none();
    hashes.iter().filter(absent).copied().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fencing_token_outlives_the_process() {
    let url = Postgres::shared().create_database();
    let datadir = tempfile::tempdir().unwrap();
    let mut chain = Running::start(on(datadir.path(), &url));
    chain.wait_for_health(true, "ready").await;
    let send = async |chain: &Running, nonce| {
        let raw = Bytes::from(transfer(0, nonce, 1).encoded_2718());
        chain.client.send_transaction(raw, true, false).await.unwrap();
    };
    let build = async |chain: &Running, timestamp| {
        let request = BuildRequest { timestamp, gas_limit_target: GAS_LIMIT, ..BuildRequest::default() };
        chain.client.build_block(request).await.unwrap().expect("something to include").block
    };
    send(&chain, 0).await;
    let first = build(&chain, 1).await;
    chain.client.submit_block(&first, 1_700_000_000_000).await.unwrap();
    chain.stop().await;
    let mut chain = Running::start(on(datadir.path(), &url));
    chain.wait_for_health(true, "ready").await;
    send(&chain, 1).await;
    let second = build(&chain, 2).await;
    let refused = chain.client.submit_block(&second, 1_699_999_999_999).await.unwrap_err();
    let ChainError::Rejected(said) = &refused else { panic!("{refused}") };
    assert!(said.contains("1699999999999") && said.contains("1700000000000"), "{said}");
    assert!(chain.client.submit_block(&second, 1_700_000_000_001).await.unwrap().canonical);

    // Who builds has begun to lead: a block of the one before does not come between.
    send(&chain, 2).await;
    let late = build(&chain, 3).await;
    let fencing_token = 1_700_000_000_002;
    let request =
        BuildRequest { timestamp: 4, gas_limit_target: GAS_LIMIT, fencing_token, ..BuildRequest::default() };
    let new = chain.client.build_block(request.clone()).await.unwrap().expect("something to include").block;
    let refused = chain.client.submit_block(&late, 1_700_000_000_001).await.unwrap_err();
    assert_eq!(refused.newer_token(), Some(fencing_token));
    let old = BuildRequest { fencing_token: 1_700_000_000_001, ..request };
    assert_eq!(chain.client.build_block(old).await.unwrap_err().newer_token(), Some(fencing_token));
    assert!(chain.client.submit_block(&new, fencing_token).await.unwrap().canonical);
    chain.stop().await;
}
