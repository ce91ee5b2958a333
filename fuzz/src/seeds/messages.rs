//! One sample of every message of every version, and real blocks in those that carry them.

use super::{Vectors, content};
use crate::messages::{ETH, SNAP};
use alloy_consensus::transaction::RlpEcdsaEncodableTx;
use alloy_consensus::{
    Eip658Value, EthereumTxEnvelope, Receipt as ReceiptFields, ReceiptEnvelope, ReceiptWithBloom, Signed,
    TxEip1559, TxEip2930, TxEip4844, TxEip4844Variant, TxEip4844WithSidecar, TxEip7702, TxEnvelope, TxLegacy,
    TxType,
};
use alloy_eip2124::{ForkHash, ForkId};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip4844::BlobTransactionSidecar;
use alloy_eips::eip4895::Withdrawal;
use alloy_eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, Log, Signature, U256, hex};
use alloy_rlp::Decodable;
use quintet_eth_wire::{
    AccountData, AccountRange, BlockHashNumber, BlockRange, ByteCodes, ChainStatus, EthMessage, EthMessageId,
    EthVersion, GetAccountRange, GetBlockHeaders, GetByteCodes, GetStorageRanges, GetTrieNodes, HashOrNumber,
    ListBuilder, NewBlock, PooledHashes, SlimAccount, SlotData, SnapMessage, SnapMessageId, Status,
    StorageRanges, Tagged, TrieNodes,
};
use quintet_types::{Block, Body, Header, Receipt};

const HASH: B256 = B256::repeat_byte(0xab);
const ADDRESS: Address = Address::repeat_byte(0xcd);

/// Seeds begin with the byte that chooses the message.
pub(super) fn eth(vectors: &Vectors) -> Vec<Vec<u8>> {
    let blocks = blocks(vectors);
    let mut seeds = Vec::new();
    for (index, (version, id)) in (0_u8..=u8::MAX).zip(ETH.iter().copied()) {
        let messages = [sample(version, id)].into_iter().chain(recorded(vectors, version, id));
        let carriers = blocks.iter().filter_map(|block| carrier(version, id, block));
        seeds.extend(messages.chain(carriers).map(|bytes| [&[index][..], &bytes].concat()));
    }
    seeds
}

/// Besu's messages of `eth/66`.
fn recorded(vectors: &Vectors, version: EthVersion, id: EthMessageId) -> Vec<Vec<u8>> {
    if version != EthVersion::Eth66 {
        return Vec::new();
    }
    let packets = vectors.bytes(&format!("eth66-messages/{}Packet66.json", id.name()));
    packets.into_iter().filter(|bytes| EthMessage::decode(version, id.code(), bytes).is_ok()).collect()
}

/// Real blocks that are small, and the first transactions of larger ones, so that every kind of them is there.
fn blocks(vectors: &Vectors) -> Vec<Block> {
    let mut blocks = Vec::new();
    for path in vectors.files(".blocks") {
        let bytes = content(&path);
        blocks.extend(Block::decode(&mut bytes.as_slice()));
    }
    for path in vectors.files(".yaml") {
        let text = String::from_utf8(content(&path)).expect("text");
        let field = |name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            hex::decode(line.trim_matches([':', ' ', '"'])).expect("hexadecimal")
        };
        let mut list = ListBuilder::new();
        list.push_rlp(&field("body"));
        let header = Header::decode(&mut field("header").as_slice());
        let bodies = EthMessage::decode(EthVersion::Eth63, EthMessageId::BlockBodies.code(), &list.finish());
        if let (Ok(header), Ok(EthMessage::BlockBodies(bodies))) = (header, bodies) {
            blocks.extend(bodies.body.into_iter().map(|body| Block { header: header.clone(), body }));
        }
    }
    for block in &mut blocks {
        block.body.transactions.truncate(6);
    }
    blocks
}

/// The block in a message that carries blocks.
fn carrier(version: EthVersion, id: EthMessageId, block: &Block) -> Option<Vec<u8>> {
    let message = match id {
        EthMessageId::NewBlock => {
            let total_difficulty = U256::from(block.header.number);
            EthMessage::NewBlock(Box::new(NewBlock { block: block.clone(), total_difficulty }))
        }
        EthMessageId::BlockHeaders => EthMessage::BlockHeaders(tagged(vec![block.header.clone()])),
        EthMessageId::BlockBodies => EthMessage::BlockBodies(tagged(vec![block.body.clone()])),
        _ => return None,
    };
    Some(message.encode(version).to_vec())
}

const fn tagged<T>(body: T) -> Tagged<T> {
    Tagged { id: 1111, body }
}

