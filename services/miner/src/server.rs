//! `MinerService`: what an operator and the gateway ask of the miner. Of several replicas any may be asked: they share
//! their orders, and the status is the leader's.

use crate::config::check_extra;
use crate::error::MinerError;
use crate::replica::Change;
use crate::service::{Handle, Status as MinerState};
use quintet_miner_api::{Malformed, MinerStatus, address, price, status_to_proto};
use quintet_proto::common::v1::{GetInfoRequest, GetInfoResponse};
use quintet_proto::miner::v1 as proto;
use quintet_proto::miner::v1::miner_service_server::MinerService;
use quintet_service::grpc::{to_status, unimplemented};
use quintet_service::{Service, info};
use tonic::{Request, Response, Status};

const REMOTE_WORK: &str = "work for outside searchers needs the ethash engine";
const VOTES: &str = "votes on signers need the clique engine";

/// Answers `MinerService`.
#[derive(Clone)]
pub struct Server {
    miner: Handle,
}

impl Server {
    pub(crate) const fn new(miner: Handle) -> Self {
        Self { miner }
    }

    async fn command<R>(&self, change: Change, response: R) -> Result<Response<R>, Status> {
        self.miner.command(change).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(response))
    }
}

fn invalid(Malformed(what): Malformed) -> Status {
    to_status(&MinerError::Invalid(what))
}

#[tonic::async_trait]
impl MinerService for Server {
    async fn get_info(&self, _: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        Ok(Response::new(info::get_info(Service::Miner)))
    }

    /// The number of threads is the ethash engine's; other seals are not searched.
    async fn start(&self, _: Request<proto::StartRequest>) -> Result<Response<proto::StartResponse>, Status> {
        self.command(Change::Sealing(true), proto::StartResponse {}).await
    }

    async fn stop(&self, _: Request<proto::StopRequest>) -> Result<Response<proto::StopResponse>, Status> {
        self.command(Change::Sealing(false), proto::StopResponse {}).await
    }

    async fn get_status(
        &self,
        _: Request<proto::GetStatusRequest>,
    ) -> Result<Response<proto::GetStatusResponse>, Status> {
        let MinerState { orders, parent, hashrate } = self.miner.status();
        let sealer = self.miner.sealer();
        Ok(Response::new(status_to_proto(&MinerStatus {
            sealing: orders.sealing,
            etherbase: orders.settings.etherbase,
            hashrate: hashrate.unwrap_or_else(|| sealer.hashrate()),
            sealer: sealer.kind(),
            parent,
        })))
    }

    async fn set_etherbase(
        &self,
        request: Request<proto::SetEtherbaseRequest>,
    ) -> Result<Response<proto::SetEtherbaseResponse>, Status> {
        let address = address(&request.into_inner().address, "address").map_err(invalid)?;
        self.command(Change::Etherbase(address), proto::SetEtherbaseResponse {}).await
    }

    async fn set_extra(
        &self,
        request: Request<proto::SetExtraRequest>,
    ) -> Result<Response<proto::SetExtraResponse>, Status> {
        let extra = request.into_inner().extra;
        check_extra(extra.len()).map_err(|error| to_status(&error))?;
        self.command(Change::Extra(extra.into()), proto::SetExtraResponse {}).await
    }

    async fn set_gas_price(
        &self,
        request: Request<proto::SetGasPriceRequest>,
    ) -> Result<Response<proto::SetGasPriceResponse>, Status> {
        let price = price(&request.into_inner().price).map_err(invalid)?;
        let price = u128::try_from(price).map_err(|_| invalid(Malformed("price")))?;
        self.command(Change::GasPrice(price), proto::SetGasPriceResponse {}).await
    }

    async fn set_gas_limit(
        &self,
        request: Request<proto::SetGasLimitRequest>,
    ) -> Result<Response<proto::SetGasLimitResponse>, Status> {
        let limit = request.into_inner().limit;
        self.command(Change::GasLimit(limit), proto::SetGasLimitResponse {}).await
    }

    async fn get_work(
        &self,
        _: Request<proto::GetWorkRequest>,
    ) -> Result<Response<proto::GetWorkResponse>, Status> {
        Err(unimplemented(REMOTE_WORK))
    }

    async fn submit_work(
        &self,
        _: Request<proto::SubmitWorkRequest>,
    ) -> Result<Response<proto::SubmitWorkResponse>, Status> {
        Err(unimplemented(REMOTE_WORK))
    }

    async fn submit_hashrate(
        &self,
        _: Request<proto::SubmitHashrateRequest>,
    ) -> Result<Response<proto::SubmitHashrateResponse>, Status> {
        Err(unimplemented(REMOTE_WORK))
    }

    async fn propose(
        &self,
        _: Request<proto::ProposeRequest>,
    ) -> Result<Response<proto::ProposeResponse>, Status> {
        Err(unimplemented(VOTES))
    }

    async fn discard(
        &self,
        _: Request<proto::DiscardRequest>,
    ) -> Result<Response<proto::DiscardResponse>, Status> {
        Err(unimplemented(VOTES))
    }
}
