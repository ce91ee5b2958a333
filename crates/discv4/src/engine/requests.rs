//! Questions that we ask, and what becomes of them.
//!
//! A question for neighbours or for a record is answered only by a node to which we proved where we are. So before
//! one, unless the node pinged us of late, we ping it, wait for its pong, give it time to ping us, and our pong time
//! to arrive.
//!
//! A record is asked for only of a node whose pings or pongs say a higher number than that of the record which we have
//! of it (EIP-868): so the question for a record, too, begins with a ping to a node that was not heard yet.

use super::Discv4;
use super::inbound::expiration;
use crate::action::{Action, PongSeen};
use crate::bonds::{MAX_FAILURES, Peer};
use crate::codec::{Outgoing, hash_of};
use crate::error::RequestError;
use crate::packet::{Endpoint, EnrRequest, FindNode, Packet, Ping, VERSION};
use crate::table::{BUCKET_SIZE, TableNode};
use crate::tasks::{Answers, Goal, SETTLE_TIME, Task, Wait};
use alloy_primitives::B256;
use quintet_enode::may_relay;
use quintet_enode::{Enode, Record};
use std::time::Duration;

/// A node that fails too often leaves its bucket only when so many nodes are in it.
const MIN_BUCKET_LEN: usize = BUCKET_SIZE / 4;

impl Discv4 {
    /// Sets out for a goal.
    pub(super) fn start(&mut self, now: Duration, node: Enode, goal: Goal) -> Result<(), RequestError> {
        self.reachable(&node)?;
        if !self.tasks.has_room(goal) {
            return Err(RequestError::Busy);
        }
        let peer = (node.node_id(), node.ip);
        let has_news = match goal {
            Goal::Record(_) => self.has_newer_record(&peer),
            _ => Some(true),
        };
        if has_news == Some(false) && self.bonds.is_proved(now, &peer) {
            self.known_record_finishes(node, &peer, goal);
            return Ok(());
        }
        let question = matches!(goal, Goal::FindNode(..) | Goal::Record(_));
        if question && has_news == Some(true) && !self.bonds.must_prove(now, &peer) {
            self.ask(now, node, peer, goal);
        } else {
            let hash = self.send_ping(now, &node, &peer);
            self.tasks.add(now, Task { node, peer, goal, wait: Wait::Pong(hash), since: now });
        }
        Ok(())
    }

    /// Pings a node, unless a ping to it is under way.
    fn send_ping(&mut self, now: Duration, node: &Enode, peer: &Peer) -> B256 {
        let under_way = self.tasks.of(peer).find_map(|task| match &task.wait {
            Wait::Pong(hash) if task.node.udp == node.udp => Some(*hash),
            _ => None,
        });
        if let Some(hash) = under_way {
            return hash;
        }
        let ping = Packet::Ping(Ping {
            version: VERSION,
            from: self.endpoint,
            to: Endpoint { tcp: 0, ..Endpoint::of(node) },
            expiration: expiration(now),
            enr_seq: Some(self.record.seq()),
        });
        self.send_sealed(node, &ping)
    }

    /// Sends a request whose hash its answer will name.
    fn send_sealed(&mut self, node: &Enode, packet: &Packet) -> B256 {
        let datagram = self.signer.seal(packet);
        let hash = hash_of(&datagram);
        let datagram = Outgoing::Sealed { name: packet.name(), datagram };
        self.act(Action::Send { to: node.udp_addr(), datagram });
        hash
    }

    /// Asks what the goal is, of a node that should know where we are.
    pub(super) fn ask(&mut self, now: Duration, node: Enode, peer: Peer, goal: Goal) {
        let wait = match goal {
            Goal::FindNode(lookup, _) => {
                let Some(target) = self.lookups.get(&lookup).map(|lookup| lookup.target) else { return };
                let question = Packet::FindNode(FindNode { target, expiration: expiration(now) });
                self.send(node.udp_addr(), question);
                Wait::Neighbours(Answers::default())
            }
            Goal::Record(_) => {
                let question = Packet::EnrRequest(EnrRequest { expiration: expiration(now) });
                Wait::Record(self.send_sealed(&node, &question))
            }
            Goal::Bond | Goal::Ping(_) | Goal::Revalidate => return,
        };
        self.tasks.add(now, Task { node, peer, goal, wait, since: now });
    }

