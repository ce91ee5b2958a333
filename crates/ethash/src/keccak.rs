//! Keccak-512 over the few lengths that Ethash hashes.

use crate::mix::Item;
use alloy_primitives::B256;
use keccak_asm::Keccak512;

/// Keccak-512 of an item's 64 bytes.
pub(crate) fn keccak512(item: &Item) -> Item {
    let hash: [u8; 64] = Keccak512::digest(item.to_bytes()).into();
    Item::from_bytes(&hash)
}

/// Keccak-512 of 32 bytes: the first item of a cache.
pub(crate) fn keccak512_seed(seed: &B256) -> Item {
    let hash: [u8; 64] = Keccak512::digest(seed).into();
    Item::from_bytes(&hash)
}

/// Keccak-512 of 32 bytes and a nonce, little-endian: the start of a hash.
pub(crate) fn keccak512_nonce(hash: &B256, nonce: u64) -> Item {
    let mut bytes = [0; 40];
    let (head, tail) = bytes.split_at_mut(32);
    head.copy_from_slice(hash.as_slice());
    tail.copy_from_slice(&nonce.to_le_bytes());
    let hash: [u8; 64] = Keccak512::digest(bytes).into();
    Item::from_bytes(&hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;

    /// Of the bytes 0, 1, 2, … by a straightforward implementation of FIPS 202 with Keccak's padding.
    #[test]
    fn known_hashes() {
        let bytes: [u8; 64] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let first: B256 = B256::from_slice(&bytes[..32]);
        let nonce = u64::from_le_bytes(bytes[32..40].try_into().unwrap());
        let of_item = hex!(
            "59bff1edb37c403bea6387e283c5d4d8878246592807d22328fbc11ec1e029cd"
            "b6659300529849189ad647fde9ad4a8918202ba310b936ac6a1d477e4284ac4b"
        );
        let of_seed = hex!(
            "1414d219f4863f278acca4a4b5149298e2ec4f001d83f5f6e09fb14d7b47732e"
            "9ee6aaccbebedf2092b9cb209694b7eb8e7e36bbec9f9866a031d8901f891099"
        );
        let of_nonce = hex!(
            "7f246272b31fe54b37bb72f53188e0deb6767ea9c0a1cf752519d7e91c5b8cff"
            "b2994348aa07c7016ac65b14483b40ca3187a5d202f730e16a284fbfa8cbdb52"
        );
        assert_eq!(keccak512(&Item::from_bytes(&bytes)).to_bytes(), of_item);
        assert_eq!(keccak512_seed(&first).to_bytes(), of_seed);
        assert_eq!(keccak512_nonce(&first, nonce).to_bytes(), of_nonce);
    }
}
