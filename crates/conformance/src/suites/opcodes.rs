//! Vectors of opcodes with two operands (archive 17): the second one is on top of the stack.

use super::json;
use crate::call;
use crate::runner::Sink;
use alloy_primitives::{B256, Bytes};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Case {
    x: B256,
    y: B256,
    expected: B256,
}

const OPCODES: &[(&str, u8)] = &[
    ("add", 0x01),
    ("mul", 0x02),
    ("sub", 0x03),
    ("div", 0x04),
    ("sdiv", 0x05),
    ("mod", 0x06),
    ("smod", 0x07),
    ("exp", 0x0a),
    ("signext", 0x0b),
    ("lt", 0x10),
    ("gt", 0x11),
    ("slt", 0x12),
    ("sgt", 0x13),
    ("eq", 0x14),
    ("and", 0x16),
    ("or", 0x17),
    ("xor", 0x18),
    ("byte", 0x1a),
    ("shl", 0x1b),
    ("shr", 0x1c),
    ("sar", 0x1d),
];

pub(super) fn run(sink: &mut Sink<'_>) -> Result<(), String> {
    let cases: Vec<Case> = json::read(&sink.bytes()?)?;
    let name = sink.stem().trim_start_matches("testcases_").to_owned();
    let opcode = OPCODES.iter().find(|(known, _)| *known == name);
    let (_, opcode) = *opcode.ok_or_else(|| format!("unknown opcode {name}"))?;
    let spec = json::network("Osaka")?;
    for (index, case) in cases.iter().enumerate() {
        sink.check("Osaka", &format!("{name} {index}"), || {
            let mut code = vec![0x7f];
            code.extend(case.x);
            code.push(0x7f);
            code.extend(case.y);
            // The result goes to memory, and is returned.
            code.extend([opcode, 0x60, 0, 0x52, 0x60, 32, 0x60, 0, 0xf3]);
            let output = call::run(&spec, true, code, Bytes::new())?;
            json::same("result", &output, &Bytes::from(case.expected))
        });
    }
    Ok(())
}