    /// The pong that a task waited for came.
    pub(super) fn pong_came(&mut self, now: Duration, task: &Task, enr_seq: Option<u64>) {
        let Task { node, peer, goal, since, .. } = *task;
        match goal {
            Goal::Bond => self.table_add_verified(now, node, true),
            Goal::Ping(id) => {
                let pong = PongSeen { round_trip: now.saturating_sub(since), enr_seq };
                self.act(Action::PingFinished { id, node, pong: Some(pong) });
            }
            Goal::Revalidate => self.table.check_passed(&peer.0),
            Goal::Record(_) if self.has_newer_record(&peer) == Some(false) => {
                self.known_record_finishes(node, &peer, goal);
            }
            Goal::FindNode(..) | Goal::Record(_) => {
                let just_pinged = |at: Duration| now.saturating_sub(at) < SETTLE_TIME;
                let wait = match self.bonds.last_ping(&peer) {
                    Some(at) if just_pinged(at) => Wait::Settling,
                    _ if self.bonds.must_prove(now, &peer) => Wait::TheirPing,
                    _ => return self.ask(now, node, peer, goal),
                };
                self.tasks.add(now, Task { node, peer, goal, wait, since: now });
            }
        }
    }

    /// A task's time is over.
    pub(super) fn finish(&mut self, now: Duration, task: &Task) {
        let Task { node, peer, goal, ref wait, .. } = *task;
        match (goal, wait) {
            (_, Wait::TheirPing | Wait::Settling) => self.ask(now, node, peer, goal),
            (Goal::Bond, _) => {}
            (Goal::Ping(id), _) => self.act(Action::PingFinished { id, node, pong: None }),
            (Goal::Revalidate, _) => {
                let outcome = self.table.check_failed(&peer.0, &mut self.rng);
                self.tell(&outcome);
            }
            (Goal::Record(_), _) => self.record_finished(task, None),
            (Goal::FindNode(lookup, depth), Wait::Neighbours(answers)) if answers.packets > 0 => {
                if self.bonds.failures(&peer) > 0 {
                    self.bonds.set_failures(peer, 0);
                    self.persist(now, node, &peer);
                }
                for named in &answers.nodes {
                    self.table_add_seen(now, *named);
                }
                self.lookup_answered(now, lookup, &peer.0, &answers.nodes, depth);
            }
            (Goal::FindNode(lookup, _), _) => {
                self.count_failure(now, node, peer);
                self.lookup_failed(now, lookup, &peer.0);
            }
        }
    }

    fn count_failure(&mut self, now: Duration, node: Enode, peer: Peer) {
        let failures = self.bonds.failures(&peer).saturating_add(1);
        self.bonds.set_failures(peer, failures);
        if failures >= MAX_FAILURES && self.table.bucket_len(&peer.0) >= MIN_BUCKET_LEN {
            let outcome = self.table.remove(&peer.0, &mut self.rng);
            self.tell(&outcome);
        }
        self.persist(now, node, &peer);
    }

    /// A node's record came: the table takes it, and the address in it if the node can be there.
    pub(super) fn record_came(&mut self, now: Duration, node: Enode, peer: &Peer, record: &Record) {
        if self.table.get(&peer.0).is_none_or(|known| known.seq() > record.seq()) {
            return;
        }
        let moved = record.to_enode_near(node.ip);
        let moved = moved.filter(|moved| self.reachable(moved).is_ok() && may_relay(node.ip, moved.ip));
        self.table.update(&peer.0, moved, Some(record.clone()));
        self.persist(now, moved.unwrap_or(node), &(peer.0, moved.unwrap_or(node).ip));
    }

    /// Whether a node says that it has a newer record than the one that we have of it; `None` before it was heard.
    pub(super) fn has_newer_record(&self, peer: &Peer) -> Option<bool> {
        let known = self.table.get(&peer.0).map_or(0, TableNode::seq);
        self.bonds.enr_seq(peer).map(|seq| seq > known)
    }

    /// Ends the question for a record of which there is no newer one: with what we have, if anything.
    fn known_record_finishes(&mut self, node: Enode, peer: &Peer, goal: Goal) {
        let record = self.table.get(&peer.0).and_then(|known| known.record.clone());
        if let Goal::Record(id) = goal {
            self.act(Action::RecordResolved { id, node, record });
        }
    }

    /// Tells how the question for a record ended.
    pub(super) fn record_finished(&mut self, task: &Task, record: Option<&Record>) {
        if let Goal::Record(id) = task.goal {
            self.act(Action::RecordResolved { id, node: task.node, record: record.cloned() });
        }
    }
}
