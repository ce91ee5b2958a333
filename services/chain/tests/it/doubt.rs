//! Commits whose answer is lost, and imports of many blocks over gRPC.

use crate::failing::{Failing, SECRET_URL};
use crate::fixture::{Bare, Node, transfer};
use futures::stream;
use quintet_chain::ChainServer;
use quintet_chain_api::{ChainClient, ChainError, rlp};
use quintet_service::Service;
use quintet_service::grpc::Transport;
use quintet_store::Store;
use quintet_testkit::generate::{Generator, Network, Options};
use quintet_types::Block;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_found() {
    let store = Failing::over(quintet_store::open_temporary().unwrap());
    let node = Node::on(Arc::clone(&store) as Arc<dyn Store>, None);
    node.send(&transfer(0, 0, 1)).await;
    let work = node.build(1).await.unwrap();
    store.lose_answers(true);
    let refused = node.client.submit_block(&work.block, 0).await.unwrap_err();
    assert!(matches!(&refused, ChainError::Unavailable(said) if !said.contains(SECRET_URL)), "{refused}");
    assert_eq!(node.client.head().await.unwrap().head.number, 0, "nobody knows yet");
    store.lose_answers(false);

    // Who tries again is told that it is there; and the pool and the head have moved.
    let submitted = node.client.submit_block(&work.block, 0).await.unwrap();
    assert!(submitted.canonical);
    assert_eq!(node.client.head().await.unwrap().head, submitted.block);
    assert_eq!(node.client.pool_status().await.unwrap().pending, 0);
    node.send(&transfer(0, 1, 1)).await;
    assert_eq!(node.seal(2).await.block.number, 2);

    // Without anybody trying again, the service's own look at the store finds it.
    node.send(&transfer(0, 2, 1)).await;
    let work = node.build(3).await.unwrap();
    store.lose_answers(true);
    node.client.submit_block(&work.block, 0).await.unwrap_err();
    store.lose_answers(false);
    node.chain.probe().unwrap();
    assert_eq!(node.client.head().await.unwrap().head.hash, work.block.header.hash_slow());
    assert_eq!(node.chain.head().block.number, 3);
}

fn served(bare: Bare) -> (ChainClient, Arc<dyn Store>) {
    let server = ChainServer::new(bare.chain, CancellationToken::new()).into_server();
    (ChainClient::new(Transport::local(Service::Gateway, server)), bare.store)
}

fn generated(network: Network, count: usize) -> (Generator, Vec<Block>) {
    let mut generator = Generator::new(Options::small(network));
    let blocks = (0..count).map(|_| generator.next_block().block.block.clone()).collect();
    (generator, blocks)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_blocks_over_grpc_are_imported_up_to_the_first_bad_one() {
    let (generator, mut blocks) = generated(Network::Ethash, 120);
    let (client, store) = served(Bare::temporary(generator.spec()));
    let import = |blocks: &[Block], verify| {
        let blocks: Vec<_> = blocks.iter().map(rlp).collect();
        client.import_blocks(stream::iter(blocks), verify)
    };
    let done = import(&blocks[..40], true).await.unwrap();
    assert_eq!((done.imported, done.skipped, done.head.number), (40, 0, 40));

    let good = blocks[90].clone();
    blocks[90].header.state_root = alloy_primitives::B256::repeat_byte(7);
    let failure = import(&blocks, true).await.unwrap_err();
    assert_eq!(failure.block, Some(blocks[90].header.hash_slow()));
    let ChainError::Rejected(said) = &failure.error else { panic!("{failure}") };
    assert!(said.contains("invalid merkle root"), "{said}");
    assert_eq!(store.head().unwrap().unwrap().number, 90, "all before it are there");

    blocks[90] = good;
    let done = import(&blocks, true).await.unwrap();
    assert_eq!((done.imported, done.skipped), (30, 90));
    assert_eq!(done.head, generator.head());

    let failure = client.import_blocks(stream::iter([vec![1, 2, 3].into()]), true).await.unwrap_err();
    assert!(failure.error.to_string().contains("not the RLP of one"), "{failure}");
    let failure = client.import_blocks(stream::empty(), true).await.unwrap_err();
    assert!(failure.error.to_string().contains("no blocks"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn seals_are_looked_at_unless_the_caller_vouches_for_them() {
    let (generator, blocks) = generated(Network::Ethash, 3);
    let blocks: Vec<_> = blocks.iter().map(rlp).collect();
    // The generator's blocks have no proof of work.
    let chain = || served(Bare::on(quintet_store::open_temporary().unwrap(), generator.spec(), true)).0;
    let failure = chain().import_blocks(stream::iter(blocks.clone()), true).await.unwrap_err();
    assert!(matches!(failure.error, ChainError::Rejected(_)) && failure.block.is_some(), "{failure}");
    let done = chain().import_blocks(stream::iter(blocks), false).await.unwrap();
    assert_eq!(done.imported, 3);
}
