//! The genesis file: geth's `genesis.json`, read and written.

use crate::config::read_config;
use crate::json::{Object, address, storage_word, string};
use crate::{ChainConfig, ChainSpecError, GenesisAccount};
use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A genesis file's contents. The block and the state that follow from it are methods
/// ([`Genesis::header`], [`Genesis::state`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Genesis {
    /// The chain configuration. A node needs one; a block can be computed without.
    pub config: Option<ChainConfig>,
    /// The header's nonce.
    pub nonce: u64,
    /// The header's timestamp, Unix seconds.
    pub timestamp: u64,
    /// The header's extra data; for clique it names the first signers (EIP-225).
    pub extra_data: Bytes,
    /// The header's gas limit; zero means 4,712,388.
    pub gas_limit: u64,
    /// The header's difficulty; `None` means 131,072 with ethash, and zero otherwise.
    pub difficulty: Option<U256>,
    /// The header's mix hash.
    pub mix_hash: B256,
    /// The header's beneficiary.
    pub coinbase: Address,
    /// The accounts that exist from the start.
    pub alloc: BTreeMap<Address, GenesisAccount>,
    /// The header's number: zero on every real network.
    pub number: u64,
    /// The header's gas used: zero on every real network.
    pub gas_used: u64,
    /// The header's parent hash: zero on every real network.
    pub parent_hash: B256,
    /// The header's base fee in wei where London is active; `None` means 1 gwei.
    pub base_fee_per_gas: Option<u64>,
    /// The header's excess blob gas where Cancun is active; `None` means zero.
    pub excess_blob_gas: Option<u64>,
    /// The header's blob gas used where Cancun is active; `None` means zero.
    pub blob_gas_used: Option<u64>,
}

impl Genesis {
    /// Reads a genesis file. Unknown fields are ignored, as geth does.
    ///
    /// # Errors
    /// When the text is not a JSON object, lacks `gasLimit`, `difficulty` or `alloc`, or holds a value that
    /// cannot be read; the error names the place. Whether its forks make sense is
    /// [`check_fork_order`](crate::check_fork_order)'s to say.
    pub fn from_json(text: &str) -> Result<Self, ChainSpecError> {
        let object = Object::parse(text, "genesis")?;
        let missing = |field| ChainSpecError::MissingField { field, of: "Genesis" };
        Ok(Self {
            config: object.object("config")?.map(|config| read_config(&config)).transpose()?,
            nonce: object.u64("nonce")?.unwrap_or_default(),
            timestamp: object.u64("timestamp")?.unwrap_or_default(),
            extra_data: object.bytes("extraData")?.unwrap_or_default(),
            gas_limit: object.u64("gasLimit")?.ok_or(missing("gasLimit"))?,
            difficulty: Some(object.u256("difficulty")?.ok_or(missing("difficulty"))?),
            mix_hash: object.b256("mixHash")?.unwrap_or_default(),
            coinbase: object.address("coinbase")?.unwrap_or_default(),
            alloc: read_alloc(&object.object("alloc")?.ok_or(missing("alloc"))?)?,
            number: object.u64("number")?.unwrap_or_default(),
            gas_used: object.u64("gasUsed")?.unwrap_or_default(),
            parent_hash: object.b256("parentHash")?.unwrap_or_default(),
            base_fee_per_gas: object.u64("baseFeePerGas")?,
            excess_blob_gas: object.u64("excessBlobGas")?,
            blob_gas_used: object.u64("blobGasUsed")?,
        })
    }

    /// Writes a genesis file that [`Genesis::from_json`] and geth read back as the same genesis.
    ///
    /// # Errors
    /// None in practice: every field has a JSON form.
    pub fn to_json(&self) -> Result<String, ChainSpecError> {
        let failed = |source| ChainSpecError::Json { path: "genesis".to_owned(), source };
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("nonce", hex(self.nonce));
        put("timestamp", hex(self.timestamp));
        put("extraData", json!(self.extra_data));
        put("gasLimit", hex(self.gas_limit));
        put("difficulty", json!(self.header_difficulty()));
        put("mixHash", json!(self.mix_hash));
        put("coinbase", json!(self.coinbase));
        put("number", hex(self.number));
        put("gasUsed", hex(self.gas_used));
        put("parentHash", json!(self.parent_hash));
        put("alloc", serde_json::to_value(&self.alloc).map_err(failed)?);
        let optional = [
            ("baseFeePerGas", self.base_fee_per_gas),
            ("excessBlobGas", self.excess_blob_gas),
            ("blobGasUsed", self.blob_gas_used),
        ];
        for (name, value) in optional {
            value.map(|value| put(name, hex(value)));
        }
        let rest = serde_json::to_string_pretty(&fields).map_err(failed)?;
        let Some(config) = &self.config else { return Ok(rest) };
        // A total difficulty may exceed what a JSON value can hold, so the configuration goes in as text.
        let config = crate::config_to_json(config)?;
        Ok(rest.replacen('{', &format!("{{\n  \"config\": {config},"), 1))
    }
}

fn hex(value: u64) -> Value {
    json!(format!("{value:#x}"))
}

fn read_alloc(alloc: &Object<'_>) -> Result<BTreeMap<Address, GenesisAccount>, ChainSpecError> {
    let entry = |(key, text): (&str, &str)| {
        let path = alloc.path_of(key);
        let address =
            address(key).map_err(|reason| ChainSpecError::InvalidField { path: path.clone(), reason })?;
        Ok((address, read_account(&Object::parse(text, &path)?)?))
    };
    alloc.entries().map(entry).collect()
}

