//! Routers and STUN servers: what they are asked, and what becomes of their answers.

use crate::fakes::{pmp, stun, upnp};
use quintet_discovery::nat::mapping::{self, Found, Options, Pace, Port};
use quintet_discovery::nat::{Nat, Protocol, Search};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const TCP: Port = Port { protocol: Protocol::Tcp, internal: 30_303 };
const UDP: Port = Port { protocol: Protocol::Udp, internal: 30_304 };

struct Running {
    found: mpsc::Receiver<Found>,
    token: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(nat: &str, search: Search) -> Self {
        let pace = Pace {
            renew: Duration::from_millis(50),
            retry: Duration::from_millis(50),
            address: Duration::from_mins(1),
        };
        let options = Options { nat: nat.parse().expect("a mechanism"), search, pace };
        let (sender, found) = mpsc::channel(16);
        let token = CancellationToken::new();
        let task = tokio::spawn(mapping::run(options, vec![TCP, UDP], sender, token.clone()));
        Self { found, token, task }
    }

    async fn next(&mut self) -> Found {
        timeout(DEADLINE, self.found.recv()).await.expect("in time").expect("running")
    }

    async fn next_three(&mut self) -> [Found; 3] {
        [self.next().await, self.next().await, self.next().await]
    }

    /// Stops it; what it maps is to be taken back.
    async fn stop(mut self) {
        self.token.cancel();
        self.found.close();
        timeout(DEADLINE, self.task).await.expect("in time").expect("no panic");
    }
}

#[tokio::test]
async fn a_fixed_address_is_told() {
    let mut running = Running::start("extip:203.0.113.7", Search::default());
    assert_eq!(running.next().await, Found::Address(EXTERNAL.into()));
    running.stop().await;
}

#[tokio::test]
async fn a_stun_server_tells_the_address() {
    let (server, _task) = stun::start("203.0.113.7:4000".parse().expect("an address")).await;
    let mut running = Running::start(&format!("stun:{server}"), Search::default());
    assert_eq!(running.next().await, Found::Address(EXTERNAL.into()));
    running.stop().await;
}

#[tokio::test]
async fn nat_pmp_maps_renews_and_takes_back() {
    let router = pmp::Router::start(Ipv4Addr::new(127, 0, 0, 77), EXTERNAL, 1000).await;
    let mut running = Running::start(&format!("pmp:{}", router.address), Search::default());
    let expected = [
        Found::Address(EXTERNAL.into()),
        Found::Port(Protocol::Tcp, 31_303),
        Found::Port(Protocol::Udp, 31_304),
    ];
    assert_eq!(running.next_three().await, expected);
    // Renewals ask for what was given.
    assert_eq!(running.next().await, expected[1]);
    running.stop().await;
    let asked = router.asked();
    assert_eq!(asked[..2], [("TCP", 30_303, 30_303, 600), ("UDP", 30_304, 30_304, 600)]);
    assert_eq!(asked[2], ("TCP", 30_303, 31_303, 600));
    assert_eq!(asked[asked.len() - 2..], [("TCP", 30_303, 0, 0), ("UDP", 30_304, 0, 0)]);
}

#[tokio::test]
async fn upnp_maps_around_ports_that_are_taken() {
    let router = upnp::Router::start(EXTERNAL, Some(30_304)).await;
    let mut running = Running::start("upnp", Search { ssdp: Some(router.ssdp) });
    let [address, tcp, udp] = running.next_three().await;
    assert_eq!((address, tcp), (Found::Address(EXTERNAL.into()), Found::Port(Protocol::Tcp, 30_303)));
    let Found::Port(Protocol::Udp, port) = udp else { panic!("{udp:?}") };
    assert_ne!(port, 30_304);
    running.stop().await;
    let actions = router.actions();
    assert_eq!(actions[0], "GetExternalIPAddress");
    assert_eq!(actions[1], "AddPortMapping TCP 30303 600 ethereum p2p");
    assert_eq!(actions[2], "AddPortMapping UDP 30304 600 ethereum discovery");
    assert_eq!(actions[3], format!("AddPortMapping UDP {port} 600 ethereum discovery"));
    assert!(actions.contains(&"DeletePortMapping TCP 30303".to_owned()), "{actions:?}");
    assert!(actions.contains(&format!("DeletePortMapping UDP {port}")), "{actions:?}");
}

#[tokio::test]
async fn any_takes_who_answers() {
    let router = upnp::Router::start(EXTERNAL, None).await;
    let mut running = Running::start("any", Search { ssdp: Some(router.ssdp) });
    assert_eq!(running.next().await, Found::Address(EXTERNAL.into()));
    running.stop().await;
    assert_eq!("any".parse(), Ok(Nat::Any));
}
