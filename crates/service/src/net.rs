//! Listening sockets, with one clear error when an address cannot be had.

use crate::error::ServiceError;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Binds a TCP socket on `host` (an address or a name such as `localhost`) and `port` (0: any free one).
/// `port_flag` is the flag that sets the port, such as `--http.port`: the error names it.
///
/// # Errors
/// [`ServiceError::Bind`], in geth's words: `listen tcp 127.0.0.1:8545: bind: address already in use`.
pub async fn bind_tcp(host: &str, port: u16, port_flag: &str) -> Result<TcpListener, ServiceError> {
    let bound = async { TcpListener::bind(resolve(host, port).await?).await };
    bound.await.map_err(|error| bind_error(host, port, port_flag, &error))
}

/// The one address that a name is bound at, an IPv4 one where it has both, as Go does: trying all would answer on
/// `::1` where people ask at `127.0.0.1`, and hide that a port is taken.
async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    let preferred = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    preferred.copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

fn bind_error(host: &str, port: u16, port_flag: &str, error: &io::Error) -> ServiceError {
    let host_flag = port_flag.replace(".port", ".addr");
    let variable = crate::config::variable(port_flag.trim_start_matches('-'));
    let (reason, advice) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "address already in use".to_owned(),
            format!("stop the process that uses it, or choose another port with {port_flag} or {variable}"),
        ),
        io::ErrorKind::AddrNotAvailable => (
            "cannot assign requested address".to_owned(),
            format!("no network interface has this address; choose another with {host_flag}"),
        ),
        io::ErrorKind::PermissionDenied => (
            "permission denied".to_owned(),
            format!("ports below 1024 need privileges; choose another port with {port_flag} or {variable}"),
        ),
        _ => (error.to_string(), format!("see {host_flag} and {port_flag}")),
    };
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    ServiceError::Bind { address, reason, advice }
}

#[cfg(test)]
mod tests {
    use super::bind_tcp;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_flag() {
        let first = bind_tcp("127.0.0.1", 0, "--http.port").await.expect("free port");
        let port = first.local_addr().expect("bound").port();
        let error = bind_tcp("127.0.0.1", port, "--http.port").await.expect_err("in use").to_string();
        let start = format!("listen tcp 127.0.0.1:{port}: bind: address already in use (");
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains("--http.port") && error.contains("QUINTET_HTTP_PORT"), "{error}");
    }

    #[tokio::test]
    async fn a_foreign_address_is_named_with_its_flag() {
        let error = bind_tcp("192.0.2.1", 0, "--grpc.port").await.expect_err("not ours").to_string();
        assert!(
            error.contains("cannot assign requested address") && error.contains("--grpc.addr"),
            "{error}"
        );
    }
}
