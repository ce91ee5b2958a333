//! What a message may cost: lists that would take far more memory than the bytes they came in are refused, and
//! honest messages are not.

use alloy_consensus::{Eip658Value, Receipt as ReceiptFields, ReceiptEnvelope, ReceiptWithBloom, TxType};
use alloy_rlp::Header;
use quintet_eth_wire::{
    EthMessage, EthMessageId, EthVersion, ListBuilder, MAX_DECODED_SIZE, MAX_MESSAGE_SIZE,
    MAX_RESPONSE_ITEMS, Malformed, SOFT_RESPONSE_SIZE, SnapMessage, SnapMessageId, WireError,
};

/// A list of as many `item`s as fit into a message, within `depth` more lists.
fn flood(item: &[u8], depth: usize) -> Vec<u8> {
    let count = (MAX_MESSAGE_SIZE - 64) / item.len();
    let mut bytes = item.repeat(count);
    for _ in 0..=depth {
        let mut outer = Vec::new();
        Header { list: true, payload_length: bytes.len() }.encode(&mut outer);
        outer.append(&mut bytes);
        bytes = outer;
    }
    bytes
}

/// `[1, list, …tail]` for a list and what follows it.
fn tagged(list: &[u8], tail: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Header { list: true, payload_length: 1 + list.len() + tail.len() }.encode(&mut bytes);
    bytes.push(1);
    bytes.extend_from_slice(list);
    bytes.extend_from_slice(tail);
    bytes
}

fn refused(version: EthVersion, id: EthMessageId, bytes: &[u8]) -> Malformed {
    match EthMessage::decode(version, id.code(), bytes) {
        Err(WireError::Malformed { reason, .. }) => reason,
        other => panic!("{other:?} for {} bytes of {}", bytes.len(), id.name()),
    }
}

const BLOWN: Malformed = Malformed::Memory(MAX_DECODED_SIZE);

#[test]
fn empty_receipts_do_not_fill_the_memory() {
    // Five bytes on the wire, hundreds in memory.
    let receipts = flood(&[0xc4, 0x80, 0x01, 0x01, 0xc0], 1);
    let message = tagged(&receipts, &[]);
    assert_eq!(refused(EthVersion::Eth69, EthMessageId::Receipts, &message), BLOWN);
}

#[test]
fn tiny_transactions_do_not_fill_the_memory() {
    let tiny = [0xc9, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x1b, 0x01, 0x01];
    let reason = refused(EthVersion::Eth68, EthMessageId::Transactions, &flood(&tiny, 0));
    assert_eq!(reason, BLOWN);
    // One body with a flood of them.
    let transactions = flood(&tiny, 0);
    let mut body = Vec::new();
    Header { list: true, payload_length: transactions.len() + 1 }.encode(&mut body);
    body.extend_from_slice(&transactions);
    body.push(0xc0);
    let mut bodies = Vec::new();
    Header { list: true, payload_length: body.len() }.encode(&mut bodies);
    bodies.extend_from_slice(&body);
    assert_eq!(refused(EthVersion::Eth68, EthMessageId::BlockBodies, &tagged(&bodies, &[])), BLOWN);
    assert_eq!(refused(EthVersion::Eth63, EthMessageId::BlockBodies, &bodies), BLOWN);
}

#[test]
fn answers_have_as_many_items_as_anybody_serves() {
    let list = |item: &[u8], count: usize| {
        let mut list = ListBuilder::new();
        (0..count).for_each(|_| list.push_rlp(item));
        list.finish_with_id(Some(3))
    };
    let body = [0xc2, 0xc0, 0xc0];
    for (id, item) in [
        (EthMessageId::BlockBodies, &body[..]),
        (EthMessageId::Receipts, &[0xc0]),
        (EthMessageId::NodeData, &[0x01]),
    ] {
        let full = list(item, MAX_RESPONSE_ITEMS);
        assert!(EthMessage::decode(EthVersion::Eth66, id.code(), &full).is_ok());
        let reason = refused(EthVersion::Eth66, id, &list(item, MAX_RESPONSE_ITEMS + 1));
        assert_eq!(reason, Malformed::TooMany { count: MAX_RESPONSE_ITEMS + 1, limit: MAX_RESPONSE_ITEMS });
    }
}

#[test]
fn empty_strings_do_not_fill_the_memory() {
    let nodes = flood(&[0x01], 0);
    for (id, message) in [
        (SnapMessageId::TrieNodes, tagged(&nodes, &[])),
        (SnapMessageId::ByteCodes, tagged(&nodes, &[])),
        (SnapMessageId::AccountRange, tagged(&[0xc0], &nodes)),
        (SnapMessageId::StorageRanges, tagged(&[0xc0], &nodes)),
    ] {
        let refused = SnapMessage::decode(id.code(), &message);
        let limited = matches!(refused, Err(WireError::Malformed { reason: Malformed::TooMany { .. }, .. }));
        assert!(limited, "{}", id.name());
    }
    // Paths have no limit of their own.
    let root = [[0xa0].as_slice(), &[7; 32]].concat();
    for depth in [0, 1] {
        let message = tagged(&root, &[flood(&[[0xc0], [0x01]][depth], depth).as_slice(), &[0x80]].concat());
        match SnapMessage::decode(SnapMessageId::GetTrieNodes.code(), &message) {
            Err(WireError::Malformed { reason, .. }) => assert_eq!(reason, BLOWN),
            other => panic!("{:?}", other.map(|message| message.id())),
        }
    }
}

#[test]
fn messages_beyond_the_limit_are_not_looked_at() {
    let message = vec![0xff; MAX_MESSAGE_SIZE + 1];
    for id in EthMessageId::ALL {
        let refused = EthMessage::decode(EthVersion::Eth66, id.code(), &message);
        if id.exists_in(EthVersion::Eth66) {
            let size = MAX_MESSAGE_SIZE + 1;
            let expected = WireError::TooLarge { message: id.name(), size, limit: MAX_MESSAGE_SIZE };
            assert_eq!(refused, Err(expected));
        }
    }
}

/// What geth answers with at most: receipts of plain transfers up to the soft limit.
#[test]
fn honest_answers_are_within_the_budget() {
    let receipt = |index: u64| {
        let cumulative_gas_used = index * 21_000;
        let fields = ReceiptFields { status: Eip658Value::Eip658(true), cumulative_gas_used, logs: vec![] };
        ReceiptEnvelope::from_typed(TxType::Eip1559, ReceiptWithBloom::from(fields))
    };
    for version in [EthVersion::Eth68, EthVersion::Eth69] {
        for per_block in [220, 1400] {
            let block = (1..=per_block).map(receipt).collect::<Vec<_>>();
            let mut list = ListBuilder::new();
            while !list.is_full() && list.items() < MAX_RESPONSE_ITEMS {
                list.push_receipts(version, &block);
            }
            assert!(list.size() > SOFT_RESPONSE_SIZE * 3 / 4);
            let message = list.finish_with_id(Some(1));
            let decoded = EthMessage::decode(version, EthMessageId::Receipts.code(), &message);
            assert!(decoded.is_ok(), "{version}, {per_block} a block");
        }
    }
}
