//! The gRPC client, in domain types. Cheap to clone; the same over a process-local and a remote transport.

use crate::convert::{fixed, quantity};
use crate::{MinerStatus, Work};
use alloy_primitives::{Address, B256, Bytes, U256};
use quintet_proto::common::v1::{GetInfoRequest, ServiceInfo};
use quintet_proto::miner::v1 as proto;
use quintet_proto::miner::v1::miner_service_client::MinerServiceClient;
use quintet_service::grpc::{RpcError, Transport};

/// A client of the miner service.
#[derive(Clone, Debug)]
pub struct MinerClient {
    rpc: MinerServiceClient<Transport>,
}

impl MinerClient {
    /// A client over `transport`.
    pub fn new(transport: Transport) -> Self {
        Self { rpc: MinerServiceClient::new(transport) }
    }

    /// Name, build and contract version of the service.
    pub async fn info(&self) -> Result<ServiceInfo, RpcError> {
        let response = self.rpc.clone().get_info(GetInfoRequest {}).await?.into_inner();
        response.info.ok_or_else(|| RpcError::malformed("no info"))
    }

    /// Starts sealing, with `threads` searching; 0 for the configured number.
    pub async fn start(&self, threads: u32) -> Result<(), RpcError> {
        self.rpc.clone().start(proto::StartRequest { threads }).await?;
        Ok(())
    }

    /// Stops sealing.
    pub async fn stop(&self) -> Result<(), RpcError> {
        self.rpc.clone().stop(proto::StopRequest {}).await?;
        Ok(())
    }

    /// What the miner is doing.
    pub async fn status(&self) -> Result<MinerStatus, RpcError> {
        let response = self.rpc.clone().get_status(proto::GetStatusRequest {}).await?.into_inner();
        Ok(response.try_into()?)
    }

    /// Sets who gets the fees.
    pub async fn set_etherbase(&self, address: Address) -> Result<(), RpcError> {
        self.rpc.clone().set_etherbase(proto::SetEtherbaseRequest { address: fixed(address) }).await?;
        Ok(())
    }

    /// Sets the extra data of blocks, at most 32 bytes.
    pub async fn set_extra(&self, extra: Bytes) -> Result<(), RpcError> {
        self.rpc.clone().set_extra(proto::SetExtraRequest { extra: extra.0 }).await?;
        Ok(())
    }

    /// Sets the smallest tip of included transactions, in wei per gas.
    pub async fn set_gas_price(&self, price: U256) -> Result<(), RpcError> {
        self.rpc.clone().set_gas_price(proto::SetGasPriceRequest { price: quantity(price) }).await?;
        Ok(())
    }

    /// Sets the gas limit to move towards.
    pub async fn set_gas_limit(&self, limit: u64) -> Result<(), RpcError> {
        self.rpc.clone().set_gas_limit(proto::SetGasLimitRequest { limit }).await?;
        Ok(())
    }

    /// Work for an outside searcher.
    pub async fn work(&self) -> Result<Work, RpcError> {
        let response = self.rpc.clone().get_work(proto::GetWorkRequest {}).await?.into_inner();
        Ok(response.try_into()?)
    }

    /// Hands in an outside searcher's solution; whether it was accepted.
    pub async fn submit_work(&self, nonce: u64, seal_hash: B256, mix_hash: B256) -> Result<bool, RpcError> {
        let request =
            proto::SubmitWorkRequest { nonce, seal_hash: fixed(seal_hash), mix_hash: fixed(mix_hash) };
        Ok(self.rpc.clone().submit_work(request).await?.into_inner().accepted)
    }

    /// Tells an outside searcher's rate, in hashes a second; `id` is its identity.
    pub async fn submit_hashrate(&self, rate: u64, id: B256) -> Result<bool, RpcError> {
        let request = proto::SubmitHashrateRequest { rate, id: fixed(id) };
        Ok(self.rpc.clone().submit_hashrate(request).await?.into_inner().accepted)
    }

    /// Votes a clique signer in, or out.
    pub async fn propose(&self, address: Address, authorize: bool) -> Result<(), RpcError> {
        self.rpc.clone().propose(proto::ProposeRequest { address: fixed(address), authorize }).await?;
        Ok(())
    }

    /// Drops the vote on a clique signer.
    pub async fn discard(&self, address: Address) -> Result<(), RpcError> {
        self.rpc.clone().discard(proto::DiscardRequest { address: fixed(address) }).await?;
        Ok(())
    }
}
