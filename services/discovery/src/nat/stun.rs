//! The external address from a STUN server: one binding request (RFC 5389), no more.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

/// Servers that `--nat stun` asks, in this order, until one answers.
pub const DEFAULT_SERVERS: [&str; 3] =
    ["stun.l.google.com:19302", "stun.cloudflare.com:3478", "global.stun.twilio.com:3478"];
/// Port of a server that names none (RFC 5389, section 9).
pub const DEFAULT_PORT: u16 = 3478;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_RESPONSE: u16 = 0x0101;
const MAGIC_COOKIE: u32 = 0x2112_a442;
const MAPPED_ADDRESS: u16 = 0x0001;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const HEADER: usize = 20;
/// Waits for an answer: RFC 5389 doubles from 500 ms.
const WAITS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// The identity of a request, which its answer repeats.
pub type TransactionId = [u8; 12];

/// Asks `server` (`host:port`) which address it sees.
///
/// # Errors
/// When it has no address, or does not answer within a few seconds.
pub async fn external_address(server: &str) -> io::Result<SocketAddr> {
    let addresses: Vec<_> = timeout(WAITS[2], lookup_host(server)).await??.collect();
    // The node's own address is asked for, which is an IPv4 one first of all.
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    let address =
        address.copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
    let local: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(address).await?;
    let id: TransactionId = rand::random();
    let mut buffer = [0; 1024];
    for wait in WAITS {
        socket.send(&request(&id)).await?;
        let answered = timeout(wait, async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                if let Some(address) = buffer.get(..length).and_then(|packet| parse_response(packet, &id)) {
                    return Ok::<_, io::Error>(address);
                }
            }
        });
        if let Ok(answered) = answered.await {
            return answered;
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer from {server}")))
}

/// A binding request without attributes.
pub fn request(id: &TransactionId) -> [u8; HEADER] {
    let mut packet = [0; HEADER];
    packet[..2].copy_from_slice(&BINDING_REQUEST.to_be_bytes());
    packet[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    packet[8..].copy_from_slice(id);
    packet
}

/// The address in a binding response to the request `id`; `None` for any other packet.
pub fn parse_response(packet: &[u8], id: &TransactionId) -> Option<SocketAddr> {
    let (header, body) = packet.split_at_checked(HEADER)?;
    let is_response = header.starts_with(&BINDING_RESPONSE.to_be_bytes());
    let is_ours = header.get(4..8)? == MAGIC_COOKIE.to_be_bytes() && header.get(8..)? == id;
    if !is_response || !is_ours || usize::from(read_u16(header, 2)?) != body.len() {
        return None;
    }
    let mut plain = None;
    let mut rest = body;
    while let Some((head, after)) = rest.split_at_checked(4) {
        let length = usize::from(read_u16(head, 2)?);
        let value = after.get(..length)?;
        match read_u16(head, 0)? {
            XOR_MAPPED_ADDRESS => return parse_address(value, Some(id)),
            MAPPED_ADDRESS => plain = parse_address(value, None),
            _ => {}
        }
        // Attributes are padded to four bytes; the last one's padding may be missing.
        rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    plain
}

/// The value of a (XOR-)MAPPED-ADDRESS attribute; `id` where it is masked.
fn parse_address(value: &[u8], id: Option<&TransactionId>) -> Option<SocketAddr> {
    let mut mask = [0; 16];
    if let Some(id) = id {
        mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        mask[4..].copy_from_slice(id);
    }
    let port = read_u16(value, 2)? ^ read_u16(&mask, 0)?;
    let unmask = |bytes: &mut [u8]| bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    let ip: IpAddr = match value.get(1)? {
        1 => {
            let mut bytes: [u8; 4] = value.get(4..8)?.try_into().ok()?;
            unmask(&mut bytes);
            bytes.into()
        }
        2 => {
            let mut bytes: [u8; 16] = value.get(4..20)?.try_into().ok()?;
            unmask(&mut bytes);
            bytes.into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{TransactionId, parse_response, request};
    use alloy_primitives::hex;

    /// The sample of RFC 5769, section 2.2, without the attributes that follow the address.
    const RESPONSE: &str = "0101000c2112a442b7e7a701bc34d686fa87dfae002000080001a147e112a643";
    const RESPONSE_V6: &str =
        "010100182112a442b7e7a701bc34d686fa87dfae002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9";

    fn id() -> TransactionId {
        hex!("b7e7a701bc34d686fa87dfae")
    }

    #[test]
    fn the_masked_address_is_read() {
        let read = |text: &str| parse_response(&hex::decode(text).expect("hex"), &id());
        assert_eq!(read(RESPONSE), Some("192.0.2.1:32853".parse().expect("an address")));
        let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("an address");
        assert_eq!(read(RESPONSE_V6), Some(v6));
        // The old attribute, after one that is not known and padded.
        let old = "010100142112a442b7e7a701bc34d686fa87dfae80220003616263000001000800018055c0000201";
        assert_eq!(read(old), Some("192.0.2.1:32853".parse().expect("an address")));
    }

    #[test]
    fn foreign_packets_are_no_answers() {
        let good = hex::decode(RESPONSE).expect("hex");
        assert_eq!(parse_response(&good, &[0; 12]), None, "another's");
        assert_eq!(parse_response(&request(&id()), &id()), None, "a request");
        for length in 0..good.len() {
            assert_eq!(parse_response(&good[..length], &id()), None, "{length} bytes");
        }
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 0xff;
            // It must not panic, whatever it says.
            let _ = parse_response(&bad, &id());
        }
    }
}
