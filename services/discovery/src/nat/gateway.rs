//! A router that maps ports: UPnP (igd-next), NAT-PMP and PCP (crab_nat).

use super::{Nat, route};
use crab_nat::{GatewayAddress, PortMappingOptions, TimeoutConfig, natpmp, pcp};
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, PortMappingProtocol, SearchOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

/// How long a mapping lives unless it is renewed, as geth asks for.
pub(super) const LIFETIME: Duration = Duration::from_mins(10);
/// How long a search for a UPnP gateway may take.
const SEARCH: Duration = Duration::from_secs(3);
/// NAT-PMP's first wait (RFC 6886), with fewer repetitions than its 64 seconds: a router is next door.
const PMP_WAITS: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 3,
    max_retry_timeout: Some(Duration::from_secs(1)),
};

/// Why there is no gateway, or it did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NatError {
    /// Nobody answered.
    #[error("no {0} router discovered")]
    NotFound(&'static str),
    /// The gateway, or the way to it, failed.
    #[error("{0}")]
    Failed(String),
    /// This mechanism maps no ports.
    #[error("{0} maps no ports")]
    NoMappings(&'static str),
}

/// What a port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RLPx.
    Tcp,
    /// Discovery.
    Udp,
}

impl Protocol {
    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// What the mapping is called in the router's list, as geth calls it.
    const fn description(self) -> &'static str {
        match self {
            Self::Tcp => "ethereum p2p",
            Self::Udp => "ethereum discovery",
        }
    }
}

/// Where gateways are looked for; the default is the local network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Where UPnP searches are sent; the multicast group if not given.
    pub ssdp: Option<SocketAddr>,
}

/// A router that maps ports.
#[derive(Clone, Debug)]
pub enum Gateway {
    /// A UPnP internet gateway device, and this machine's address towards it.
    Upnp(Box<igd_next::aio::Gateway<Tokio>>, IpAddr),
    /// A router with NAT-PMP or PCP, and this machine's address towards it.
    Pmp(Ipv4Addr, IpAddr),
}

impl Gateway {
    /// Looks for the gateway that `nat` asks for.
    ///
    /// # Errors
    /// When none answers, and for mechanisms that have none.
    pub async fn find(nat: &Nat, search: Search) -> Result<Self, NatError> {
        match nat {
            Nat::Upnp => Self::find_upnp(search).await,
            Nat::Pmp(gateway) => Self::find_pmp(*gateway).await,
            Nat::Any => {
                let both = futures::future::select_ok([
                    Box::pin(Self::find_upnp(search)) as futures::future::BoxFuture<'_, _>,
                    Box::pin(Self::find_pmp(None)),
                ]);
                both.await.map(|(gateway, _)| gateway).map_err(|_| NatError::NotFound("UPnP or NAT-PMP"))
            }
            Nat::None | Nat::ExtIp(_) => Err(NatError::NoMappings("a fixed address")),
            Nat::Stun(_) => Err(NatError::NoMappings("STUN")),
        }
    }

    async fn find_upnp(search: Search) -> Result<Self, NatError> {
        let mut options = SearchOptions::default();
        options.timeout = Some(SEARCH);
        if let Some(ssdp) = search.ssdp {
            options.broadcast_address = ssdp;
            // A device at the address that was named is believed, even on this machine.
            options.allowed_gateway_ips.push(ssdp.ip());
        }
        let found = search_gateway(options).await.map_err(|_| NatError::NotFound("UPnP"))?;
        let local = route::local_address(found.addr.ip()).map_err(|error| failed(&error))?;
        Ok(Self::Upnp(Box::new(found), local))
    }

    async fn find_pmp(gateway: Option<Ipv4Addr>) -> Result<Self, NatError> {
        let address = gateway.or_else(route::gateway).ok_or(NatError::NotFound("NAT-PMP"))?;
        let local = route::local_address(address.into()).map_err(|error| failed(&error))?;
        // A router with PCP alone answers this with an error, which is an answer, too.
        match natpmp::external_address(GatewayAddress::IpV4(address), Some(PMP_WAITS)).await {
            Ok(_) | Err(natpmp::Failure::UnsupportedVersion(_)) => Ok(Self::Pmp(address, local)),
            Err(_) => Err(NatError::NotFound("NAT-PMP")),
        }
    }

    /// A name for logs.
    pub fn name(&self) -> String {
        match self {
            Self::Upnp(gateway, _) => format!("UPNP {}", gateway.service_type),
            Self::Pmp(address, _) => format!("NAT-PMP({address})"),
        }
    }

