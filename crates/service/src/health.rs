//! The subcommand `health` of every service: asks the service that runs beside it whether it is ready, for a container's
//! `HEALTHCHECK`.

use crate::admin::AdminConfig;
use crate::config;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The subcommand's name.
pub(crate) const SUBCOMMAND: &str = "health";
/// What the help of a service says of it.
pub(crate) const HELP: &str = "Commands:\n  health  Asks the running service's admin port whether it is ready; \
    prints what it says, and exits with 0 or 1";

/// How long the whole question may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Bytes of a report that are read.
const REPORT_LIMIT: u64 = 64 << 10;

/// Asks the running service whether it is ready.
#[derive(Clone, Debug, clap::Parser)]
#[command(version, about)]
struct HealthArgs {
    /// Where it is asked: its own flags and variables.
    #[command(flatten)]
    admin: AdminConfig,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthError {
    #[error("there is no admin port to ask; set --admin.port or QUINTET_ADMIN_PORT as the service has it")]
    NoPort,
    #[error("the admin port {address} does not answer: {source}")]
    Unreachable { address: String, source: io::Error },
    #[error("the admin port {address} does not speak HTTP")]
    NotHttp { address: String },
}

/// Runs the subcommand; `args` begin with the program's name.
pub(crate) fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: HealthArgs = config::parse_some_or_exit(args);
    match ask(&args.admin) {
        Ok((ready, report)) => {
            print!("{report}");
            if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("Fatal: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the service at this admin port is ready, and what it says.
pub(crate) fn ask(admin: &AdminConfig) -> Result<(bool, String), HealthError> {
    let port = admin.port.filter(|port| *port != 0).ok_or(HealthError::NoPort)?;
    let address = format!("{}:{port}", admin.addr);
    let answer = exchange(&admin.addr, port)
        .map_err(|source| HealthError::Unreachable { address: address.clone(), source })?;
    let (head, report) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    let status = status.ok_or(HealthError::NotHttp { address })?;
    Ok((status == "200", report.to_owned()))
}

/// One request, and the answer's text.
fn exchange(host: &str, port: u16) -> io::Result<String> {
    let deadline = Instant::now() + DEADLINE;
    let left = || -> io::Result<Duration> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    };
    let mut stream = TcpStream::connect_timeout(&target(host, port)?, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    let request = format!("GET /readyz HTTP/1.0\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while (answer.len() as u64) < REPORT_LIMIT {
        stream.set_read_timeout(Some(left()?))?;
        let count = match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        answer.extend(chunk.iter().take(count));
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where a server that listens on `host` is asked from its own machine: one on all addresses at the loopback one.
fn target(host: &str, port: u16) -> io::Result<SocketAddr> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    let preferred = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    let mut address =
        *preferred.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::{HealthError, ask};
    use crate::admin::{self, AdminConfig};
    use crate::readiness::Readiness;
    use crate::tasks::Supervisor;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    fn at(addr: &str, port: u16) -> AdminConfig {
        AdminConfig { addr: addr.to_owned(), port: Some(port) }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_service_on_all_addresses_is_asked_on_its_own_machine() {
        let (readiness, supervisor) = (Readiness::new(), Supervisor::new());
        let store = readiness.register("store");
        let served = admin::start(&at("0.0.0.0", 0), &readiness, &supervisor).await.expect("started");
        let config = at("0.0.0.0", served.expect("a port").port());
        let asked = || {
            tokio::task::spawn_blocking({
                let config = config.clone();
                move || ask(&config)
            })
        };
        let (ready, report) = asked().await.expect("no panic").expect("an answer");
        assert_eq!((ready, report.as_str()), (false, "[-]store failed: starting\nnot ready\n"));
        store.degraded("slow");
        let (ready, report) = asked().await.expect("no panic").expect("an answer");
        assert_eq!((ready, report.as_str()), (true, "[~]store degraded: slow\nready\n"));
        supervisor.shutdown();
        supervisor.run_until_shutdown(Duration::from_secs(5)).await.expect("orderly");
        assert!(matches!(ask(&config), Err(HealthError::Unreachable { .. })));
    }

    #[test]
    fn a_service_that_says_nothing_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let start = Instant::now();
        let error = ask(&at("localhost", silent.local_addr().expect("bound").port())).expect_err("silent");
        assert!(error.to_string().contains("timed out"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn without_a_port_the_flag_is_named() {
        let config = AdminConfig { addr: "127.0.0.1".to_owned(), port: None };
        let error = ask(&config).expect_err("no port").to_string();
        assert!(error.contains("--admin.port") && error.contains("QUINTET_ADMIN_PORT"), "{error}");
    }
}
