//! Where a peer's chain stands, as far as it tells: by its status first, then by the blocks and ranges that it sends. It is
//! for those who look at the node; nothing is decided by it.
//!
//! What must hold: a message is looked at in the same little time whatever its size, and is no less forwarded for what is
//! wrong with it: `chain`, which reads all of it, judges.

use alloy_primitives::{B256, U256};
use alloy_rlp::{Decodable, Header};
use quintet_eth_wire::{EthMessageId, MAX_TOTAL_DIFFICULTY_BITS, Status};
use quintet_types::BlockRef;

/// Fields of a header between the parent's hash and the difficulty.
const FIELDS_BETWEEN: usize = 6;

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its head. The number is 0 until something tells it: before `eth/69` the status does not.
    pub(crate) block: BlockRef,
    /// Total difficulty up to and with the head; `None` from `eth/69` on.
    pub(crate) total_difficulty: Option<U256>,
    /// The oldest block that it serves; `None` before `eth/69`.
    pub(crate) earliest: Option<u64>,
}

impl Head {
    /// What a status says.
    pub(crate) fn of(status: &Status) -> Self {
        let number = status.range.map_or(0, |range| range.latest);
        let block = BlockRef { number, hash: status.head };
        let earliest = status.range.map(|range| range.earliest);
        Self { block, total_difficulty: status.total_difficulty, earliest }
    }

    /// Takes what a message of the peer tells, if it does.
    pub(crate) fn follow(&mut self, id: EthMessageId, payload: &[u8]) {
        let told = match id {
            EthMessageId::NewBlock => parent_of_new(payload),
            EthMessageId::BlockRangeUpdate => latest_of_range(payload),
            _ => return,
        };
        let Ok(told) = told else { return };
        match (self.total_difficulty, told.total_difficulty) {
            (Some(held), Some(total)) if total > held => *self = told,
            (None, Some(_)) if told.block.number > self.block.number => self.block = told.block,
            (_, None) => (self.block, self.earliest) = (told.block, told.earliest),
            _ => {}
        }
    }
}

/// The parent of the block in a `NewBlock`, which its sender has for certain; the block itself it may not have imported yet.
fn parent_of_new(mut payload: &[u8]) -> alloy_rlp::Result<Head> {
    let mut message = Header::decode_bytes(&mut payload, true)?;
    let mut block = Header::decode_bytes(&mut message, true)?;
    let mut header = Header::decode_bytes(&mut block, true)?;
    let hash = B256::decode(&mut header)?;
    for _ in 0..FIELDS_BETWEEN {
        let Header { payload_length, .. } = Header::decode(&mut header)?;
        header = header.get(payload_length..).ok_or(alloy_rlp::Error::InputTooShort)?;
    }
    let (difficulty, number) = (U256::decode(&mut header)?, u64::decode(&mut header)?);
    let total = U256::decode(&mut message)?;
    if total.bit_len() > MAX_TOTAL_DIFFICULTY_BITS {
        return Err(alloy_rlp::Error::Overflow);
    }
    Ok(Head {
        block: BlockRef { number: number.saturating_sub(1), hash },
        total_difficulty: Some(total.saturating_sub(difficulty)),
        earliest: None,
    })
}

/// The last block of a `BlockRangeUpdate`.
fn latest_of_range(mut payload: &[u8]) -> alloy_rlp::Result<Head> {
    let mut range = Header::decode_bytes(&mut payload, true)?;
    let (earliest, number) = (u64::decode(&mut range)?, u64::decode(&mut range)?);
    let hash = B256::decode(&mut range)?;
    if earliest > number {
        return Err(alloy_rlp::Error::Custom("a range that ends before it begins"));
    }
    Ok(Head { block: BlockRef { number, hash }, total_difficulty: None, earliest: Some(earliest) })
}

#[cfg(test)]
mod tests {
    use super::Head;
    use alloy_primitives::{B256, U256};
    use bytes::{Bytes, BytesMut};
    use quintet_eth_wire::{BlockRange, EthMessage, EthMessageId, EthVersion, NewBlock};
    use quintet_types::{Block, BlockRef, Body, Header};

    fn new_block(number: u64, total_difficulty: U256) -> Bytes {
        let header = Header {
            parent_hash: B256::repeat_byte(7),
            difficulty: U256::from(10),
            number,
            extra_data: vec![1; 40].into(),
            ..Header::default()
        };
        let mut payload = BytesMut::new();
        let block = Block { header, body: Body::default() };
        NewBlock::encode_parts(&block, &total_difficulty, &mut payload);
        payload.freeze()
    }

    fn head(total_difficulty: Option<u64>) -> Head {
        Head {
            block: BlockRef { number: 3, hash: B256::ZERO },
            total_difficulty: total_difficulty.map(U256::from),
            earliest: None,
        }
    }

    #[test]
    fn a_heavier_block_moves_the_head_to_its_parent() {
        let mut told = head(Some(100));
        told.follow(EthMessageId::NewBlock, &new_block(9, U256::from(110)));
        assert_eq!(told, head(Some(100)), "no heavier");
        told.follow(EthMessageId::NewBlock, &new_block(9, U256::from(500)));
        let parent = BlockRef { number: 8, hash: B256::repeat_byte(7) };
        assert_eq!(told, Head { block: parent, total_difficulty: Some(U256::from(490)), earliest: None });
        // Where difficulties are not told, numbers count.
        let mut told = head(None);
        told.follow(EthMessageId::NewBlock, &new_block(4, U256::from(500)));
        assert_eq!(told, head(None));
        told.follow(EthMessageId::NewBlock, &new_block(9, U256::from(500)));
        assert_eq!(told, Head { block: parent, total_difficulty: None, earliest: None });
    }

    #[test]
    fn a_range_moves_the_head() {
        let latest = BlockRef { number: 2, hash: B256::repeat_byte(9) };
        let range = BlockRange { earliest: 1, latest: latest.number, latest_hash: latest.hash };
        let payload = EthMessage::BlockRangeUpdate(range).encode(EthVersion::Eth69);
        let mut told = head(None);
        told.follow(EthMessageId::BlockRangeUpdate, &payload);
        assert_eq!(told, Head { block: latest, total_difficulty: None, earliest: Some(1) });
        let range = BlockRange { earliest: 3, ..range };
        let payload = EthMessage::BlockRangeUpdate(range).encode(EthVersion::Eth69);
        let mut told = head(None);
        told.follow(EthMessageId::BlockRangeUpdate, &payload);
        assert_eq!(told, head(None));
    }

    #[test]
    fn what_is_malformed_or_cut_off_tells_nothing() {
        let whole = new_block(9, U256::from(500));
        for length in 0..whole.len() {
            for id in [EthMessageId::NewBlock, EthMessageId::BlockRangeUpdate, EthMessageId::Transactions] {
                let mut told = head(Some(100));
                told.follow(id, &whole[..length]);
                assert_eq!(told, head(Some(100)), "{length} bytes as {id:?}");
            }
        }
        let mut told = head(Some(100));
        told.follow(EthMessageId::NewBlock, &new_block(9, U256::ONE << 100));
        assert_eq!(told, head(Some(100)), "no chain has that difficulty");
    }
}