fn sample(version: EthVersion, id: EthMessageId) -> Vec<u8> {
    let range = BlockRange { earliest: 0, latest: 100, latest_hash: HASH };
    let message = match id {
        EthMessageId::Status => {
            let fork_id = ForkId { hash: ForkHash([0xfc, 0x64, 0xec, 0x04]), next: 1_150_000 };
            let total_difficulty = U256::from(0x20_0000);
            let chain = ChainStatus { network_id: 1, genesis: HASH, fork_id, total_difficulty, range };
            EthMessage::Status(Status::new(version, &chain))
        }
        EthMessageId::NewBlockHashes => {
            EthMessage::NewBlockHashes(vec![BlockHashNumber { hash: HASH, number: 101 }; 2])
        }
        EthMessageId::Transactions => EthMessage::Transactions(transactions()),
        EthMessageId::GetBlockHeaders => {
            let start = HashOrNumber::Number(90);
            EthMessage::GetBlockHeaders(tagged(GetBlockHeaders { start, limit: 3, skip: 7, reverse: true }))
        }
        EthMessageId::BlockHeaders => EthMessage::BlockHeaders(tagged(vec![header(0), header(6)])),
        EthMessageId::GetBlockBodies => EthMessage::GetBlockBodies(tagged(vec![HASH; 2])),
        EthMessageId::BlockBodies => EthMessage::BlockBodies(tagged(vec![body(), Body::default()])),
        EthMessageId::NewBlock => {
            let block = Block { header: header(2), body: body() };
            EthMessage::NewBlock(Box::new(NewBlock { block, total_difficulty: U256::from(5) }))
        }
        EthMessageId::NewPooledTransactionHashes => {
            let hashes = vec![HASH; 2];
            let typed = version.has_typed_announcements();
            let (types, sizes) = if typed { (vec![0, 3], vec![120, 140_000]) } else { Default::default() };
            EthMessage::NewPooledTransactionHashes(PooledHashes { hashes, types, sizes })
        }
        EthMessageId::GetPooledTransactions => EthMessage::GetPooledTransactions(tagged(vec![HASH; 2])),
        EthMessageId::PooledTransactions => {
            let blobs = [false, true].map(|cells| blob_transaction(TxEip4844Variant::from(sidecar(cells))));
            let all = transactions().into_iter().chain(blobs);
            EthMessage::PooledTransactions(tagged(all.collect()))
        }
        EthMessageId::GetNodeData => EthMessage::GetNodeData(tagged(vec![HASH; 2])),
        EthMessageId::NodeData => EthMessage::NodeData(tagged(vec![Bytes::from("node"), Bytes::new()])),
        EthMessageId::GetReceipts => EthMessage::GetReceipts(tagged(vec![HASH; 2])),
        EthMessageId::Receipts => EthMessage::Receipts(tagged(vec![receipts(), vec![]])),
        EthMessageId::BlockRangeUpdate => EthMessage::BlockRangeUpdate(range),
    };
    message.encode(version).to_vec()
}

fn header(forks: u8) -> Header {
    let at = |fork, value: u64| (forks >= fork).then_some(value);
    Header {
        parent_hash: HASH,
        number: 100,
        extra_data: Bytes::from("extra"),
        base_fee_per_gas: at(1, 7),
        withdrawals_root: at(2, 0).map(|_| HASH),
        blob_gas_used: at(3, 0x2_0000),
        excess_blob_gas: at(4, 0),
        parent_beacon_block_root: at(5, 0).map(|_| HASH),
        requests_hash: at(6, 0).map(|_| HASH),
        ..Header::default()
    }
}

fn body() -> Body {
    let bare = blob_transaction(blob());
    let transactions = transactions().into_iter().map(|transaction| match transaction {
        TxEnvelope::Legacy(signed) => EthereumTxEnvelope::Legacy(signed),
        TxEnvelope::Eip2930(signed) => EthereumTxEnvelope::Eip2930(signed),
        TxEnvelope::Eip1559(signed) => EthereumTxEnvelope::Eip1559(signed),
        TxEnvelope::Eip7702(signed) => EthereumTxEnvelope::Eip7702(signed),
        TxEnvelope::Eip4844(_) => unreachable!("none of them has blobs"),
    });
    let withdrawal = Withdrawal { index: 1, validator_index: 2, address: ADDRESS, amount: 3 };
    Body {
        transactions: transactions.chain([bare]).collect(),
        ommers: vec![header(0)],
        withdrawals: Some(vec![withdrawal].into()),
    }
}

fn signature() -> Signature {
    Signature::new(U256::from(1) << 200, U256::from(2) << 190, true)
}

fn access_list() -> AccessList {
    AccessList(vec![AccessListItem { address: ADDRESS, storage_keys: vec![HASH] }])
}

