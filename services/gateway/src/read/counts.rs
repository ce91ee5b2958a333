//! Counts reads by what answered them.

use metrics::Counter;

/// What is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// An account of the state.
    Account,
    /// A slot of the state.
    Slot,
    /// A block.
    Block,
    /// A block's receipts.
    Receipts,
}

/// What answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// The recent deltas.
    Overlay,
    /// What was read before.
    Cache,
    /// The store.
    Store,
}

/// The counters of one kind, by origin.
struct OfKind {
    overlay: Counter,
    cache: Counter,
    store: Counter,
}

impl OfKind {
    fn new(kind: &'static str) -> Self {
        let counter = |origin: &'static str| metrics::counter!("quintet_gateway_reads_total", "kind" => kind, "source" => origin);
        Self { overlay: counter("overlay"), cache: counter("cache"), store: counter("store") }
    }
}

/// The counters.
pub(super) struct Counts {
    account: OfKind,
    slot: OfKind,
    block: OfKind,
    receipts: OfKind,
}

impl Counts {
    /// Those of this process's recorder.
    pub(super) fn new() -> Self {
        Self {
            account: OfKind::new("account"),
            slot: OfKind::new("slot"),
            block: OfKind::new("block"),
            receipts: OfKind::new("receipts"),
        }
    }

    /// Counts one read.
    pub(super) fn note(&self, kind: Kind, origin: Origin) {
        let counters = match kind {
            Kind::Account => &self.account,
            Kind::Slot => &self.slot,
            Kind::Block => &self.block,
            Kind::Receipts => &self.receipts,
        };
        match origin {
            Origin::Overlay => &counters.overlay,
            Origin::Cache => &counters.cache,
            Origin::Store => &counters.store,
        }
        .increment(1);
    }
}
