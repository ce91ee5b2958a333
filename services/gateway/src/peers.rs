//! The way to the p2p service, of which there may be several instances, behind one name or several.
//!
//! What must hold: what is asked of the node is asked of all instances, each of which has peers of its own. One that does
//! not answer is as if its peers were gone; only when none answers is that an error.

use futures::future::join_all;
use futures::stream::{StreamExt, select_all};
use http::Uri;
use parking_lot::Mutex;
use quintet_p2p_api::{ErrorKind, LocalNode, NodeRecord, Peer, PeerClient, PeerEventStream, RpcError};
use quintet_service::Service;
use quintet_service::grpc::Transport;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long finding the instances may take.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(2);
/// How long an instance may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The instances of the p2p service.
#[derive(Clone, Debug)]
pub struct PeerServices(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// Of this process.
    One(PeerClient),
    /// However many these names stand for just now.
    Named(Arc<Named>),
}

#[derive(Debug)]
struct Named {
    /// `host:port` of each.
    authorities: Vec<String>,
    clients: Mutex<BTreeMap<SocketAddr, PeerClient>>,
}

impl From<PeerClient> for PeerServices {
    fn from(client: PeerClient) -> Self {
        Self(Kind::One(client))
    }
}

impl PeerServices {
    /// The instances at `urls` (`http://host:port`): as many as their hosts have addresses.
    ///
    /// # Errors
    /// When one is not the address of a server. Panics outside a tokio runtime.
    pub fn at(urls: &[String]) -> Result<Self, io::Error> {
        let authorities = urls.iter().map(|url| authority(url)).collect::<Result<_, _>>()?;
        Ok(Self(Kind::Named(Arc::new(Named { authorities, clients: Mutex::default() }))))
    }

    async fn clients(&self) -> Result<Vec<PeerClient>, RpcError> {
        match &self.0 {
            Kind::One(client) => Ok(vec![client.clone()]),
            Kind::Named(named) => named.resolve().await,
        }
    }

    /// The peers of all instances.
    pub(crate) async fn peers(&self) -> Result<Vec<Peer>, RpcError> {
        let clients = self.clients().await?;
        let answers = join_all(clients.iter().map(PeerClient::peers)).await;
        Ok(answered(answers)?.into_iter().flatten().collect())
    }

    /// The node that others find: of several instances the one that has a signed record.
    pub(crate) async fn local_node(&self) -> Result<LocalNode, RpcError> {
        let clients = self.clients().await?;
        let nodes = answered(join_all(clients.iter().map(PeerClient::local_node)).await)?;
        let announced = nodes.iter().position(|node| !node.node.enr.is_empty()).unwrap_or_default();
        nodes.into_iter().nth(announced).ok_or_else(nobody)
    }

    /// Has the first instance that answers dial a node, and redial it whenever it is lost.
    pub(crate) async fn add_peer(&self, node: NodeRecord) -> Result<(), RpcError> {
        let mut outcome = Err(nobody());
        for client in self.clients().await? {
            outcome = client.add_peer(node.clone()).await;
            if !matches!(&outcome, Err(error) if error.kind == ErrorKind::Unavailable) {
                break;
            }
        }
        outcome
    }

    /// Has every instance forget a static node and disconnect it.
    pub(crate) async fn remove_peer(&self, node: NodeRecord) -> Result<(), RpcError> {
        let clients = self.clients().await?;
        answered(join_all(clients.iter().map(|client| client.remove_peer(node.clone()))).await).map(drop)
    }

    /// Lets a node connect to any instance beyond its peer limit.
    pub(crate) async fn add_trusted_peer(&self, node: NodeRecord) -> Result<(), RpcError> {
        let clients = self.clients().await?;
        answered(join_all(clients.iter().map(|client| client.add_trusted_peer(node.clone()))).await).map(drop)
    }

    /// Takes that back.
    pub(crate) async fn remove_trusted_peer(&self, node: NodeRecord) -> Result<(), RpcError> {
        let clients = self.clients().await?;
        answered(join_all(clients.iter().map(|client| client.remove_trusted_peer(node.clone()))).await)
            .map(drop)
    }

    /// Connects, disconnects and messages of all instances from now on. Fails as soon as one of them goes away.
    pub(crate) async fn events(&self) -> Result<PeerEventStream, RpcError> {
        let clients = self.clients().await?;
        let streams = answered(join_all(clients.iter().map(PeerClient::events)).await)?;
        let ended =
            |stream: PeerEventStream| stream.chain(futures::stream::once(async { Err(nobody()) })).boxed();
        Ok(select_all(streams.into_iter().map(ended)).boxed())
    }
}

/// Host and port of a server's address.
fn authority(url: &str) -> Result<String, io::Error> {
    // Says what is wrong with it, if anything is.
    Transport::remote(Service::Gateway, url, DEADLINE)?;
    let authority = url.parse::<Uri>().ok().and_then(|uri| {
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        Some(format!("{}:{}", uri.host()?, uri.port_u16().unwrap_or(default)))
    });
    authority.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{url:?} names no host")))
}

/// The addresses of a name.
async fn addresses(authority: &str) -> Result<Vec<SocketAddr>, RpcError> {
    let away = |reason: String| RpcError {
        kind: ErrorKind::Unavailable,
        message: format!("no p2p service at {authority}: {reason}"),
    };
    let found = tokio::time::timeout(RESOLVE_DEADLINE, tokio::net::lookup_host(authority)).await;
    let found = found.map_err(|_| away(format!("its name is not known within {RESOLVE_DEADLINE:?}")))?;
    Ok(found.map_err(|error| away(error.to_string()))?.collect())
}

impl Named {
    /// Clients of the instances that there are now; those of instances that stayed are kept.
    async fn resolve(&self) -> Result<Vec<PeerClient>, RpcError> {
        let found = answered(join_all(self.authorities.iter().map(|name| addresses(name))).await)?;
        let mut clients = self.clients.lock();
        let mut held = std::mem::take(&mut *clients);
        for address in found.into_iter().flatten() {
            let client = match held.remove(&address) {
                Some(client) => client,
                None => Transport::remote(Service::Gateway, &format!("http://{address}"), DEADLINE)
                    .map(PeerClient::new)
                    .map_err(|error| RpcError { kind: ErrorKind::Internal, message: error.to_string() })?,
            };
            clients.insert(address, client);
        }
        Ok(clients.values().cloned().collect())
    }
}

/// The answers that came; the first error if none did.
fn answered<T>(outcomes: Vec<Result<T, RpcError>>) -> Result<Vec<T>, RpcError> {
    let mut answers = Vec::with_capacity(outcomes.len());
    let mut failure = nobody();
    for outcome in outcomes {
        match outcome {
            Ok(answer) => answers.push(answer),
            Err(error) => failure = error,
        }
    }
    if answers.is_empty() { Err(failure) } else { Ok(answers) }
}

fn nobody() -> RpcError {
    RpcError { kind: ErrorKind::Unavailable, message: "there is no p2p service".to_owned() }
}
