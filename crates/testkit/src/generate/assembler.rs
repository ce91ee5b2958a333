//! The contracts' source text made into bytecode: names of instructions, numbers (pushed with as few bytes as they
//! need), `label:` for a place that can be jumped to, `@label` to push it. `@end` is the length of the code.

use alloy_primitives::{Bytes, U256};
use std::collections::HashMap;

/// Instructions that the contracts use, but for `PUSH`, `DUP` and `SWAP`.
const INSTRUCTIONS: [(&str, u8); 34] = [
    ("STOP", 0x00),
    ("ADD", 0x01),
    ("MUL", 0x02),
    ("SUB", 0x03),
    ("DIV", 0x04),
    ("LT", 0x10),
    ("GT", 0x11),
    ("EQ", 0x14),
    ("ISZERO", 0x15),
    ("KECCAK256", 0x20),
    ("CALLER", 0x33),
    ("CALLVALUE", 0x34),
    ("CALLDATALOAD", 0x35),
    ("CALLDATASIZE", 0x36),
    ("CODESIZE", 0x38),
    ("CODECOPY", 0x39),
    ("NUMBER", 0x43),
    ("POP", 0x50),
    ("MLOAD", 0x51),
    ("MSTORE", 0x52),
    ("SLOAD", 0x54),
    ("SSTORE", 0x55),
    ("JUMP", 0x56),
    ("JUMPI", 0x57),
    ("GAS", 0x5a),
    ("JUMPDEST", 0x5b),
    ("LOG3", 0xa3),
    ("CREATE", 0xf0),
    ("CALL", 0xf1),
    ("RETURN", 0xf3),
    ("CREATE2", 0xf5),
    ("REVERT", 0xfd),
    ("INVALID", 0xfe),
    ("SELFDESTRUCT", 0xff),
];
const PUSH1: u8 = 0x60;
const PUSH2: u8 = 0x61;
const DUP1: u8 = 0x80;
const SWAP1: u8 = 0x90;
const JUMPDEST: u8 = 0x5b;

/// Assembles a source text; `;` begins a remark.
///
/// # Panics
/// When a word is no instruction, number or known label.
pub(crate) fn assemble(source: &str) -> Bytes {
    let mut code = Vec::new();
    let mut labels = HashMap::new();
    let mut uses = Vec::new();
    for word in source.lines().flat_map(|line| line.split(';').take(1)).flat_map(str::split_whitespace) {
        if let Some(label) = word.strip_suffix(':') {
            labels.insert(label, code.len());
            code.push(JUMPDEST);
        } else if let Some(label) = word.strip_prefix('@') {
            code.push(PUSH2);
            uses.push((label, code.len()));
            code.extend([0, 0]);
        } else if word.starts_with(|first: char| first.is_ascii_digit()) {
            push(&mut code, word.parse().unwrap_or_else(|error| panic!("{word}: {error}")));
        } else {
            code.push(instruction(word));
        }
    }
    labels.insert("end", code.len());
    for (label, at) in uses {
        let place = labels.get(label).unwrap_or_else(|| panic!("no label {label}"));
        let place = u16::try_from(*place).expect("code is short");
        code[at..at + 2].copy_from_slice(&place.to_be_bytes());
    }
    code.into()
}

fn push(code: &mut Vec<u8>, value: U256) {
    let bytes = value.to_be_bytes_trimmed_vec();
    let bytes = if bytes.is_empty() { vec![0] } else { bytes };
    code.push(PUSH1 - 1 + u8::try_from(bytes.len()).expect("at most 32 bytes"));
    code.extend(bytes);
}

fn instruction(name: &str) -> u8 {
    let numbered = |prefix: &str, first: u8| {
        let number: u8 = name.strip_prefix(prefix)?.parse().ok()?;
        (1..=16).contains(&number).then(|| first + number - 1)
    };
    let named = INSTRUCTIONS.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
    named
        .or_else(|| numbered("DUP", DUP1))
        .or_else(|| numbered("SWAP", SWAP1))
        .unwrap_or_else(|| panic!("no instruction {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::bytes;

    #[test]
    fn labels_numbers_and_remarks() {
        let code = assemble("0 CALLDATALOAD @there JUMPI ; to the end\n 0x0100 DUP2 there: 255 SWAP1 @end");
        assert_eq!(code, bytes!("60003561000b5761010081" "5b60ff90610012"));
    }

    #[test]
    #[should_panic(expected = "no label nowhere")]
    fn an_unknown_label_is_refused() {
        assemble("@nowhere JUMP");
    }
}
