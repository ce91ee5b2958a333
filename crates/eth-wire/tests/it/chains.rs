//! Blocks and receipts of real chains in every message that carries them.

use alloy_consensus::Header;
use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_primitives::{U256, hex};
use alloy_rlp::Decodable;
use quintet_eth_wire::{EthMessage, EthMessageId, EthVersion, ListBuilder, NewBlock, Tagged};
use quintet_testkit::chain::decode_blocks;
use quintet_testkit::vectors::{archive, files};
use quintet_types::Block;
use std::fs;
use std::path::Path;

fn back(version: EthVersion, message: &EthMessage) {
    let bytes = message.encode(version);
    let decoded = EthMessage::decode(version, message.id().code(), &bytes);
    assert!(decoded.is_ok_and(|decoded| decoded == *message), "{} of {version}", message.id().name());
}

/// The chain's own bytes come out of the codec again, wrapped in each message that carries a block.
fn check_blocks(file: &Path) -> usize {
    let rlp = fs::read(file).unwrap();
    let blocks = decode_blocks(&rlp).unwrap();
    let mut rest = rlp.as_slice();
    for (number, block) in blocks.iter().enumerate() {
        let whole = rest;
        Block::decode(&mut rest).unwrap();
        let raw = &whole[..whole.len() - rest.len()];
        let total_difficulty = U256::from(number);
        let mut message = Vec::new();
        NewBlock::encode_parts(block, &total_difficulty, &mut message);
        assert!(message.windows(raw.len()).any(|window| window == raw));
        for version in EthVersion::ALL {
            let decoded = EthMessage::decode(version, EthMessageId::NewBlock.code(), &message).unwrap();
            let EthMessage::NewBlock(decoded) = decoded else { panic!("{decoded:?}") };
            assert_eq!((&decoded.block, decoded.total_difficulty), (block, total_difficulty));
        }
    }
    let headers = blocks.iter().map(|block| block.header.clone()).take(1024).collect::<Vec<_>>();
    let bodies = blocks.iter().map(|block| block.body.clone()).take(1024).collect::<Vec<_>>();
    for version in EthVersion::ALL {
        let id = if version.has_request_ids() { u64::MAX } else { 0 };
        back(version, &EthMessage::BlockHeaders(Tagged { id, body: headers.clone() }));
        back(version, &EthMessage::BlockBodies(Tagged { id, body: bodies.clone() }));
    }
    blocks.len()
}

#[test]
fn blocks() {
    let mut count = 0;
    for (number, extensions) in [("12", ["rlp", "blocks"]), ("14", ["rlp", "blocks"])] {
        let Some(folder) = archive(number) else { return };
        for extension in extensions {
            for file in files(&folder, extension) {
                // The largest chain would take seconds in a build without optimisation.
                if fs::metadata(&file).unwrap().len() < 8_000_000 {
                    count += check_blocks(&file);
                }
            }
        }
    }
    assert!(count > 1000, "{count} blocks");
}

/// Mainnet blocks around forks: header, body, and receipts in `eth/69`'s form. Their roots say whether they were
/// understood.
#[test]
fn mainnet_receipts() {
    let Some(folder) = archive("12") else { return };
    let files = files(&folder.join("mainnet-header-body-receipts"), "yaml");
    assert_eq!(files.len(), 6);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            hex::decode(line.trim_start_matches(':').trim().trim_matches('"')).unwrap()
        };
        let header = Header::decode(&mut field("header").as_slice()).unwrap();
        check_mainnet_block(&header, &field("body"), &field("receipts"));
    }
}

fn check_mainnet_block(header: &Header, body: &[u8], receipts: &[u8]) {
    check_receipts(header, receipts);
    let mut list = ListBuilder::new();
    list.push_rlp(body);
    let message = list.finish_with_id(Some(8));
    for version in [EthVersion::Eth66, EthVersion::Eth69] {
        let decoded = EthMessage::decode(version, EthMessageId::BlockBodies.code(), &message).unwrap();
        assert_eq!(decoded.encode(version), message);
        let EthMessage::BlockBodies(bodies) = decoded else { panic!("{decoded:?}") };
        let [body] = bodies.body.as_slice() else { panic!("{} bodies", bodies.body.len()) };
        assert_eq!(calculate_transaction_root(&body.transactions), header.transactions_root);
        assert_eq!(body.calculate_ommers_root(), header.ommers_hash);
        assert_eq!(body.calculate_withdrawals_root(), header.withdrawals_root);
    }
}

fn check_receipts(header: &Header, receipts: &[u8]) {
    let mut list = ListBuilder::new();
    list.push_rlp(receipts);
    let message = list.finish_with_id(Some(7));
    let code = EthMessageId::Receipts.code();
    let decoded = EthMessage::decode(EthVersion::Eth69, code, &message).unwrap();
    let EthMessage::Receipts(blocks) = &decoded else { panic!("{decoded:?}") };
    let [receipts] = blocks.body.as_slice() else { panic!("{} blocks", blocks.body.len()) };
    assert_eq!(calculate_receipt_root(receipts), header.receipts_root, "block {}", header.number);
    assert_eq!(decoded.encode(EthVersion::Eth69), message);
    // With blooms it is longer by those, and comes back to the same.
    let bloomed = decoded.encode(EthVersion::Eth68);
    assert!(bloomed.len() > message.len() + receipts.len() * 256);
    assert_eq!(EthMessage::decode(EthVersion::Eth68, code, &bloomed).unwrap(), decoded);
}
