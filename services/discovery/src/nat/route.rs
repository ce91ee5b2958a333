//! Which addresses this machine has towards a network, and which router it uses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// An address of TEST-NET-1 (RFC 5737): routed as all of the Internet is, and never sent to.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The address that packets to `remote` come from. Nothing is sent.
pub(super) fn local_address(remote: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(SocketAddr::new(remote, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// The router of the default route; where the system does not say, the first address of the private network that this
/// machine is in, which is what most routers have.
pub(super) fn gateway() -> Option<Ipv4Addr> {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    default_route(&routes).or_else(|| match local_address(ELSEWHERE.into()).ok()? {
        IpAddr::V4(ip) if ip.is_private() => {
            let [a, b, c, _] = ip.octets();
            Some(Ipv4Addr::new(a, b, c, 1))
        }
        _ => None,
    })
}

/// The gateway of the first default route in Linux' table: addresses are hexadecimal, of the machine's byte order.
fn default_route(routes: &str) -> Option<Ipv4Addr> {
    let mut gateways = routes.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let address = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
        (destination == "00000000" && !address.is_unspecified()).then_some(address)
    });
    gateways.next()
}

#[cfg(test)]
mod tests {
    use super::{default_route, local_address};
    use std::net::Ipv4Addr;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_default_route_names_the_gateway() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(default_route(routes), Some(Ipv4Addr::new(192, 168, 0, 1)));
        assert_eq!(default_route(&routes.replace("0100A8C0", "00000000")), None);
        assert_eq!(default_route("Iface\n\nnonsense\neth0 00000000 xyz\n"), None);
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        let local = local_address(Ipv4Addr::LOCALHOST.into()).expect("an address");
        assert_eq!(local, Ipv4Addr::LOCALHOST);
    }
}
