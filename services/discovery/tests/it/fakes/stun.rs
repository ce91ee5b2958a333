//! A STUN server that sees everybody at one address (RFC 5389).

use super::Task;
use std::net::{Ipv4Addr, SocketAddrV4};
use tokio::net::UdpSocket;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Starts it; gives its address.
pub(crate) async fn start(seen: SocketAddrV4) -> (String, Task) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = socket.local_addr().expect("bound").to_string();
    let task = Task::spawn(async move {
        let mut packet = [0; 1024];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            assert!(length >= 20 && packet[..2] == [0, 1] && packet[4..8] == COOKIE, "no binding request");
            // What is not an answer comes first.
            socket.send_to(b"noise", from).await.expect("sent");
            let mut answer = vec![1, 1, 0, 12];
            answer.extend_from_slice(&packet[4..20]);
            answer.extend_from_slice(&[0, 0x20, 0, 8, 0, 1]);
            answer.extend((seen.port() ^ 0x2112).to_be_bytes());
            answer.extend(seen.ip().octets().iter().zip(COOKIE).map(|(byte, mask)| byte ^ mask));
            socket.send_to(&answer, from).await.expect("sent");
        }
    });
    (address, task)
}
