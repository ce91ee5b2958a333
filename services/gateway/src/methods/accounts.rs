//! Methods that sign with the node's own keys, which only a development node gives to its gateway.

use super::calls;
use super::context::{Context, Output, Stop};
use super::transactions::check_fee;
use super::tx_args::{TransactionArgs, transaction_args};
use crate::decode;
use crate::error::RpcError;
use crate::json::{self, Object};
use crate::params::Params;
use crate::render;
use crate::shared::Shared;
use alloy_consensus::{
    EthereumTypedTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxEnvelope, TxLegacy,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, TxKind, U256};
use futures::FutureExt;
use futures::future::BoxFuture;
use quintet_evm::{BlockOverrides, StateOverrides};
use quintet_types::Transaction;

/// `eth_accounts`.
pub(super) fn accounts(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    params.end()?;
    json::array(&mut out.json, context.shared.signers.addresses(), |out, address| {
        json::data(out, address.as_slice());
    });
    Ok(())
}

/// `eth_sign`.
pub(super) fn sign(context: &mut Context<'_>, params: &mut Params<'_>, out: &mut Output) -> Result<(), Stop> {
    let address = params.required(decode::address)?;
    let message = params.required(decode::bytes)?;
    params.end()?;
    write_signature(context, address, &message, out)
}

/// `personal_sign`: as `eth_sign`, with the arguments the other way round and a password, which is not looked at:
/// the keys of a development network are open.
pub(super) fn personal_sign(
    context: &mut Context<'_>,
    params: &mut Params<'_>,
    out: &mut Output,
) -> Result<(), Stop> {
    let message = params.required(decode::bytes)?;
    let address = params.required(decode::address)?;
    params.optional(decode::string)?;
    params.end()?;
    write_signature(context, address, &message, out)
}

/// A signature of a message under EIP-191.
fn write_signature(
    context: &Context<'_>,
    address: Address,
    message: &[u8],
    out: &mut Output,
) -> Result<(), Stop> {
    let signer = context.shared.signers.get(&address).ok_or_else(unknown_account)?;
    let signature = signer.sign_message(message).map_err(|error| RpcError::internal(&error))?;
    json::data(&mut out.json, &signature);
    Ok(())
}

/// `eth_sendTransaction`.
pub(super) fn send_transaction<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let args = params.required(transaction_args)?;
        params.end()?;
        let sender = args.from.unwrap_or_default();
        if shared.signers.get(&sender).is_none() {
            return Err(unknown_account());
        }
        let sending = shared.sending.lock(sender).await?;
        let filled = fill(shared, args).await?;
        let signed = sign_filled(shared, sender, filled)?;
        check_fee(shared, &signed)?;
        let raw = signed.encoded_2718().into();
        let sent = shared.send(raw).await;
        sending.release().await;
        json::data(&mut out.json, sent?.as_slice());
        Ok(())
    }
    .boxed()
}

/// `eth_fillTransaction`.
pub(super) fn fill_transaction<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let args = params.required(transaction_args)?;
        params.end()?;
        let sender = args.from.unwrap_or_default();
        let unsigned = alloy_primitives::Signature::new(U256::ZERO, U256::ZERO, false);
        let filled = Transaction::new_unhashed(fill(shared, args).await?, unsigned);
        write_raw_and_object(out, &filled, sender);
        Ok(())
    }
    .boxed()
}

/// `eth_signTransaction`.
pub(super) fn sign_transaction<'a>(
    shared: &'a Shared,
    mut params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        let args = params.required(transaction_args)?;
        params.end()?;
        check_complete(&args)?;
        let sender = args.from.unwrap_or_default();
        let filled = fill(shared, args).await?;
        let signed = sign_filled(shared, sender, filled)?;
        check_fee(shared, &signed)?;
        write_raw_and_object(out, &signed, sender);
        Ok(())
    }
    .boxed()
}

/// What geth wants the caller to have decided on before it signs.
fn check_complete(args: &TransactionArgs) -> Result<(), RpcError> {
    let missing = if args.gas.is_none() {
        "not specify Gas"
    } else if args.gas_price.is_none()
        && (args.max_priority_fee_per_gas.is_none() || args.max_fee_per_gas.is_none())
    {
        "missing gasPrice or maxFeePerGas/maxPriorityFeePerGas"
    } else if args.nonce.is_none() {
        "not specify Nonce"
    } else {
        return Ok(());
    };
    Err(RpcError::server(missing))
}

/// `eth_pendingTransactions`: those of the node's own accounts.
pub(super) fn pending_transactions<'a>(
    shared: &'a Shared,
    params: Params<'a>,
    out: &'a mut Output,
) -> BoxFuture<'a, Result<(), RpcError>> {
    async move {
        params.end()?;
        let mut own = Vec::new();
        for address in shared.signers.addresses() {
            let pool = shared.chain.pool_content(Some(address)).await?;
            own.extend(pool.into_iter().filter(|pooled| pooled.pending));
        }
        json::array(&mut out.json, own, |out, pooled| {
            render::write_pending(out, &pooled.transaction, pooled.sender);
        });
        Ok(())
    }
    .boxed()
}

fn unknown_account() -> RpcError {
    RpcError::server("unknown account")
}

fn write_raw_and_object(out: &mut Output, transaction: &Transaction, sender: Address) {
    let mut object = Object::new(&mut out.json);
    object.data("raw", &transaction.encoded_2718());
    let pooled: TxEnvelope = transaction.clone().into();
    render::write_pending(object.key("tx"), &pooled, sender);
    object.end();
}

