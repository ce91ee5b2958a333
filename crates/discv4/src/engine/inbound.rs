//! Packets that come, and the answers to them.

use super::{Discv4, EXPIRATION, MAX_ACTIONS};
use crate::action::Action;
use crate::bonds::Peer;
use crate::codec::{MAX_NEIGHBOURS, Unverified, Verified};
use crate::error::Rejected;
use crate::packet::{Endpoint, EnrResponse, FindNode, Neighbour, Neighbours, Packet, Ping, Pong};
use crate::table::BUCKET_SIZE;
use crate::tasks::{Goal, Task, Wait};
use alloy_primitives::{B256, keccak256};
use quintet_enode::may_relay;
use quintet_enode::{Enode, Record};
use std::net::SocketAddr;
use std::time::Duration;

impl Discv4 {
    /// Whether a packet is worth the recovery of its signer: not void, not an answer to nothing, not a question from
    /// where nobody proved to be, not one that was answered, and not one of too many from its address.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn screen(
        &mut self,
        now: Duration,
        from: SocketAddr,
        packet: Unverified,
    ) -> Result<Unverified, Rejected> {
        self.check(now, from, packet.packet(), packet.hash())?;
        Ok(packet.screened())
    }

    /// Acts on a packet from `from`. One that did not go through [`Self::screen`] does so here.
    ///
    /// # Errors
    /// Why it was dropped. Nothing was changed then, and nothing is sent.
    pub fn handle(&mut self, now: Duration, from: SocketAddr, packet: Verified) -> Result<(), Rejected> {
        if !packet.is_screened() {
            self.check(now, from, packet.packet(), packet.hash())?;
        }
        if self.actions.len() >= MAX_ACTIONS {
            return Err(Rejected::Busy);
        }
        if packet.node_id() == self.node_id {
            return Err(Rejected::Own);
        }
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let peer = (packet.node_id(), from.ip());
        let (hash, sender) = (packet.hash(), packet.sender());
        match packet.into_packet() {
            Packet::Ping(ping) => {
                let node = Enode { public_key: sender, ip: from.ip(), tcp: ping.from.tcp, udp: from.port() };
                self.on_ping(now, node, peer, &ping, hash);
                Ok(())
            }
            Packet::Pong(pong) => self.on_pong(now, from, peer, &pong),
            Packet::FindNode(question) => {
                self.require_proof(now, &peer)?;
                self.refuse_replay(hash, from)?;
                self.on_find_node(now, from, &question);
                Ok(())
            }
            Packet::Neighbours(answer) => self.on_neighbours(now, from, &peer, &answer),
            Packet::EnrRequest(_) => {
                self.require_proof(now, &peer)?;
                self.refuse_replay(hash, from)?;
                let record = self.record.encode().to_vec();
                self.send(from, Packet::EnrResponse(EnrResponse { request_hash: hash, record }));
                Ok(())
            }
            Packet::EnrResponse(answer) => self.on_enr_response(now, &peer, &answer),
        }
    }

    fn check(
        &mut self,
        now: Duration,
        from: SocketAddr,
        packet: &Packet,
        hash: B256,
    ) -> Result<(), Rejected> {
        let ip = from.ip().to_canonical();
        if !self.allows(ip) {
            return Err(Rejected::NotAllowed);
        }
        if packet.expiration().is_some_and(|expiration| is_expired(now, expiration)) {
            return Err(Rejected::Expired);
        }
        let proved = self.bonds.is_known(&ip);
        match packet {
            Packet::FindNode(_) | Packet::EnrRequest(_) if !proved => return Err(Rejected::Unproved),
            Packet::FindNode(_) | Packet::EnrRequest(_) if self.replays.get(&(hash, ip)).is_some() => {
                return Err(Rejected::Replayed);
            }
            Packet::Ping(_) | Packet::FindNode(_) | Packet::EnrRequest(_) => {}
            Packet::Pong(Pong { ping_hash: hash, .. })
            | Packet::EnrResponse(EnrResponse { request_hash: hash, .. })
                if self.tasks.awaits(hash) => {}
            Packet::Neighbours(_) if self.tasks.awaits_neighbours(&ip) => {}
            Packet::Pong(_) | Packet::Neighbours(_) | Packet::EnrResponse(_) => {
                return Err(Rejected::Unsolicited);
            }
        }
        if self.limiter.admit(now, ip, proved) { Ok(()) } else { Err(Rejected::RateLimited) }
    }

    fn require_proof(&self, now: Duration, peer: &Peer) -> Result<(), Rejected> {
        if self.bonds.is_proved(now, peer) { Ok(()) } else { Err(Rejected::Unproved) }
    }

    /// Whoever repeats a question of somebody else's, from a forged address, gets nothing for it, and does not keep it
    /// from being answered where it came from. Pings may come twice: those of one second are the same, and their
    /// answer is no larger.
    fn refuse_replay(&mut self, hash: B256, from: SocketAddr) -> Result<(), Rejected> {
        let request = (hash, from.ip());
        if self.replays.get(&request).is_some() {
            return Err(Rejected::Replayed);
        }
        self.replays.touch(request, || ());
        Ok(())
    }

    fn on_ping(&mut self, now: Duration, node: Enode, peer: Peer, ping: &Ping, hash: B256) {
        let from = node.udp_addr();
        let to = Endpoint { ip: Some(node.ip), udp: node.udp, tcp: ping.from.tcp };
        let (expiration, enr_seq) = (expiration(now), Some(self.record.seq()));
        self.send(from, Packet::Pong(Pong { to, ping_hash: hash, expiration, enr_seq }));
        self.bonds.ping_received(now, peer);
        self.bonds.enr_seq_heard(peer, ping.enr_seq);
        if self.bonds.is_proved(now, &peer) {
            self.table_add_verified(now, node, false);
            self.tell_endpoint(from, ping.to);
        } else if !self.tasks.of(&peer).any(|task| task.goal == Goal::Bond) {
            // When too much is under way, the node gets its pong, and must come again for more.
            self.start(now, node, Goal::Bond).ok();
        }
        for task in self.tasks.take(&peer, |task| task.wait == Wait::TheirPing) {
            self.tasks.add(now, Task { wait: Wait::Settling, since: now, ..task });
        }
    }

    fn on_pong(&mut self, now: Duration, from: SocketAddr, peer: Peer, pong: &Pong) -> Result<(), Rejected> {
        let tasks = self.tasks.take(&peer, |task| task.wait == Wait::Pong(pong.ping_hash));
        let Some(node) = tasks.first().map(|task| task.node) else { return Err(Rejected::Unsolicited) };
        self.bonds.pong_received(now, peer);
        self.bonds.enr_seq_heard(peer, pong.enr_seq);
        self.act(Action::NodeVerified(node));
        self.tell_endpoint(from, pong.to);
        if self.table.get(&peer.0).is_some_and(|known| known.liveness_checks == 0) {
            self.table.check_passed(&peer.0);
        }
        for task in tasks {
            self.pong_came(now, &task, pong.enr_seq);
        }
        self.persist(now, node, &peer);
        let asked = self.tasks.of(&peer).any(|task| matches!(task.goal, Goal::Record(_)));
        if !asked && self.table.get(&peer.0).is_some() && self.has_newer_record(&peer) == Some(true) {
            self.start(now, node, Goal::Record(None)).ok();
        }
        Ok(())
    }

    fn on_find_node(&mut self, now: Duration, from: SocketAddr, question: &FindNode) {
        let closest = self.table.closest(&keccak256(question.target), BUCKET_SIZE, true);
        let told = closest.iter().map(|node| &node.enode).filter(|node| may_relay(from.ip(), node.ip));
        let nodes: Vec<_> = told.map(Neighbour::of).collect();
        let answer = |nodes: &[Neighbour]| {
            Packet::Neighbours(Neighbours { nodes: nodes.to_vec(), expiration: expiration(now) })
        };
        if nodes.is_empty() {
            self.send(from, answer(&[]));
        }
        for part in nodes.chunks(MAX_NEIGHBOURS) {
            self.send(from, answer(part));
        }
    }

    fn on_neighbours(
        &mut self,
        now: Duration,
        from: SocketAddr,
        peer: &Peer,
        answer: &Neighbours,
    ) -> Result<(), Rejected> {
        let named = answer.nodes.iter().map(|node| self.acceptable(from, node)).collect::<Vec<_>>();
        let mut asked = false;
        // Which of several questions of ours it answers, it does not say: it serves all.
        let complete = self.tasks.take(peer, |task| {
            let Wait::Neighbours(answers) = &mut task.wait else { return false };
            asked = true;
            answers.packets = answers.packets.saturating_add(1);
            let room = BUCKET_SIZE.saturating_sub(answers.listed);
            answers.nodes.extend(named.iter().take(room).flatten());
            answers.listed = answers.listed.saturating_add(named.len());
            answers.listed >= BUCKET_SIZE || named.is_empty()
        });
        for task in complete {
            self.finish(now, &task);
        }
        if asked { Ok(()) } else { Err(Rejected::Unsolicited) }
    }

    /// A node that somebody named, if it can be one.
    fn acceptable(&self, from: SocketAddr, named: &Neighbour) -> Option<Enode> {
        /// Ports up to it belong to the services of an operating system.
        const LOW_PORT: u16 = 1024;
        let Endpoint { ip, udp, tcp } = named.endpoint;
        let node = Enode { public_key: named.public_key, ip: ip?, tcp, udp };
        let possible = udp > LOW_PORT && may_relay(from.ip(), node.ip) && self.reachable(&node).is_ok();
        (possible && quintet_enode::to_secp(&node.public_key).is_some()).then_some(node)
    }

    fn on_enr_response(&mut self, now: Duration, peer: &Peer, answer: &EnrResponse) -> Result<(), Rejected> {
        let tasks = self.tasks.take(peer, |task| task.wait == Wait::Record(answer.request_hash));
        let Some(node) = tasks.first().map(|task| task.node) else { return Err(Rejected::Unsolicited) };
        let record = Record::decode(&answer.record).map_err(|error| error.to_string());
        let record = record.and_then(|record| {
            let own = record.public_key() == node.public_key;
            if own { Ok(record) } else { Err("signed by another node".to_owned()) }
        });
        if let Ok(record) = &record {
            self.record_came(now, node, peer, record);
        }
        for task in tasks {
            self.record_finished(&task, record.as_ref().ok());
        }
        record.map(|_| ()).map_err(Rejected::Record)
    }

    fn tell_endpoint(&mut self, by: SocketAddr, endpoint: Endpoint) {
        if let Some(ip) = endpoint.ip {
            self.act(Action::EndpointStatement { by, endpoint: SocketAddr::new(ip, endpoint.udp) });
        }
    }
}

/// Whether a packet is void. Others read the time with a sign: what has the highest bit set is long past.
fn is_expired(now: Duration, expiration: u64) -> bool {
    i64::try_from(expiration).is_err() || Duration::from_secs(expiration) < now
}

/// When a packet that is sent now becomes void, in Unix seconds.
pub(super) fn expiration(now: Duration) -> u64 {
    now.saturating_add(EXPIRATION).as_secs()
}