    /// The address that the Internet sees.
    ///
    /// # Errors
    /// When the gateway does not say.
    pub async fn external_ip(&self) -> Result<IpAddr, NatError> {
        match self {
            Self::Upnp(gateway, _) => gateway.get_external_ip().await.map_err(|error| failed(&error)),
            Self::Pmp(address, _) => {
                let asked = natpmp::external_address(GatewayAddress::IpV4(*address), Some(PMP_WAITS)).await;
                asked.map(IpAddr::V4).map_err(|error| failed(&error))
            }
        }
    }

    /// Maps a port for [`LIFETIME`], to `wanted` on the outside where that is free; gives the outer port. Mapping a port
    /// again renews it.
    ///
    /// # Errors
    /// When the gateway refuses.
    pub async fn map(&self, protocol: Protocol, internal: u16, wanted: u16) -> Result<u16, NatError> {
        match self {
            Self::Upnp(gateway, local) => {
                map_upnp(gateway, protocol, SocketAddr::new(*local, internal), wanted).await
            }
            Self::Pmp(address, local) => map_pmp(*address, *local, protocol, internal, wanted).await,
        }
    }

    /// Takes a mapping back.
    ///
    /// # Errors
    /// When the gateway does not answer; the mapping then ends by itself.
    pub async fn unmap(&self, protocol: Protocol, internal: u16, external: u16) -> Result<(), NatError> {
        match self {
            Self::Upnp(gateway, _) => {
                gateway.remove_port(upnp_protocol(protocol), external).await.map_err(|error| failed(&error))
            }
            Self::Pmp(address, _) => {
                let gateway = GatewayAddress::IpV4(*address);
                let port = NonZeroU16::new(internal);
                let dropped =
                    natpmp::try_drop_mapping(gateway, pmp_protocol(protocol), port, Some(PMP_WAITS));
                dropped.await.map_err(|error| failed(&error))
            }
        }
    }
}

async fn map_upnp(
    gateway: &igd_next::aio::Gateway<Tokio>,
    protocol: Protocol,
    local: SocketAddr,
    wanted: u16,
) -> Result<u16, NatError> {
    let seconds = u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX);
    let (kind, name) = (upnp_protocol(protocol), protocol.description());
    let first = match gateway.add_port(kind, wanted, local, seconds, name).await {
        // Some old devices know no lifetimes.
        Err(AddPortError::OnlyPermanentLeasesSupported) => {
            gateway.add_port(kind, wanted, local, 0, name).await
        }
        first => first,
    };
    match first {
        Ok(()) => Ok(wanted),
        Err(AddPortError::RequestError(error)) => Err(failed(&error)),
        // The port is another machine's: any will do.
        Err(_) => gateway.add_any_port(kind, local, seconds, name).await.map_err(|error| failed(&error)),
    }
}

async fn map_pmp(
    address: Ipv4Addr,
    local: IpAddr,
    protocol: Protocol,
    internal: u16,
    wanted: u16,
) -> Result<u16, NatError> {
    let gateway = GatewayAddress::IpV4(address);
    let port =
        NonZeroU16::new(internal).ok_or_else(|| NatError::Failed("port 0 cannot be mapped".to_owned()))?;
    let options = PortMappingOptions {
        external_port: NonZeroU16::new(wanted),
        lifetime_seconds: u32::try_from(LIFETIME.as_secs()).ok(),
        timeout_config: Some(PMP_WAITS),
    };
    let kind = pmp_protocol(protocol);
    match natpmp::port_mapping(gateway, kind, port, options).await {
        Ok(mapping) => return Ok(mapping.external_port().get()),
        Err(natpmp::Failure::UnsupportedVersion(_)) => {}
        Err(error) => return Err(failed(&error)),
    }
    let request = pcp::BaseMapRequest::new(gateway, local, kind, port);
    let mapping = pcp::port_mapping(request, None, None, options).await.map_err(|error| failed(&error))?;
    Ok(mapping.external_port().get())
}

const fn upnp_protocol(protocol: Protocol) -> PortMappingProtocol {
    match protocol {
        Protocol::Tcp => PortMappingProtocol::TCP,
        Protocol::Udp => PortMappingProtocol::UDP,
    }
}

const fn pmp_protocol(protocol: Protocol) -> crab_nat::InternetProtocol {
    match protocol {
        Protocol::Tcp => crab_nat::InternetProtocol::Tcp,
        Protocol::Udp => crab_nat::InternetProtocol::Udp,
    }
}

fn failed(error: &dyn std::error::Error) -> NatError {
    NatError::Failed(error.to_string())
}

impl From<io::Error> for NatError {
    fn from(error: io::Error) -> Self {
        failed(&error)
    }
}
