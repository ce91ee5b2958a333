//! What every service says of itself in `GetInfo`.

use crate::names::Service;
use quintet_proto::common::v1::{GetInfoResponse, ServiceInfo};

/// Minor version of the v1 contract that this build speaks. Counts up with each addition to `proto/`.
pub const CONTRACT_MINOR: u32 = 0;

/// The release, as in `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that this was built from, from the build's `QUINTET_COMMIT` variable; empty when unknown.
pub const COMMIT: &str = match option_env!("QUINTET_COMMIT") {
    Some(commit) => commit,
    None => "",
};

/// `service`'s answer to `GetInfo`.
pub fn get_info(service: Service) -> GetInfoResponse {
    let info = ServiceInfo {
        service: service.name().to_owned(),
        version: VERSION.to_owned(),
        commit: COMMIT.to_owned(),
        contract_minor: CONTRACT_MINOR,
    };
    GetInfoResponse { info: Some(info) }
}
