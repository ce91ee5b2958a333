//! Random messages of every kind, as proptest strategies.

use alloy_consensus::{
    Eip658Value, EthereumTxEnvelope, Header, Receipt as ReceiptFields, ReceiptEnvelope, ReceiptWithBloom,
    Signed, TxEip1559, TxEip2930, TxEip4844, TxEip4844Variant, TxEip4844WithSidecar, TxEip7702, TxEnvelope,
    TxLegacy, TxType,
};
use alloy_eip2124::{ForkHash, ForkId};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip4844::{Blob, BlobTransactionSidecar, Bytes48};
use alloy_eips::eip4895::Withdrawal;
use alloy_eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, Log, Signature, TxKind, U256};
use proptest::prelude::*;
use quintet_eth_wire::{
    BlockHashNumber, BlockRange, ChainStatus, EthMessage, EthMessageId, EthVersion, GetBlockHeaders,
    HashOrNumber, NewBlock, PooledHashes, Status, Tagged,
};
use quintet_types::{Block, Body, Receipt, Transaction};

pub(crate) fn b256() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::from)
}

pub(crate) fn bytes(longest: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..longest).prop_map(Bytes::from)
}

fn few<T: std::fmt::Debug>(item: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(item, 0..4)
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address::from)
}

pub(crate) fn u256() -> impl Strategy<Value = U256> {
    (any::<[u8; 32]>(), 0_usize..257).prop_map(|(bytes, shift)| U256::from_be_bytes(bytes) >> shift)
}

/// A total difficulty that a chain can have.
fn difficulty() -> impl Strategy<Value = U256> {
    (any::<u128>(), 28_usize..128).prop_map(|(bits, shift)| U256::from(bits >> shift))
}

fn header() -> impl Strategy<Value = Header> {
    let forks = 0_usize..7;
    ((b256(), b256(), address(), b256()), (u256(), any::<u64>(), any::<u64>(), bytes(32)), b256(), forks)
        .prop_map(|((parent, ommers, beneficiary, root), (difficulty, number, gas, extra), hash, forks)| {
            let from = |fork, value: u64| (forks >= fork).then_some(value);
            let hash_from = |fork| (forks >= fork).then_some(hash);
            Header {
                parent_hash: parent,
                ommers_hash: ommers,
                beneficiary,
                state_root: root,
                difficulty,
                number,
                gas_limit: gas,
                extra_data: extra,
                mix_hash: hash,
                base_fee_per_gas: from(1, gas),
                withdrawals_root: hash_from(2),
                blob_gas_used: from(3, gas),
                excess_blob_gas: from(4, number),
                parent_beacon_block_root: hash_from(5),
                requests_hash: hash_from(6),
                ..Header::default()
            }
        })
}

fn signature() -> impl Strategy<Value = Signature> {
    (u256(), u256(), any::<bool>()).prop_map(|(r, s, parity)| Signature::new(r, s, parity))
}

fn access_list() -> impl Strategy<Value = AccessList> {
    let item =
        (address(), few(b256())).prop_map(|(address, storage_keys)| AccessListItem { address, storage_keys });
    few(item).prop_map(AccessList)
}

fn authorization() -> impl Strategy<Value = SignedAuthorization> {
    (u256(), address(), any::<u64>(), any::<bool>(), u256(), u256()).prop_map(
        |(chain_id, address, nonce, parity, r, s)| {
            let authorization = Authorization { chain_id, address, nonce };
            SignedAuthorization::new_unchecked(authorization, u8::from(parity), r, s)
        },
    )
}

/// What the types of transactions have in common.
#[derive(Clone, Debug)]
struct Common {
    chain_id: u64,
    nonce: u64,
    gas: u64,
    fee: u128,
    to: Option<Address>,
    value: U256,
    input: Bytes,
    access_list: AccessList,
}

fn common() -> impl Strategy<Value = Common> {
    let numbers = (0..u64::from(u32::MAX), any::<u64>(), any::<u64>(), any::<u128>());
    (numbers, prop::option::of(address()), u256(), bytes(100), access_list()).prop_map(
        |((chain_id, nonce, gas, fee), to, value, input, access_list)| Common {
            chain_id,
            nonce,
            gas,
            fee,
            to,
            value,
            input,
            access_list,
        },
    )
}

fn blob_transaction(of: Common, hashes: Vec<B256>) -> TxEip4844 {
    TxEip4844 {
        chain_id: of.chain_id,
        nonce: of.nonce,
        gas_limit: of.gas,
        max_fee_per_gas: of.fee,
        max_priority_fee_per_gas: of.fee >> 1,
        to: of.to.unwrap_or_default(),
        value: of.value,
        access_list: of.access_list,
        blob_versioned_hashes: hashes,
        max_fee_per_blob_gas: of.fee,
        input: of.input,
    }
}

