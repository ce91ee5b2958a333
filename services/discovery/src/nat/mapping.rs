//! The task that keeps the node's ports mapped and knows its external address, as geth's `portMappingLoop` does.
//!
//! What must hold: the local record is told of an address or a port only when a gateway or server said it, and mappings
//! are taken back at shutdown.

use super::gateway::{Gateway, NatError, Protocol, Search};
use super::{Nat, stun};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How long mappings may take to be taken back at shutdown.
const CLEAN_UP: Duration = Duration::from_secs(3);

/// How often things are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between renewals of a mapping: before its ten minutes are over.
    pub renew: Duration,
    /// Between attempts where there is no gateway, or it refuses.
    pub retry: Duration,
    /// Between questions for the external address.
    pub address: Duration,
}

impl Default for Pace {
    /// geth's.
    fn default() -> Self {
        Self { renew: Duration::from_mins(8), retry: Duration::from_mins(5), address: Duration::from_mins(2) }
    }
}

/// What the task does, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The mechanism.
    pub nat: Nat,
    /// Where gateways are looked for.
    pub search: Search,
    /// How often.
    pub pace: Pace,
}

impl Options {
    /// Whether it asks whoever is found in the local network or on the Internet, and nobody who is named.
    pub fn asks_around(&self) -> bool {
        let unnamed = matches!(self.nat, Nat::Any | Nat::Upnp | Nat::Pmp(None) | Nat::Stun(None));
        unnamed && self.search == Search::default()
    }
}

/// What the task finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The address that the Internet sees.
    Address(IpAddr),
    /// The port on the outside that leads to ours.
    Port(Protocol, u16),
}

/// A port of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// What it is of.
    pub protocol: Protocol,
    /// Its number on this machine.
    pub internal: u16,
}

/// A port, the outer port it had last, and when it is mapped next.
struct Mapping {
    port: Port,
    external: Option<u16>,
    due: Instant,
}

/// Keeps `ports` mapped until `token` is cancelled, and tells what it finds.
pub async fn run(options: Options, ports: Vec<Port>, found: mpsc::Sender<Found>, token: CancellationToken) {
    match options.nat.clone() {
        Nat::None => {}
        Nat::ExtIp(ip) => tell(&found, Found::Address(ip)).await,
        Nat::Stun(server) => {
            token.run_until_cancelled(ask_stun(server, options.pace.address, &found)).await;
        }
        Nat::Any | Nat::Upnp | Nat::Pmp(_) => {
            let mut mapper = Mapper::new(options, ports, found);
            token.run_until_cancelled(mapper.run()).await;
            if timeout(CLEAN_UP, mapper.clean_up()).await.is_err() {
                tracing::debug!("Couldn't delete port mapping in time");
            }
        }
    }
}

async fn ask_stun(server: Option<String>, pause: Duration, found: &mpsc::Sender<Found>) {
    let servers = match server {
        Some(server) => vec![server],
        None => stun::DEFAULT_SERVERS.map(str::to_owned).to_vec(),
    };
    loop {
        for server in &servers {
            match stun::external_address(server).await {
                Ok(address) => {
                    if found.send(Found::Address(address.ip().to_canonical())).await.is_err() {
                        return;
                    }
                    break;
                }
                Err(error) => tracing::debug!(server, %error, "Couldn't get external IP"),
            }
        }
        tokio::time::sleep(pause).await;
    }
}

struct Mapper {
    options: Options,
    gateway: Option<Gateway>,
    mappings: Vec<Mapping>,
    address_due: Instant,
    found: mpsc::Sender<Found>,
}

impl Mapper {
    fn new(options: Options, ports: Vec<Port>, found: mpsc::Sender<Found>) -> Self {
        let now = Instant::now();
        let mappings = ports.into_iter().filter(|port| port.internal != 0);
        let mappings = mappings.map(|port| Mapping { port, external: None, due: now }).collect();
        Self { options, gateway: None, mappings, address_due: now, found }
    }

    /// Runs for as long as it is polled.
    async fn run(&mut self) {
        while !self.found.is_closed() {
            match self.gateway.clone() {
                None => {
                    if let Err(error) = self.look_for_gateway().await {
                        tracing::debug!(mechanism = %self.options.nat, %error, "No port mapping");
                        tokio::time::sleep(self.options.pace.retry).await;
                    }
                }
                Some(gateway) => {
                    self.work(&gateway).await;
                    let due = self.mappings.iter().map(|mapping| mapping.due).chain([self.address_due]).min();
                    sleep_until(due.unwrap_or(self.address_due)).await;
                }
            }
        }
    }

    async fn look_for_gateway(&mut self) -> Result<(), NatError> {
        let gateway = Gateway::find(&self.options.nat, self.options.search).await?;
        tracing::info!(interface = gateway.name(), "Found port mapping gateway");
        self.gateway = Some(gateway);
        Ok(())
    }

    /// Does what is due.
    async fn work(&mut self, gateway: &Gateway) {
        let now = Instant::now();
        if self.address_due <= now {
            self.address_due = later(now, self.options.pace.address);
            match gateway.external_ip().await {
                Ok(ip) => tell(&self.found, Found::Address(ip)).await,
                Err(error) => tracing::debug!(interface = gateway.name(), %error, "Couldn't get external IP"),
            }
        }
        let mut lost = false;
        for mapping in self.mappings.iter_mut().filter(|mapping| mapping.due <= now) {
            let Port { protocol, internal } = mapping.port;
            let wanted = mapping.external.unwrap_or(internal);
            match gateway.map(protocol, internal, wanted).await {
                Ok(external) => {
                    mapping.due = later(now, self.options.pace.renew);
                    note(gateway, mapping, external);
                    tell(&self.found, Found::Port(protocol, external)).await;
                }
                Err(error) => {
                    let protocol = protocol.name();
                    tracing::debug!(protocol, port = internal, %error, "Couldn't add port mapping");
                    mapping.due = later(now, self.options.pace.retry);
                    lost |= mapping.external.take().is_some();
                }
            }
        }
        if lost {
            // The router may have been replaced: look for one again.
            self.gateway = None;
        }
    }

    async fn clean_up(&mut self) {
        let Some(gateway) = self.gateway.take() else { return };
        for mapping in &self.mappings {
            let Some(external) = mapping.external else { continue };
            let Port { protocol, internal } = mapping.port;
            tracing::debug!(protocol = protocol.name(), port = external, "Deleting port mapping");
            if let Err(error) = gateway.unmap(protocol, internal, external).await {
                tracing::debug!(protocol = protocol.name(), port = external, %error, "Couldn't delete port mapping");
            }
        }
    }
}

/// Tells what was found; nobody listens any more at shutdown only.
async fn tell(listener: &mpsc::Sender<Found>, found: Found) {
    let _ = listener.send(found).await;
}

/// Takes note of the outer port, and logs what is new.
fn note(gateway: &Gateway, mapping: &mut Mapping, external: u16) {
    let Port { protocol, internal } = mapping.port;
    if mapping.external == Some(external) {
        return;
    }
    mapping.external = Some(external);
    let (protocol, interface) = (protocol.name(), gateway.name());
    if external == internal {
        tracing::info!(protocol, port = internal, interface, "NAT mapped port");
    } else {
        tracing::info!(
            protocol,
            port = internal,
            extport = external,
            interface,
            "NAT mapped alternative port"
        );
    }
}

/// A time in the future; the clock does not end within any node's life.
fn later(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or(now)
}