fn sign_filled(
    shared: &Shared,
    sender: Address,
    transaction: EthereumTypedTransaction<TxEip4844>,
) -> Result<Transaction, RpcError> {
    let signer = shared.signers.get(&sender).ok_or_else(unknown_account)?;
    let signature = signer.sign_transaction(&transaction).map_err(|error| RpcError::internal(&error))?;
    Ok(Transaction::new_unhashed(transaction, signature))
}

/// Decides on everything that the caller left open, as geth's `setDefaults` does.
async fn fill(
    shared: &Shared,
    mut args: TransactionArgs,
) -> Result<EthereumTypedTransaction<TxEip4844>, RpcError> {
    check(shared, &args)?;
    let sender = args.from.unwrap_or_default();
    set_fees(shared, &mut args)?;
    let nonce = match args.nonce {
        Some(nonce) => nonce,
        None => shared.chain.pool_nonce(sender).await?,
    };
    let gas = match args.gas {
        Some(gas) => gas,
        None => estimate(shared, args.clone()).await?,
    };
    Ok(build(shared, args, nonce, gas))
}

fn check(shared: &Shared, args: &TransactionArgs) -> Result<(), RpcError> {
    if let (Some(data), Some(input)) = (&args.data, &args.input)
        && data != input
    {
        let text = r#"both "data" and "input" are set and not equal. Please use "input" to pass transaction call data"#;
        return Err(RpcError::server(text));
    }
    if args.has_blobs || args.blob_versioned_hashes.is_some() {
        return Err(RpcError::server("blob transactions must be signed by the caller and sent raw"));
    }
    if args.to.is_none() && args.payload().is_empty() {
        return Err(RpcError::server("contract creation without any data provided"));
    }
    let own = U256::from(shared.spec.chain_id());
    if let Some(have) = args.chain_id.filter(|id| *id != own) {
        return Err(RpcError::server(format!("chainId does not match node's (have={have}, want={own})")));
    }
    Ok(())
}

fn set_fees(shared: &Shared, args: &mut TransactionArgs) -> Result<(), RpcError> {
    let named_1559 = args.max_fee_per_gas.is_some() || args.max_priority_fee_per_gas.is_some();
    if args.gas_price.is_some() && named_1559 {
        return Err(RpcError::server("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified"));
    }
    if let (Some(cap), Some(tip)) = (args.max_fee_per_gas, args.max_priority_fee_per_gas)
        && cap < tip
    {
        return Err(RpcError::server(format!("maxFeePerGas ({cap:#x}) < maxPriorityFeePerGas ({tip:#x})")));
    }
    if args.gas_price.is_some() {
        return Ok(());
    }
    let view = shared.reads.view();
    let Some(base_fee) = view.header().base_fee_per_gas else {
        if named_1559 {
            let text = "maxFeePerGas and maxPriorityFeePerGas are not valid before London is active";
            return Err(RpcError::server(text));
        }
        args.gas_price = Some(shared.suggest_tip(&view)?);
        return Ok(());
    };
    let tip = match args.max_priority_fee_per_gas {
        Some(tip) => tip,
        None => shared.suggest_tip(&view)?,
    };
    // Room for the base fee to double before the transaction is mined.
    let cap = args.max_fee_per_gas.unwrap_or_else(|| tip + U256::from(base_fee) * U256::from(2));
    if cap < tip {
        return Err(RpcError::server(format!("maxFeePerGas ({cap:#x}) < maxPriorityFeePerGas ({tip:#x})")));
    }
    args.max_priority_fee_per_gas = Some(tip);
    args.max_fee_per_gas = Some(cap);
    Ok(())
}

/// The gas that the transaction needs on the pending state.
async fn estimate(shared: &Shared, args: TransactionArgs) -> Result<u64, RpcError> {
    let pending = shared.pending().await?;
    let block = Some(decode::BlockId::Tag(decode::BlockTag::Pending));
    let estimated = shared.evm.run(|cancel| {
        shared.reads.retry(|view| {
            let context =
                Context { shared, view: view.clone(), pending: Some(pending.clone()), cancel: Some(cancel) };
            let at = context.at(block).map_err(Stop::into_error)?;
            calls::estimate(
                &context,
                &at,
                args.clone(),
                &StateOverrides::default(),
                &BlockOverrides::default(),
            )
            .map_err(Stop::into_error)
        })
    });
    estimated.await?
}

/// The transaction of the type that its fields ask for.
fn build(
    shared: &Shared,
    args: TransactionArgs,
    nonce: u64,
    gas_limit: u64,
) -> EthereumTypedTransaction<TxEip4844> {
    let price = |price: Option<U256>| price.map_or(0, |price| u128::try_from(price).unwrap_or(u128::MAX));
    let chain_id = shared.spec.chain_id();
    let to = args.to.map_or(TxKind::Create, TxKind::Call);
    let value = args.value.unwrap_or_default();
    let input = args.payload();
    let (max_fee_per_gas, max_priority_fee_per_gas) =
        (price(args.max_fee_per_gas), price(args.max_priority_fee_per_gas));
    let gas_price = price(args.gas_price);
    match (args.authorization_list, args.gas_price.is_some(), args.access_list) {
        (Some(authorization_list), _, access_list) => TxEip7702 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: max_fee_per_gas.max(gas_price),
            max_priority_fee_per_gas: max_priority_fee_per_gas.max(gas_price),
            to: args.to.unwrap_or_default(),
            value,
            access_list: access_list.unwrap_or_default(),
            authorization_list,
            input,
        }
        .into(),
        (None, false, access_list) => TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to,
            value,
            access_list: access_list.unwrap_or_default(),
            input,
        }
        .into(),
        (None, true, Some(access_list)) => {
            TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input }.into()
        }
        (None, true, None) => {
            TxLegacy { chain_id: Some(chain_id), nonce, gas_price, gas_limit, to, value, input }.into()
        }
    }
}
