//! Raw data, for those who debug.

use super::context::{Context, Output, Stop};
use crate::decode::{self, BlockTag};
use crate::error::RpcError;
use crate::json;
use crate::params::Params;
use alloy_primitives::hex;

/// `debug_getBlockRlp`: a canonical block's RLP. As in the geths that have it, its number is a JSON number and its
/// hexadecimal has no prefix.
pub(super) fn block_rlp(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let number = params.required(decode::number)?;
    params.end()?;
    let block = context.block_at(BlockTag::Number(number))?;
    let block = block.ok_or_else(|| RpcError::server(format!("block #{number} not found")))?;
    out.block = number;
    json::string(&mut out.json, &hex::encode(alloy_rlp::encode(&block.block)));
    Ok(())
}
