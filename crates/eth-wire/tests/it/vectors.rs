//! Besu's `eth/66` messages, with the values that its authors read out of them.

use alloy_consensus::Transaction as _;
use alloy_primitives::{B256, U256, hex};
use quintet_eth_wire::{EthMessage, EthMessageId, EthVersion, HashOrNumber, request_id};
use quintet_testkit::vectors::{archive, files};
use serde_json::Value;
use std::fs;

fn code(kind: &str) -> EthMessageId {
    let name = kind.strip_suffix("Packet66").unwrap();
    EthMessageId::ALL.into_iter().find(|id| id.name() == name).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_str().map_or_else(
        || value.as_u64().unwrap(),
        |text| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap(),
    )
}

fn hash(value: &Value) -> B256 {
    value.as_str().unwrap().parse().unwrap()
}

/// Compares what was decoded with the vector's own reading of the bytes.
fn check(message: &EthMessage, data: &Value) {
    match message {
        EthMessage::GetBlockHeaders(query) => {
            let start = match number(&data["Origin"]["Number"]) {
                0 => HashOrNumber::Hash(hash(&data["Origin"]["Hash"])),
                number => HashOrNumber::Number(number),
            };
            assert_eq!(query.body.start, start);
            assert_eq!(query.body.limit, number(&data["Amount"]));
            assert_eq!(query.body.skip, number(&data["Skip"]));
            assert_eq!(query.body.reverse, data["Reverse"].as_bool().unwrap());
        }
        EthMessage::BlockHeaders(headers) => {
            let expected = data["BlockHeadersPacket"].as_array().unwrap();
            assert_eq!(headers.body.len(), expected.len());
            for (header, expected) in headers.body.iter().zip(expected) {
                assert_eq!(header.number, number(&expected["number"]));
                assert_eq!(header.gas_limit, number(&expected["gasLimit"]));
                assert_eq!(header.difficulty, U256::from(number(&expected["difficulty"])));
                assert_eq!(header.hash_slow(), hash(&expected["hash"]));
            }
        }
        EthMessage::GetBlockBodies(hashes) => {
            let expected = data["GetBlockBodiesPacket"].as_array().unwrap();
            assert_eq!(hashes.body, expected.iter().map(hash).collect::<Vec<_>>());
        }
        EthMessage::BlockBodies(bodies) => {
            let expected = data["BlockBodiesPacket"].as_array().unwrap();
            assert_eq!(bodies.body.len(), expected.len());
            for (body, expected) in bodies.body.iter().zip(expected) {
                let transactions = expected["Transactions"].as_array().unwrap();
                assert_eq!(body.transactions.len(), transactions.len());
                for (transaction, expected) in body.transactions.iter().zip(transactions) {
                    assert_eq!(*transaction.tx_hash(), hash(&expected["hash"]));
                    assert_eq!(transaction.nonce(), number(&expected["nonce"]));
                }
                let uncles = expected["Uncles"].as_array().unwrap();
                let hashes = body.ommers.iter().map(alloy_consensus::Header::hash_slow).collect::<Vec<_>>();
                assert_eq!(hashes, uncles.iter().map(|uncle| hash(&uncle["hash"])).collect::<Vec<_>>());
            }
        }
        EthMessage::NodeData(values) => {
            assert_eq!(values.body, [hex!("deadc0de").to_vec(), hex!("feedbeef").to_vec()]);
        }
        EthMessage::Receipts(blocks) => {
            let expected = data["ReceiptsPacket"].as_array().unwrap();
            assert_eq!(blocks.body.len(), expected.len());
            for (receipts, expected) in blocks.body.iter().zip(expected) {
                for (receipt, expected) in receipts.iter().zip(expected.as_array().unwrap()) {
                    let gas = receipt.as_receipt().unwrap().cumulative_gas_used;
                    assert_eq!(gas, number(&expected["cumulativeGasUsed"]));
                    assert_eq!(receipt.logs().len(), expected["logs"].as_array().unwrap().len());
                }
            }
        }
        other => panic!("a vector of {}", other.id().name()),
    }
}

#[test]
fn besu_messages() {
    let Some(folder) = archive("08") else { return };
    let files = files(&folder.join("eth66-messages"), "json");
    assert_eq!(files.len(), 7);
    for file in files {
        let vector: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let bytes = hex::decode(vector["rlp"].as_str().unwrap()).unwrap();
        let id = code(vector["type"].as_str().unwrap());
        let message = EthMessage::decode(EthVersion::Eth66, id.code(), &bytes).unwrap();
        assert_eq!(message.id(), id);
        assert_eq!(message.encode(EthVersion::Eth66), bytes, "{}", file.display());
        assert_eq!(request_id(EthVersion::Eth66, id.code(), &bytes), Some(1111));
        check(&message, &vector["data"]);
    }
}
