//! What the handshake is for: the keys of a session.

use std::fmt;

use alloy_primitives::{B256, Keccak256, keccak256};

use crate::PublicKey;

/// The keys of a session, and who is on the other side of it.
#[derive(Clone)]
pub struct Secrets {
    pub(crate) remote: PublicKey,
    pub(crate) aes: B256,
    pub(crate) mac: B256,
    pub(crate) egress: Keccak256,
    pub(crate) ingress: Keccak256,
}

/// Both packets and what they said.
pub(crate) struct Exchange<'a> {
    /// The product of the two ephemeral keys.
    pub(crate) ephemeral_shared: [u8; 32],
    pub(crate) initiator_nonce: B256,
    pub(crate) recipient_nonce: B256,
    /// The packets as they were on the wire.
    pub(crate) auth: &'a [u8],
    pub(crate) ack: &'a [u8],
}

impl Secrets {
    /// Secrets from their parts: the two keys, and the MAC states of both directions with all that they have
    /// absorbed so far.
    pub fn new(remote: PublicKey, aes: B256, mac: B256, egress: Keccak256, ingress: Keccak256) -> Self {
        Self { remote, aes, mac, egress, ingress }
    }

    /// The identity that the peer has proved to hold the key of. A recipient may believe it only once the first
    /// frame's MAC was right: an `auth` may be a replay.
    pub fn remote(&self) -> &PublicKey {
        &self.remote
    }

    pub(crate) fn of_initiator(remote: PublicKey, exchange: &Exchange<'_>) -> Self {
        let (aes, mac) = exchange.keys();
        let egress = state(mac, exchange.recipient_nonce, exchange.auth);
        let ingress = state(mac, exchange.initiator_nonce, exchange.ack);
        Self { remote, aes, mac, egress, ingress }
    }

    pub(crate) fn of_recipient(remote: PublicKey, exchange: &Exchange<'_>) -> Self {
        let Self { aes, mac, egress, ingress, .. } = Self::of_initiator(remote, exchange);
        Self { remote, aes, mac, egress: ingress, ingress: egress }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl Exchange<'_> {
    /// The AES and the MAC secret.
    fn keys(&self) -> (B256, B256) {
        let key = self.ephemeral_shared;
        let nonces = keccak256([self.recipient_nonce.0, self.initiator_nonce.0].concat());
        let shared = keccak256([key, nonces.0].concat());
        let aes = keccak256([key, shared.0].concat());
        let mac = keccak256([key, aes.0].concat());
        (aes, mac)
    }
}

fn state(mac_secret: B256, nonce: B256, packet: &[u8]) -> Keccak256 {
    let mut state = Keccak256::new();
    state.update(mac_secret ^ nonce);
    state.update(packet);
    state
}
