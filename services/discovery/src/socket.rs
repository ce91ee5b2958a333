//! The one UDP socket of both protocols.
//!
//! While discovery v5 runs it reads the socket, and hands on what is not its own; otherwise the socket is read here. Either
//! may send at any time.

use crate::error::DiscoveryError;
use crate::v4::V4;
use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
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

/// Two handles of one socket.
pub(crate) struct Sockets {
    /// Where it is bound.
    pub(crate) address: SocketAddr,
    /// To read from.
    pub(crate) reader: Arc<UdpSocket>,
    /// To send with, from any thread; never waits.
    pub(crate) writer: StdSocket,
}

/// Binds the socket.
pub(crate) fn bind(address: SocketAddr) -> Result<Sockets, DiscoveryError> {
    let bound = || {
        let writer = StdSocket::bind(address)?;
        writer.set_nonblocking(true)?;
        let reader = Arc::new(UdpSocket::from_std(writer.try_clone()?)?);
        Ok(Sockets { address: writer.local_addr()?, reader, writer })
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

/// Reads the socket for discovery v4 alone, until `token` is cancelled.
pub(crate) async fn read(socket: Arc<UdpSocket>, v4: Option<V4>, token: CancellationToken) {
    let mut buffer = [0; LONGEST];
    let reading = async {
        loop {
            if let Err(error) = socket.readable().await {
                tracing::debug!(%error, "UDP read error");
                tokio::time::sleep(PAUSE).await;
            }
            for _ in 0..BATCH {
                match socket.try_recv_from(&mut buffer) {
                    Ok((length, from)) => {
                        let packet = buffer.get(..length).unwrap_or_default();
                        not_v5(v4.as_ref(), from, packet.to_vec());
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // A peer's host said that nobody listens there.
                    Err(error) => tracing::trace!(%error, "Temporary UDP read error"),
                }
            }
            tokio::task::yield_now().await;
        }
    };
    token.run_until_cancelled(reading).await;
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