/// One of each type that has no blobs, the legacy one with and without a chain's id.
fn transactions() -> Vec<TxEnvelope> {
    let (value, input) = (U256::from(9), Bytes::from("input"));
    let authorization = Authorization { chain_id: U256::from(1), address: ADDRESS, nonce: 4 };
    let authorization = SignedAuthorization::new_unchecked(authorization, 1, U256::from(5), U256::from(6));
    let legacy = TxLegacy { gas_limit: 21_000, value, input: input.clone(), ..TxLegacy::default() };
    let protected = TxLegacy { chain_id: Some(1), to: ADDRESS.into(), ..legacy.clone() };
    let eip2930 = TxEip2930 { chain_id: 1, access_list: access_list(), ..TxEip2930::default() };
    let eip1559 = TxEip1559 { chain_id: 1, to: ADDRESS.into(), value, input, ..TxEip1559::default() };
    let authorization_list = vec![authorization];
    let eip7702 = TxEip7702 { chain_id: 1, to: ADDRESS, authorization_list, ..TxEip7702::default() };
    vec![
        TxEnvelope::Legacy(Signed::new_unhashed(legacy, signature())),
        TxEnvelope::Legacy(Signed::new_unhashed(protected, signature())),
        TxEnvelope::Eip2930(Signed::new_unhashed(eip2930, signature())),
        TxEnvelope::Eip1559(Signed::new_unhashed(eip1559, signature())),
        TxEnvelope::Eip7702(Signed::new_unhashed(eip7702, signature())),
    ]
}

fn blob() -> TxEip4844 {
    TxEip4844 { chain_id: 1, blob_versioned_hashes: vec![HASH], ..TxEip4844::default() }
}

/// Without blobs, which would be 128 KiB each.
fn sidecar(cells: bool) -> TxEip4844WithSidecar<BlobTransactionSidecarVariant> {
    let sidecar = if cells {
        BlobTransactionSidecarVariant::Eip7594(BlobTransactionSidecarEip7594::default())
    } else {
        BlobTransactionSidecarVariant::Eip4844(BlobTransactionSidecar::default())
    };
    TxEip4844WithSidecar { tx: blob(), sidecar }
}

fn blob_transaction<T: RlpEcdsaEncodableTx>(transaction: T) -> EthereumTxEnvelope<T> {
    EthereumTxEnvelope::Eip4844(Signed::new_unhashed(transaction, signature()))
}

fn receipts() -> Vec<Receipt> {
    let log = Log::new_unchecked(ADDRESS, vec![HASH; 2], Bytes::from("data"));
    let statuses = [Eip658Value::PostState(HASH), Eip658Value::Eip658(true), Eip658Value::Eip658(false)];
    let receipt = |(kind, status)| {
        let fields = ReceiptFields { status, cumulative_gas_used: 21_000, logs: vec![log.clone()] };
        ReceiptEnvelope::from_typed(kind, ReceiptWithBloom::from(fields))
    };
    [TxType::Legacy, TxType::Eip1559, TxType::Eip7702].into_iter().zip(statuses).map(receipt).collect()
}

/// Seeds begin with the byte that chooses the message.
pub(super) fn snap() -> Vec<Vec<u8>> {
    let numbered = (0_u8..=u8::MAX).zip(SNAP.iter().copied());
    numbered.map(|(index, id)| [&[index][..], &snap_sample(id).encode()].concat()).collect()
}

fn snap_sample(id: SnapMessageId) -> SnapMessage {
    let (code, bytes, root) = (id, 512 * 1024, HASH);
    let id = 77;
    let proof = vec![Bytes::from("node"), Bytes::from(vec![9; 60])];
    match code {
        SnapMessageId::GetAccountRange => {
            let limit = B256::repeat_byte(0xff);
            SnapMessage::GetAccountRange(GetAccountRange { id, root, origin: B256::ZERO, limit, bytes })
        }
        SnapMessageId::AccountRange => {
            let plain = SlimAccount {
                nonce: 1,
                balance: U256::from(7),
                storage_root: alloy_consensus::constants::EMPTY_ROOT_HASH,
                code_hash: alloy_primitives::KECCAK256_EMPTY,
            };
            let contract = SlimAccount { storage_root: HASH, code_hash: HASH, ..plain };
            let accounts = [plain, contract].map(|account| AccountData { hash: HASH, account });
            SnapMessage::AccountRange(AccountRange { id, accounts: accounts.into(), proof })
        }
        SnapMessageId::GetStorageRanges => {
            let (accounts, origin) = (vec![HASH], Some(HASH));
            let request = GetStorageRanges { id, root, accounts, origin, limit: None, bytes };
            SnapMessage::GetStorageRanges(request)
        }
        SnapMessageId::StorageRanges => {
            let slot = SlotData { hash: HASH, data: Bytes::from(vec![0x82, 1, 2]) };
            SnapMessage::StorageRanges(StorageRanges {
                id,
                slots: vec![vec![slot.clone(), slot], vec![]],
                proof,
            })
        }
        SnapMessageId::GetByteCodes => {
            SnapMessage::GetByteCodes(GetByteCodes { id, hashes: vec![HASH; 2], bytes })
        }
        SnapMessageId::ByteCodes => SnapMessage::ByteCodes(ByteCodes { id, codes: proof }),
        SnapMessageId::GetTrieNodes => {
            let paths = vec![vec![Bytes::from(vec![0x11, 0x22])], vec![HASH.into(), Bytes::from(vec![0])]];
            SnapMessage::GetTrieNodes(GetTrieNodes { id, root, paths, bytes })
        }
        SnapMessageId::TrieNodes => SnapMessage::TrieNodes(TrieNodes { id, nodes: proof }),
    }
}