/// A transaction of any type that has no blobs; `B` is what one with blobs would be.
fn blobless<B: std::fmt::Debug + 'static>() -> impl Strategy<Value = EthereumTxEnvelope<B>> {
    let authorizations = few(authorization());
    (0_u8..5, common(), signature(), any::<bool>(), authorizations).prop_map(
        |(kind, of, signature, protected, authorization_list)| {
            let to = of.to.map_or(TxKind::Create, TxKind::Call);
            let Common { chain_id, nonce, gas: gas_limit, fee, value, input, access_list, .. } = of;
            match kind {
                0 => {
                    let chain_id = protected.then_some(chain_id);
                    let tx = TxLegacy { chain_id, nonce, gas_price: fee, gas_limit, to, value, input };
                    EthereumTxEnvelope::Legacy(Signed::new_unhashed(tx, signature))
                }
                1 => {
                    let tx = TxEip2930 {
                        chain_id,
                        nonce,
                        gas_price: fee,
                        gas_limit,
                        to,
                        value,
                        access_list,
                        input,
                    };
                    EthereumTxEnvelope::Eip2930(Signed::new_unhashed(tx, signature))
                }
                2 | 3 => {
                    let tx = TxEip1559 {
                        chain_id,
                        nonce,
                        gas_limit,
                        max_fee_per_gas: fee,
                        max_priority_fee_per_gas: fee >> 3,
                        to,
                        value,
                        access_list,
                        input,
                    };
                    EthereumTxEnvelope::Eip1559(Signed::new_unhashed(tx, signature))
                }
                _ => {
                    let tx = TxEip7702 {
                        chain_id,
                        nonce,
                        gas_limit,
                        max_fee_per_gas: fee,
                        max_priority_fee_per_gas: fee >> 3,
                        to: of.to.unwrap_or_default(),
                        value,
                        access_list,
                        authorization_list,
                        input,
                    };
                    EthereumTxEnvelope::Eip7702(Signed::new_unhashed(tx, signature))
                }
            }
        },
    )
}

/// A transaction as blocks have it.
fn block_transaction() -> impl Strategy<Value = Transaction> {
    let blob = (common(), few(b256()), signature()).prop_map(|(of, hashes, signature)| {
        EthereumTxEnvelope::Eip4844(Signed::new_unhashed(blob_transaction(of, hashes), signature))
    });
    prop_oneof![4 => blobless(), 1 => blob]
}

/// A blob transaction with its sidecar, of EIP-4844 or of EIP-7594.
pub(crate) fn with_sidecar() -> impl Strategy<Value = TxEnvelope> {
    (common(), few(b256()), signature(), any::<u8>(), any::<bool>()).prop_map(
        |(of, hashes, signature, byte, cells)| {
            let (blob, field) = (vec![Blob::repeat_byte(byte)], vec![Bytes48::repeat_byte(byte)]);
            let sidecar = if cells {
                let proofs = vec![Bytes48::repeat_byte(byte); 128];
                BlobTransactionSidecarVariant::Eip7594(BlobTransactionSidecarEip7594::new(
                    blob, field, proofs,
                ))
            } else {
                let sidecar =
                    BlobTransactionSidecar { blobs: blob, commitments: field.clone(), proofs: field };
                BlobTransactionSidecarVariant::Eip4844(sidecar)
            };
            let tx = TxEip4844WithSidecar { tx: blob_transaction(of, hashes), sidecar };
            let variant = TxEip4844Variant::TxEip4844WithSidecar(tx);
            EthereumTxEnvelope::Eip4844(Signed::new_unhashed(variant, signature))
        },
    )
}

/// A blob transaction without its sidecar, which no message of the pool may have.
pub(crate) fn without_sidecar() -> impl Strategy<Value = TxEnvelope> {
    (common(), few(b256()), signature()).prop_map(|(of, hashes, signature)| {
        let variant = TxEip4844Variant::TxEip4844(blob_transaction(of, hashes));
        EthereumTxEnvelope::Eip4844(Signed::new_unhashed(variant, signature))
    })
}

fn body() -> impl Strategy<Value = Body> {
    let withdrawal = (any::<u64>(), any::<u64>(), address(), any::<u64>()).prop_map(
        |(index, validator_index, address, amount)| Withdrawal { index, validator_index, address, amount },
    );
    (few(block_transaction()), few(header()), prop::option::of(few(withdrawal))).prop_map(
        |(transactions, ommers, withdrawals)| Body {
            transactions,
            ommers,
            withdrawals: withdrawals.map(Into::into),
        },
    )
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let status =
        prop_oneof![any::<bool>().prop_map(Eip658Value::Eip658), b256().prop_map(Eip658Value::PostState),];
    let log = (address(), few(b256()), bytes(80))
        .prop_map(|(address, topics, data)| Log::new_unchecked(address, topics, data));
    (0_u8..5, status, any::<u64>(), few(log)).prop_map(|(kind, status, cumulative_gas_used, logs)| {
        let receipt = ReceiptWithBloom::from(ReceiptFields { status, cumulative_gas_used, logs });
        ReceiptEnvelope::from_typed(TxType::try_from(kind).unwrap(), receipt)
    })
}

