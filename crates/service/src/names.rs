//! The five services by name: in telemetry, in `GetInfo`, and in the contract's package names.

use std::fmt;

/// One of the five services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Finds nodes.
    Discovery,
    /// Holds the sessions with peers.
    P2p,
    /// Owns chain state.
    Chain,
    /// Seals blocks.
    Miner,
    /// Answers JSON-RPC.
    Gateway,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 5] = [Self::Discovery, Self::P2p, Self::Chain, Self::Miner, Self::Gateway];

    /// The short name, such as `chain`: what `GetInfo` says, and the contract's package is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::P2p => "p2p",
            Self::Chain => "chain",
            Self::Miner => "miner",
            Self::Gateway => "gateway",
        }
    }

    /// The name of the binary, and OpenTelemetry's `service.name`: `quintet-chain`.
    pub const fn full_name(self) -> &'static str {
        match self {
            Self::Discovery => "quintet-discovery",
            Self::P2p => "quintet-p2p",
            Self::Chain => "quintet-chain",
            Self::Miner => "quintet-miner",
            Self::Gateway => "quintet-gateway",
        }
    }

    /// The service with this short name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// The service with this full name.
    pub fn from_full_name(name: &str) -> Option<Self> {
        Self::from_name(name.strip_prefix("quintet-")?)
    }

    /// The service whose own crate a tracing target lies in: `quintet_chain::import` is `chain`'s. Library
    /// crates, which several services use, belong to none.
    pub fn from_target(target: &str) -> Option<Self> {
        let name = target.strip_prefix("quintet_")?;
        Self::from_name(name.split_once("::").map_or(name, |(name, _)| name))
    }

    /// The service that a gRPC path asks: `/quintet.chain.v1.ChainService/GetHead` is `chain`.
    pub fn from_rpc_path(path: &str) -> Option<Self> {
        Self::from_name(path.strip_prefix("/quintet.")?.split_once('.')?.0)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.full_name())
    }
}

#[cfg(test)]
mod tests {
    use super::Service;

    #[test]
    fn targets_belong_to_the_service_whose_crate_they_are_in() {
        assert_eq!(Service::from_target("quintet_chain::import"), Some(Service::Chain));
        assert_eq!(Service::from_target("quintet_gateway"), Some(Service::Gateway));
        for library in ["quintet_chainspec::genesis", "quintet_chain_api", "quintet_evm", "tonic", ""] {
            assert_eq!(Service::from_target(library), None, "{library}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for service in Service::ALL {
            assert_eq!(Service::from_name(service.name()), Some(service));
            assert_eq!(Service::from_full_name(service.full_name()), Some(service));
            let path = format!("/quintet.{}.v1.AnyService/Any", service.name());
            assert_eq!(Service::from_rpc_path(&path), Some(service));
        }
        assert_eq!(Service::from_rpc_path("/grpc.health.v1.Health/Check"), None);
    }
}