/// Geth demands a balance. Files in cpp-ethereum's dialect call it `wei`, and leave it out of contracts.
fn read_account(object: &Object<'_>) -> Result<GenesisAccount, ChainSpecError> {
    let storage = object.object("storage")?.map(|storage| read_storage(&storage)).transpose()?;
    let balance = object.u256("balance")?.or(object.u256("wei")?);
    if balance.is_none() && !["code", "nonce", "storage"].iter().any(|field| object.get(field).is_some()) {
        return Err(ChainSpecError::MissingField { field: "balance", of: "GenesisAccount" });
    }
    Ok(GenesisAccount {
        nonce: object.u64("nonce")?.filter(|nonce| *nonce != 0),
        balance: balance.unwrap_or_default(),
        code: object.bytes("code")?.filter(|code| !code.is_empty()),
        storage: storage.filter(|storage| !storage.is_empty()),
        ..GenesisAccount::default()
    })
}

fn read_storage(storage: &Object<'_>) -> Result<BTreeMap<B256, B256>, ChainSpecError> {
    let entry = |(key, text): (&str, &str)| {
        let invalid = |reason| ChainSpecError::InvalidField { path: storage.path_of(key), reason };
        let value = string(text).and_then(|text| storage_word(&text)).map_err(invalid)?;
        Ok((storage_word(key).map_err(invalid)?, value))
    };
    // A zero value is no entry: the trie has none for it.
    storage.entries().map(entry).filter(|entry| !matches!(entry, Ok((_, value)) if value.is_zero())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{
        "config": {"chainId": 5, "homesteadBlock": "0x0", "ethash": {}, "terminalTotalDifficulty": 58750000000000000000000},
        "nonce": "0x42", "timestamp": 17, "extraData": "", "gasLimit": "0x1388", "difficulty": "1024",
        "mixhash": "0x0101010101010101010101010101010101010101010101010101010101010101",
        "alloc": {
            "0x00000000000000000000000000000000000000AA": {"balance": 7, "secretKey": "0x00", "comment": "x"},
            "00000000000000000000000000000000000000bb": {
                "balance": "0x0", "nonce": "2", "code": "0x6000", "storage": {"0x01": "0x02", "03": "0x00"}
            }
        }
    }"#;

    #[test]
    fn reads_what_geth_reads() {
        let genesis = Genesis::from_json(SMALL).unwrap();
        assert_eq!((genesis.nonce, genesis.timestamp, genesis.gas_limit), (0x42, 17, 5000));
        assert_eq!(genesis.difficulty, Some(U256::from(1024)));
        assert_eq!(genesis.mix_hash, B256::repeat_byte(1));
        assert_eq!(genesis.alloc.len(), 2);
        let contract = &genesis.alloc[&Address::with_last_byte(0xbb)];
        assert_eq!(contract.nonce, Some(2));
        assert_eq!(contract.storage.as_ref().map(BTreeMap::len), Some(1));
        assert_eq!(genesis.alloc[&Address::with_last_byte(0xaa)].balance, U256::from(7));
    }

    #[test]
    fn writes_what_it_reads() {
        let genesis = Genesis::from_json(SMALL).unwrap();
        let text = genesis.to_json().unwrap();
        assert_eq!(Genesis::from_json(&text).unwrap(), genesis, "{text}");
        let bare = Genesis { config: None, excess_blob_gas: Some(5), ..genesis };
        assert_eq!(Genesis::from_json(&bare.to_json().unwrap()).unwrap(), bare);
    }

    #[test]
    fn hostile_files_are_refused_with_the_place() {
        let cases = [
            ("[]", "invalid genesis file: genesis: invalid type"),
            ("{", "invalid genesis file: genesis: EOF"),
            ("{}", "missing required field 'gasLimit' for Genesis"),
            (r#"{"gasLimit": 1}"#, "missing required field 'difficulty' for Genesis"),
            (r#"{"gasLimit": 1, "difficulty": 1}"#, "missing required field 'alloc' for Genesis"),
            (r#"{"config": {}}"#, "missing required field 'chainId' for ChainConfig"),
            (r#"{"config": 5}"#, "invalid genesis file: config: invalid type"),
            (r#"{"config": {"chainId": "x"}}"#, "config.chainId: invalid hex or decimal integer \"x\""),
            (
                r#"{"config": {"chainId": 18446744073709551616}}"#,
                "config.chainId: 18446744073709551616 does not",
            ),
            (r#"{"config": {"chainId": 1, "daoForkSupport": 1}}"#, "config.daoForkSupport: 1 is neither"),
            (
                r#"{"config": {"chainId": 1, "blobSchedule": {"cancun": {"max": -1}}}}"#,
                "config.blobSchedule.cancun.max: invalid hex or decimal integer -1",
            ),
            (r#"{"config": {"chainId": 1, "amsterdamTime": 0}}"#, "unsupported fork: amsterdamTime"),
            (
                r#"{"gasLimit": 1, "difficulty": 1, "alloc": {"0000000000000000000000000000000000000012": {}}}"#,
                "missing required field 'balance' for GenesisAccount",
            ),
            (r#"{"extraData": "0x123"}"#, "extraData: invalid hex string"),
            (
                r#"{"gasLimit": 1, "difficulty": 1, "alloc": {"0x12": {}}}"#,
                "alloc.0x12: hex string has length 2",
            ),
            (
                r#"{"gasLimit": 1, "difficulty": 1, "alloc": {"0x12": []}}"#,
                "alloc.0x12: hex string has length 2",
            ),
        ];
        for (text, expected) in cases {
            let error = Genesis::from_json(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let deep = "[".repeat(100_000);
        assert!(Genesis::from_json(&format!("{{\"alloc\": {deep}")).is_err());
    }
}
