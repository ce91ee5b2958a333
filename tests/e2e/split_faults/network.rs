//! The network between two parts: cut (connections end, new ones are refused) and stalled (nothing arrives), and healed.

use super::{RECOVERY, finish, options, recovered, under_load};
use crate::load::Load;
use quintet_testkit::split::{Peer, Service, Split};
use std::time::Duration;

/// How long a link is broken: longer than a dropped packet, so that deadlines are met too.
const BROKEN: Duration = Duration::from_millis(2500);

/// Breaks a link in both ways. Whether transactions are mined meanwhile depends on the link; `goes_on` says.
async fn break_and_heal(split: &mut Split, load: &mut Load, service: Service, peer: Peer, goes_on: bool) {
    for stall in [false, true] {
        let name = format!("{} {service} → {peer:?}", if stall { "stalling" } else { "cutting" });
        let link = split.link(service, peer);
        if stall {
            link.stall();
        } else {
            link.cut();
        }
        tokio::time::sleep(BROKEN).await;
        if goes_on {
            load.progress(&format!("while {name}"), RECOVERY).await;
        }
        split.link(service, peer).heal();
        recovered(split, load, &name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_of_a_gateway_break_and_the_other_goes_on() {
    let (mut split, mut load) = under_load(options()).await;
    for peer in [Peer::Chain, Peer::Redis, Peer::Postgres, Peer::Miner] {
        break_and_heal(&mut split, &mut load, Service::Gateway(0), peer, true).await;
    }
    finish(split, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_of_chain_and_miners_break_and_heal() {
    let (mut split, mut load) = under_load(options()).await;
    // Redis itself answers miners and gateways, and has nothing to tell: they look for themselves.
    break_and_heal(&mut split, &mut load, Service::Chain, Peer::Redis, true).await;
    break_and_heal(&mut split, &mut load, Service::Chain, Peer::Postgres, false).await;
    // One of them leads.
    for miner in [0, 1] {
        for peer in [Peer::Chain, Peer::Redis] {
            break_and_heal(&mut split, &mut load, Service::Miner(miner), peer, false).await;
        }
    }
    finish(split, load).await;
}
