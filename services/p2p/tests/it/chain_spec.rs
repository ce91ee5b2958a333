//! As much of `ChainService` as p2p asks for: `GetChainSpec`.

use crate::chain::NETWORK;
use alloy_primitives::Bytes;
use quintet_chainspec::{ChainSpec, Genesis};
use quintet_proto::chain::v1::{GetChainSpecRequest, GetChainSpecResponse};
use quintet_proto::common::v1::BlockId;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

#[derive(Clone)]
pub(crate) struct SpecServer;

impl NamedService for SpecServer {
    const NAME: &'static str = "quintet.chain.v1.ChainService";
}

impl tower::Service<http::Request<Body>> for SpecServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert!(request.uri().path().ends_with("/GetChainSpec"), "{}", request.uri());
        let codec = ProstCodec::<GetChainSpecResponse, GetChainSpecRequest>::default();
        Box::pin(async move { Ok(Grpc::new(codec).unary(SpecServer, request).await) })
    }
}

impl UnaryService<GetChainSpecRequest> for SpecServer {
    type Response = GetChainSpecResponse;
    type Future = std::future::Ready<Result<Response<GetChainSpecResponse>, Status>>;

    fn call(&mut self, _: Request<GetChainSpecRequest>) -> Self::Future {
        let spec = ChainSpec::preset(NETWORK).expect("a preset");
        let genesis = Genesis { alloc: BTreeMap::default(), ..spec.genesis().clone() };
        let hash = Bytes::copy_from_slice(spec.genesis_hash().as_slice()).0;
        std::future::ready(Ok(Response::new(GetChainSpecResponse {
            genesis_json: genesis.to_json().expect("text"),
            genesis: Some(BlockId { number: 0, hash }),
            network_id: spec.network_id(),
        })))
    }
}
