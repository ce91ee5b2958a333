//! What the operator wants of the miner, and how replicas that share it agree.
//!
//! Orders have a version. Each change makes a higher one, in Redis; replicas follow the highest and each keeps a copy,
//! so whichever is left writes them again into a Redis that was emptied. Version 0 is what a replica's own flags say,
//! and counts only until there is another.

use crate::worker::Settings;
use alloy_primitives::{Address, Bytes};
use std::collections::BTreeMap;

/// What blocks are made with, and whether any are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) sealing: bool,
    pub(crate) settings: Settings,
}

/// One change of the orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Sealing(bool),
    Etherbase(Address),
    Extra(Bytes),
    GasPrice(u128),
    GasLimit(u64),
}

impl Orders {
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Sealing(sealing) => self.sealing = sealing,
            Change::Etherbase(address) => self.settings.etherbase = Some(address),
            Change::Extra(extra) => self.settings.extra_data = extra,
            Change::GasPrice(price) => self.settings.gas_price = price,
            Change::GasLimit(limit) => self.settings.gas_limit = limit,
        }
    }

    /// Field and value of each, as Redis has them: text that an operator can read.
    pub(crate) fn fields(&self) -> [(&'static str, String); 5] {
        let Settings { etherbase, extra_data, gas_limit, gas_price } = &self.settings;
        let etherbase = etherbase.map_or_else(String::new, |address| address.to_string());
        [
            (SEALING, flag(self.sealing)),
            (ETHERBASE, etherbase),
            (EXTRA, extra_data.to_string()),
            (GAS_PRICE, gas_price.to_string()),
            (GAS_LIMIT, gas_limit.to_string()),
        ]
    }

    fn read(fields: &BTreeMap<String, String>) -> Option<Self> {
        let etherbase = fields.get(ETHERBASE)?;
        let etherbase = if etherbase.is_empty() { None } else { Some(etherbase.parse().ok()?) };
        let settings = Settings {
            etherbase,
            extra_data: fields.get(EXTRA)?.parse().ok()?,
            gas_price: fields.get(GAS_PRICE)?.parse().ok()?,
            gas_limit: fields.get(GAS_LIMIT)?.parse().ok()?,
        };
        Some(Self { sealing: fields.get(SEALING)? == "1", settings })
    }
}

impl Change {
    /// Field and value, as in [`Orders::fields`].
    pub(crate) fn field(&self) -> (&'static str, String) {
        match self {
            Self::Sealing(sealing) => (SEALING, flag(*sealing)),
            Self::Etherbase(address) => (ETHERBASE, address.to_string()),
            Self::Extra(extra) => (EXTRA, extra.to_string()),
            Self::GasPrice(price) => (GAS_PRICE, price.to_string()),
            Self::GasLimit(limit) => (GAS_LIMIT, limit.to_string()),
        }
    }
}

const SEALING: &str = "sealing";
const ETHERBASE: &str = "etherbase";
const EXTRA: &str = "extra";
const GAS_PRICE: &str = "gas_price";
const GAS_LIMIT: &str = "gas_limit";

fn flag(set: bool) -> String {
    if set { "1" } else { "0" }.to_owned()
}

/// Which of two orders is newer. `writer` is the replica that made it, so that no two are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) writer: String,
}

/// Orders and their version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versioned {
    pub(crate) version: Version,
    pub(crate) orders: Orders,
}

impl Versioned {
    /// From Redis' hash; `None` when it holds none, or none that can be read.
    pub(crate) fn read(fields: &BTreeMap<String, String>) -> Option<Self> {
        let version =
            Version { number: fields.get("version")?.parse().ok()?, writer: fields.get("writer")?.clone() };
        Some(Self { version, orders: Orders::read(fields)? })
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Orders, Version, Versioned};
    use alloy_primitives::{Address, Bytes};

    #[test]
    fn orders_are_read_back_as_changes_left_them() {
        let mut orders = Orders::default();
        let changes = [
            Change::Sealing(true),
            Change::Etherbase(Address::repeat_byte(7)),
            Change::Extra(Bytes::from_static(b"\0\xff")),
            Change::GasPrice(u128::MAX),
            Change::GasLimit(u64::MAX),
        ];
        for change in [None].into_iter().chain(changes.map(Some)) {
            let mut fields = orders.fields();
            if let Some(change) = change {
                let (field, value) = change.field();
                fields.iter_mut().filter(|(name, _)| *name == field).for_each(|old| old.1.clone_from(&value));
                orders.apply(change);
            }
            assert_eq!(fields, orders.fields());
            let stored = fields.into_iter().map(|(field, value)| (field.to_owned(), value));
            let head = [("version", "7"), ("writer", "me")].map(|(key, value)| (key.into(), value.into()));
            let version = Version { number: 7, writer: "me".into() };
            let read = Versioned::read(&stored.chain(head).collect());
            assert_eq!(read, Some(Versioned { version, orders: orders.clone() }));
        }
        assert_eq!(Versioned::read(&[("version".into(), "1".into())].into()), None, "damaged");
    }
}
