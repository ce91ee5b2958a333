//! The progress of a sync.

use crate::json::Object;
use quintet_chain_api::{StateProgress, SyncProgress};

/// The object of `eth_syncing`, with geth's names. What it says of indices is that they are never behind: a block is
/// held with its transactions' places and with what it changed.
pub(crate) fn write_sync_progress(out: &mut Vec<u8>, progress: &SyncProgress) {
    let SyncProgress { starting_block, current_block, highest_block, state } = progress;
    let mut object = Object::new(out);
    object.quantity("startingBlock", *starting_block);
    object.quantity("currentBlock", *current_block);
    object.quantity("highestBlock", *highest_block);
    write_state(&mut object, state);
    // Genesis too.
    object.quantity("txIndexFinishedBlocks", current_block.saturating_add(1));
    object.quantity("txIndexRemainingBlocks", 0_u64);
    object.quantity("stateIndexRemaining", 0_u64);
    object.end();
}

fn write_state(object: &mut Object<'_>, state: &StateProgress) {
    object.quantity("syncedAccounts", state.accounts);
    object.quantity("syncedAccountBytes", state.account_bytes);
    object.quantity("syncedBytecodes", state.codes);
    object.quantity("syncedBytecodeBytes", state.code_bytes);
    object.quantity("syncedStorage", state.slots);
    object.quantity("syncedStorageBytes", state.slot_bytes);
    object.quantity("healedTrienodes", state.healed_nodes);
    object.quantity("healedTrienodeBytes", state.healed_node_bytes);
    object.quantity("healedBytecodes", state.healed_codes);
    object.quantity("healedBytecodeBytes", state.healed_code_bytes);
    object.quantity("healingTrienodes", state.missing_nodes);
    object.quantity("healingBytecode", state.missing_codes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rendered(progress: &SyncProgress) -> Value {
        let mut out = Vec::new();
        write_sync_progress(&mut out, progress);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn each_count_has_its_name() {
        let state = StateProgress {
            accounts: 0x11,
            account_bytes: 0x12,
            codes: 0x13,
            code_bytes: 0x14,
            slots: 0x15,
            slot_bytes: 0x16,
            healed_nodes: 0x17,
            healed_node_bytes: 0x18,
            healed_codes: 0x19,
            healed_code_bytes: 0x1a,
            missing_nodes: 0x1b,
            missing_codes: 0x1c,
        };
        let progress = SyncProgress { starting_block: 1, current_block: 0x2f, highest_block: 0x30, state };
        assert_eq!(
            rendered(&progress),
            json!({
                "startingBlock": "0x1", "currentBlock": "0x2f", "highestBlock": "0x30",
                "syncedAccounts": "0x11", "syncedAccountBytes": "0x12",
                "syncedBytecodes": "0x13", "syncedBytecodeBytes": "0x14",
                "syncedStorage": "0x15", "syncedStorageBytes": "0x16",
                "healedTrienodes": "0x17", "healedTrienodeBytes": "0x18",
                "healedBytecodes": "0x19", "healedBytecodeBytes": "0x1a",
                "healingTrienodes": "0x1b", "healingBytecode": "0x1c",
                "txIndexFinishedBlocks": "0x30", "txIndexRemainingBlocks": "0x0",
                "stateIndexRemaining": "0x0",
            })
        );
    }

    #[test]
    fn the_counts_are_there_when_every_block_is_executed() {
        let progress = SyncProgress { highest_block: 9, ..SyncProgress::default() };
        let rendered = rendered(&progress);
        let counts =
            rendered.as_object().unwrap().iter().filter(|(name, _)| {
                ["synced", "healed", "healing"].iter().any(|begin| name.starts_with(begin))
            });
        let counts: Vec<_> = counts.map(|(_, count)| count).collect();
        assert_eq!(counts, [&json!("0x0"); 12]);
    }
}
