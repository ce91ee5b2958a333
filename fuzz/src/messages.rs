//! The messages of `eth` and `snap`.
//!
//! The first byte says which one, so that one corpus holds them all; `QUINTET_FUZZ_MESSAGE` leaves one of them, by
//! its name.

use quintet_eth_wire::{
    EthMessage, EthMessageId, EthVersion, SnapMessage, SnapMessageId, request_id, snap_request_id,
};
use std::sync::LazyLock;

/// Every message of every version, in the order of the first bytes.
pub static ETH: LazyLock<Vec<(EthVersion, EthMessageId)>> = LazyLock::new(|| {
    let of = |version: EthVersion| EthMessageId::ALL.map(|id| (version, id));
    let all = EthVersion::ALL.into_iter().flat_map(of);
    all.filter(|(version, id)| id.exists_in(*version) && is_wanted(id.name())).collect()
});

/// Every message of `snap/1`, in the order of the first bytes.
pub static SNAP: LazyLock<Vec<SnapMessageId>> =
    LazyLock::new(|| SnapMessageId::ALL.into_iter().filter(|id| is_wanted(id.name())).collect());

fn is_wanted(name: &str) -> bool {
    static WANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("QUINTET_FUZZ_MESSAGE").ok());
    WANTED.as_ref().is_none_or(|wanted| wanted == name)
}

fn choose<'a, T: Copy>(from: &[T], data: &'a [u8]) -> Option<(T, &'a [u8])> {
    let (first, rest) = data.split_first()?;
    Some((*from.get(usize::from(*first) % from.len().max(1))?, rest))
}

/// A message of `eth`: what is decoded is encoded to the same bytes, but for broadcast legacy transactions, which may
/// come in two forms.
pub fn eth(data: &[u8]) {
    let Some(((version, id), bytes)) = choose(&ETH, data) else { return };
    let tag = request_id(version, id.code(), bytes);
    let Ok(message) = EthMessage::decode(version, id.code(), bytes) else { return };
    assert_eq!(message.id(), id);
    assert_eq!(tag.is_some(), version.has_request_ids() && id.is_request_or_answer());
    let encoded = message.encode(version);
    if let EthMessage::Transactions(_) = message {
        assert!(encoded.len() <= bytes.len());
        assert_eq!(EthMessage::decode(version, id.code(), &encoded).as_ref(), Ok(&message));
    } else {
        assert_eq!(encoded, bytes, "{version} {}", id.name());
    }
}

/// A message of `snap`: what is decoded is encoded to the same bytes, but for accounts whose defaults were written in
/// full.
pub fn snap(data: &[u8]) {
    let Some((id, bytes)) = choose(&SNAP, data) else { return };
    let tag = snap_request_id(id.code(), bytes);
    let Ok(message) = SnapMessage::decode(id.code(), bytes) else { return };
    assert_eq!(message.id(), id);
    assert_eq!(tag, Some(message.request_id()));
    let encoded = message.encode();
    if let SnapMessage::AccountRange(_) = message {
        assert!(encoded.len() <= bytes.len());
        assert_eq!(SnapMessage::decode(id.code(), &encoded).as_ref(), Ok(&message));
    } else {
        assert_eq!(encoded, bytes, "{}", id.name());
    }
}
