//! The public networks, embedded. `res/README.md` says where the files come from.

use crate::{ChainSpec, ChainSpecError, Genesis, GenesisAccount};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::{Decodable, RlpDecodable};
use std::collections::BTreeMap;

/// The names that [`ChainSpec::preset`] knows.
pub const PRESETS: [&str; 7] = ["mainnet", "sepolia", "holesky", "hoodi", "goerli", "ropsten", "rinkeby"];

/// The key that signs the DNS node lists of the Ethereum networks (EIP-1459).
const DNS_KEY: &str = "AKA3AM6LPBYEUDMVNU3BSVQJ5AD45Y7YPOHJLEF6W26QOE4VTUDPE";

struct Files {
    genesis: &'static str,
    alloc: &'static [u8],
    bootnodes: &'static str,
}

macro_rules! files {
    ($network:literal) => {
        Files {
            genesis: include_str!(concat!("../res/", $network, "/genesis.json")),
            alloc: include_bytes!(concat!("../res/", $network, "/alloc.rlp")),
            bootnodes: include_str!(concat!("../res/", $network, "/bootnodes.txt")),
        }
    };
}

fn files(name: &str) -> Option<(&'static str, Files)> {
    let files = match name {
        "mainnet" => files!("mainnet"),
        "sepolia" => files!("sepolia"),
        "holesky" => files!("holesky"),
        "hoodi" => files!("hoodi"),
        "goerli" => files!("goerli"),
        "ropsten" => files!("ropsten"),
        "rinkeby" => files!("rinkeby"),
        _ => return None,
    };
    PRESETS.into_iter().find(|preset| *preset == name).map(|name| (name, files))
}

/// One account of `alloc.rlp`.
#[derive(RlpDecodable)]
struct ListedAccount {
    address: Address,
    balance: U256,
    nonce: u64,
    code: Bytes,
    storage: Vec<ListedSlot>,
}

#[derive(RlpDecodable)]
struct ListedSlot {
    slot: U256,
    value: U256,
}

impl ChainSpec {
    /// A public network by its name, one of [`PRESETS`].
    ///
    /// # Errors
    /// [`ChainSpecError::UnknownNetwork`] for any other name.
    pub fn preset(name: &str) -> Result<Self, ChainSpecError> {
        let (name, files) = files(name).ok_or_else(|| ChainSpecError::UnknownNetwork(name.to_owned()))?;
        let mut genesis = Genesis::from_json(files.genesis)?;
        genesis.alloc = decode_alloc(files.alloc)
            .map_err(|source| ChainSpecError::PresetAlloc { network: name, source })?;
        let mut spec = Self::new(genesis)?;
        spec.name = Some(name);
        Ok(spec)
    }

    /// The preset's bootnodes, as enode URLs; empty for other networks.
    pub fn bootnodes(&self) -> Vec<&'static str> {
        self.name.and_then(files).map(|(_, files)| files.bootnodes.lines().collect()).unwrap_or_default()
    }

    /// The preset's DNS node list (EIP-1459), as an `enrtree` URL; `None` for other networks.
    pub fn dns_node_list(&self) -> Option<String> {
        let name = self.name.filter(|name| PRESETS.contains(name))?;
        Some(format!("enrtree://{DNS_KEY}@all.{name}.ethdisco.net"))
    }
}

fn decode_alloc(mut bytes: &[u8]) -> Result<BTreeMap<Address, GenesisAccount>, alloy_rlp::Error> {
    let listed = Vec::<ListedAccount>::decode(&mut bytes)?;
    Ok(listed.into_iter().map(|account| (account.address, genesis_account(account))).collect())
}

fn genesis_account(listed: ListedAccount) -> GenesisAccount {
    let slots = listed.storage.into_iter().map(|slot| (B256::from(slot.slot), B256::from(slot.value)));
    let storage: BTreeMap<B256, B256> = slots.collect();
    GenesisAccount {
        nonce: Some(listed.nonce).filter(|nonce| *nonce != 0),
        balance: listed.balance,
        code: Some(listed.code).filter(|code| !code.is_empty()),
        storage: Some(storage).filter(|storage| !storage.is_empty()),
        ..GenesisAccount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{b256, hex};

    #[test]
    fn genesis_hashes_are_the_networks() {
        let expected = [
            ("mainnet", b256!("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3")),
            ("sepolia", b256!("25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9")),
            ("holesky", b256!("b5f7f912443c940f21fd611f12828d75b534364ed9e95ca4e307729a4661bde4")),
            ("hoodi", b256!("bbe312868b376a3001692a646dd2d7d1e4406380dfd86b98aa8a34d1557c971b")),
            ("goerli", b256!("bf7e331f7f7c1dd2e05159666b3bf8bc7a8a3a9eb1d518969eab529dd9b88c1a")),
            ("ropsten", b256!("41941023680923e0fe4d74a34bdac8141f2540e3ae90623718e47d66d1ca4a2d")),
            ("rinkeby", b256!("6341fd3daf94b748c72ced5a5b26028f2474f5f00d824504e4fa37a75767e177")),
        ];
        assert_eq!(expected.map(|(name, _)| name), PRESETS);
        for (name, hash) in expected {
            let spec = ChainSpec::preset(name).unwrap();
            assert_eq!(spec.genesis_hash(), hash, "{name}");
            assert!(!spec.bootnodes().is_empty(), "{name}");
        }
        assert!(matches!(ChainSpec::preset("morden"), Err(ChainSpecError::UnknownNetwork(_))));
    }

    #[test]
    fn bootnodes_are_enode_urls() {
        for name in PRESETS {
            for url in ChainSpec::preset(name).unwrap().bootnodes() {
                let (id, address) = url.strip_prefix("enode://").unwrap().split_once('@').unwrap();
                assert_eq!(hex::decode(id).unwrap().len(), 64, "{url}");
                address.parse::<std::net::SocketAddr>().unwrap();
            }
        }
    }
}
