//! The one UDP port of both protocols: a socket for IPv4, one for IPv6, or both.
//!
//! The sockets of both kinds share a port, and each sees its own kind only: with one socket for both, which the system
//! offers too, IPv4 addresses come in an IPv6 form, of which discovery v5 makes other nodes than those it asked.
//!
//! While discovery v5 runs it reads the sockets, and hands on what is not its own; otherwise they are read here. Either
//! may send at any time.

use crate::error::DiscoveryError;
use crate::v4::V4;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

/// The most bytes of a packet in either protocol, and one: longer ones are seen to be too long.
const LONGEST: usize = 1281;
/// Packets that are read before others get their turn.
const BATCH: usize = 64;
/// Until the socket is tried again after an error.
const PAUSE: Duration = Duration::from_millis(100);
/// How many free ports of one kind are tried, until one is free for the other kind as well.
const PORT_TRIES: usize = 16;

/// Two handles of each socket.
pub(crate) struct Sockets {
    /// Where they are bound: the address asked for, with the port that it became.
    pub(crate) address: SocketAddr,
    /// To read from.
    pub(crate) readers: Readers,
    /// To send with.
    pub(crate) writers: Writers,
}

/// Sockets to read from, by kind of address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers {
    /// IPv4.
    pub(crate) ipv4: Option<Arc<UdpSocket>>,
    /// IPv6.
    pub(crate) ipv6: Option<Arc<UdpSocket>>,
}

/// Sockets to send with, from any thread; sending never waits.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    ipv4: Option<StdSocket>,
    ipv6: Option<StdSocket>,
}

impl Writers {
    /// Sends from the socket of the address's kind.
    ///
    /// # Errors
    /// The system's, and [`io::ErrorKind::Unsupported`] where the node has no socket of this kind.
    pub(crate) fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        let socket = if to.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        socket.as_ref().ok_or(io::ErrorKind::Unsupported)?.send_to(datagram, to)
    }
}

/// Binds the socket of an address; both of `::`, that of IPv4 alone where the system has no IPv6.
pub(crate) fn bind(address: SocketAddr) -> Result<Sockets, DiscoveryError> {
    let bound = || {
        let (ipv4, ipv6) = match address.ip().to_canonical() {
            ip @ IpAddr::V4(_) => (Some(bind_one(ip, address.port())?), None),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => bind_both(address.port())?,
            ip @ IpAddr::V6(_) => (None, Some(bind_one(ip, address.port())?)),
        };
        let any = ipv6.as_ref().or(ipv4.as_ref()).ok_or(io::ErrorKind::Unsupported)?;
        let (address, readers) =
            (any.local_addr()?, Readers { ipv4: reader(ipv4.as_ref())?, ipv6: reader(ipv6.as_ref())? });
        Ok(Sockets { address, readers, writers: Writers { ipv4, ipv6 } })
    };
    bound().map_err(|error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "address already in use".to_owned(),
            io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        DiscoveryError::Bind { address, reason }
    })
}

/// All addresses of both kinds, on one port.
fn bind_both(port: u16) -> io::Result<(Option<StdSocket>, Option<StdSocket>)> {
    let mut tries = if port == 0 { PORT_TRIES } else { 1 };
    loop {
        tries = tries.saturating_sub(1);
        let ipv6 = match bind_one(Ipv6Addr::UNSPECIFIED.into(), port) {
            Err(error) if !is_taken(&error) => {
                tracing::warn!(%error, "No IPv6 on this machine: discovery listens on IPv4 only");
                return Ok((Some(bind_one(Ipv4Addr::UNSPECIFIED.into(), port)?), None));
            }
            ipv6 => ipv6?,
        };
        match bind_one(Ipv4Addr::UNSPECIFIED.into(), ipv6.local_addr()?.port()) {
            Err(error) if is_taken(&error) && tries > 0 => {}
            ipv4 => return Ok((Some(ipv4?), Some(ipv6))),
        }
    }
}

