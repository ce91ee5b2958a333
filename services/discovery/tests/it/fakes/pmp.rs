//! A router with NAT-PMP (RFC 6886), which remembers what was asked of it.

use super::Task;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;

const PORT: u16 = 5351;

/// A request to map: UDP or TCP, the inner port, the outer port asked for, seconds.
pub(crate) type Mapping = (&'static str, u16, u16, u32);

pub(crate) struct Router {
    pub(crate) address: Ipv4Addr,
    asked: Arc<Mutex<Vec<Mapping>>>,
    _task: Task,
}

impl Router {
    /// Starts it at a loopback address of its own. It gives outer ports that are `shift` above those asked for.
    pub(crate) async fn start(address: Ipv4Addr, external: Ipv4Addr, shift: u16) -> Self {
        let socket = UdpSocket::bind((address, PORT)).await.expect("the port of NAT-PMP");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&asked);
        let task = Task::spawn(async move {
            let mut packet = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let answer = answer(&packet[..length], external, shift, &list);
                socket.send_to(&answer, from).await.expect("sent");
            }
        });
        Self { address, asked, _task: task }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Mapping> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn answer(request: &[u8], external: Ipv4Addr, shift: u16, list: &Mutex<Vec<Mapping>>) -> Vec<u8> {
    let u16_at = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
    let mut answer = vec![0, 128 + request[1], 0, 0, 0, 0, 0, 1];
    if request[1] == 0 {
        answer.extend(external.octets());
        return answer;
    }
    let kind = if request[1] == 1 { "UDP" } else { "TCP" };
    let (inner, outer) = (u16_at(4), u16_at(6));
    let seconds = u32::from_be_bytes(request[8..12].try_into().expect("four bytes"));
    list.lock().expect("no panic").push((kind, inner, outer, seconds));
    let given = if seconds == 0 { 0 } else { inner + shift };
    answer.extend(inner.to_be_bytes());
    answer.extend(given.to_be_bytes());
    answer.extend(seconds.to_be_bytes());
    answer
}