fn range() -> impl Strategy<Value = BlockRange> {
    (any::<u64>(), any::<u64>(), b256()).prop_map(|(one, other, latest_hash)| BlockRange {
        earliest: one.min(other),
        latest: one.max(other),
        latest_hash,
    })
}

fn status(version: EthVersion) -> impl Strategy<Value = Status> {
    (any::<u64>(), b256(), any::<(u32, u64)>(), difficulty(), range()).prop_map(
        move |(network_id, genesis, (hash, next), total_difficulty, range)| {
            let fork_id = ForkId { hash: ForkHash(hash.to_be_bytes()), next };
            Status::new(version, &ChainStatus { network_id, genesis, fork_id, total_difficulty, range })
        },
    )
}

fn announcement(version: EthVersion) -> impl Strategy<Value = PooledHashes> {
    prop::collection::vec((b256(), any::<u8>(), any::<u32>()), 0..70).prop_map(move |announced| {
        let mut pooled = PooledHashes::default();
        for (hash, kind, size) in announced {
            if version.has_typed_announcements() {
                pooled.push(hash, kind, size);
            } else {
                pooled.hashes.push(hash);
            }
        }
        pooled
    })
}

fn headers_query() -> impl Strategy<Value = GetBlockHeaders> {
    let start = prop_oneof![b256().prop_map(HashOrNumber::Hash), any::<u64>().prop_map(HashOrNumber::Number)];
    (start, any::<u64>(), any::<u64>(), any::<bool>())
        .prop_map(|(start, limit, skip, reverse)| GetBlockHeaders { start, limit, skip, reverse })
}

fn new_block() -> impl Strategy<Value = NewBlock> {
    (header(), body(), difficulty()).prop_map(|(header, body, total_difficulty)| NewBlock {
        block: Block { header, body },
        total_difficulty,
    })
}

/// Any message with this code that `version` has.
pub(crate) fn message(version: EthVersion, id: EthMessageId) -> BoxedStrategy<EthMessage> {
    let ids = version.has_request_ids();
    let tag = move || any::<u64>().prop_map(move |id| if ids { id } else { 0 });
    let hashes = || (tag(), few(b256())).prop_map(|(id, body)| Tagged { id, body });
    match id {
        EthMessageId::Status => status(version).prop_map(EthMessage::Status).boxed(),
        EthMessageId::NewBlockHashes => few((b256(), any::<u64>()))
            .prop_map(|blocks| {
                let block = |(hash, number)| BlockHashNumber { hash, number };
                EthMessage::NewBlockHashes(blocks.into_iter().map(block).collect())
            })
            .boxed(),
        EthMessageId::Transactions => few(blobless()).prop_map(EthMessage::Transactions).boxed(),
        EthMessageId::GetBlockHeaders => (tag(), headers_query())
            .prop_map(|(id, body)| EthMessage::GetBlockHeaders(Tagged { id, body }))
            .boxed(),
        EthMessageId::BlockHeaders => (tag(), few(header()))
            .prop_map(|(id, body)| EthMessage::BlockHeaders(Tagged { id, body }))
            .boxed(),
        EthMessageId::GetBlockBodies => hashes().prop_map(EthMessage::GetBlockBodies).boxed(),
        EthMessageId::BlockBodies => {
            (tag(), few(body())).prop_map(|(id, body)| EthMessage::BlockBodies(Tagged { id, body })).boxed()
        }
        EthMessageId::NewBlock => new_block().prop_map(|new| EthMessage::NewBlock(Box::new(new))).boxed(),
        EthMessageId::NewPooledTransactionHashes => {
            announcement(version).prop_map(EthMessage::NewPooledTransactionHashes).boxed()
        }
        EthMessageId::GetPooledTransactions => hashes().prop_map(EthMessage::GetPooledTransactions).boxed(),
        EthMessageId::PooledTransactions => {
            let any_type = prop_oneof![9 => blobless(), 1 => with_sidecar()];
            (tag(), few(any_type))
                .prop_map(|(id, body)| EthMessage::PooledTransactions(Tagged { id, body }))
                .boxed()
        }
        EthMessageId::GetNodeData => hashes().prop_map(EthMessage::GetNodeData).boxed(),
        EthMessageId::NodeData => {
            (tag(), few(bytes(600))).prop_map(|(id, body)| EthMessage::NodeData(Tagged { id, body })).boxed()
        }
        EthMessageId::GetReceipts => hashes().prop_map(EthMessage::GetReceipts).boxed(),
        EthMessageId::Receipts => (tag(), few(few(receipt())))
            .prop_map(|(id, body)| EthMessage::Receipts(Tagged { id, body }))
            .boxed(),
        EthMessageId::BlockRangeUpdate => range().prop_map(EthMessage::BlockRangeUpdate).boxed(),
    }
}