/// Whether a port cannot be had, whatever the kind of address.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn bind_one(ip: IpAddr, port: u16) -> io::Result<StdSocket> {
    let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(ip, port).into())?;
    Ok(socket.into())
}

fn reader(writer: Option<&StdSocket>) -> io::Result<Option<Arc<UdpSocket>>> {
    let Some(writer) = writer else { return Ok(None) };
    Ok(Some(Arc::new(UdpSocket::from_std(writer.try_clone()?)?)))
}

/// Reads the sockets for discovery v4 alone, until `token` is cancelled.
pub(crate) async fn read(sockets: Readers, v4: Option<V4>, token: CancellationToken) {
    let reading = async {
        tokio::join!(read_one(sockets.ipv4, v4.as_ref()), read_one(sockets.ipv6, v4.as_ref()));
    };
    token.run_until_cancelled(reading).await;
}

async fn read_one(socket: Option<Arc<UdpSocket>>, v4: Option<&V4>) {
    let Some(socket) = socket else { return };
    let mut buffer = [0; LONGEST];
    loop {
        if let Err(error) = socket.readable().await {
            tracing::debug!(%error, "UDP read error");
            tokio::time::sleep(PAUSE).await;
        }
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let packet = buffer.get(..length).unwrap_or_default();
                    not_v5(v4, from, packet.to_vec());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A peer's host said that nobody listens there.
                Err(error) => tracing::trace!(%error, "Temporary UDP read error"),
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Takes a packet that is not of discovery v5.
pub(crate) fn not_v5(v4: Option<&V4>, from: SocketAddr, packet: Vec<u8>) {
    if let Some(v4) = v4 {
        v4.receive(from, packet);
    } else {
        let labels = [("packet", "unknown"), ("outcome", "foreign")];
        metrics::counter!("quintet_discovery_received_packets_total", &labels).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::{Sockets, bind};
    use std::io::ErrorKind;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::time::Duration;
    use tokio::time::timeout;

    fn bound(ip: IpAddr, port: u16) -> Sockets {
        bind(SocketAddr::new(ip, port)).expect("a free port")
    }

    #[tokio::test]
    async fn all_addresses_are_two_sockets_of_one_port_that_see_their_own_kind() {
        let all = bound(Ipv6Addr::UNSPECIFIED.into(), 0);
        let Some(ipv6) = all.readers.ipv6.clone() else {
            println!("SKIPPED: no IPv6 on this machine");
            return;
        };
        let ipv4 = all.readers.ipv4.clone().expect("IPv4");
        let port = all.address.port();
        assert_eq!((ipv4.local_addr().expect("bound").port(), all.address.is_ipv6()), (port, true));
        for (ip, reader) in
            [(IpAddr::from(Ipv4Addr::LOCALHOST), ipv4), (IpAddr::from(Ipv6Addr::LOCALHOST), ipv6)]
        {
            let other = bound(ip, 0);
            other.writers.send_to(b"question", (ip, port).into()).expect("sent");
            let mut buffer = [0; 100];
            let received = timeout(Duration::from_secs(10), reader.recv_from(&mut buffer)).await;
            assert_eq!(received.expect("in time").expect("a packet"), (8, other.address));
            all.writers.send_to(b"answer", other.address).expect("sent");
            let theirs = other.readers.ipv4.or(other.readers.ipv6).expect("a socket");
            let received = timeout(Duration::from_secs(10), theirs.recv_from(&mut buffer)).await;
            assert_eq!(received.expect("in time").expect("a packet"), (6, (ip, port).into()));
        }
        let taken = bind(all.address).err().expect("no second one").to_string();
        assert!(taken.contains("address already in use"), "{taken}");
    }

    #[tokio::test]
    async fn an_address_has_a_socket_of_its_kind() {
        let mapped = bound(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), 0);
        assert!(mapped.address.is_ipv4() && mapped.readers.ipv6.is_none());
        let error = mapped.writers.send_to(b"", (Ipv6Addr::LOCALHOST, 9).into()).expect_err("no IPv6");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
