//! The `eth` status handshake: each side says what its chain is, and both stay only if it is one chain.

use crate::connection::{Connection, Failure};
use crate::forks::ForkRules;
use crate::peer::Peer;
use alloy_eip2124::{ForkHash, ForkId, ValidationError};
use alloy_primitives::B256;
use quintet_chain_api::LinkStatus;
use quintet_eth_wire::{BlockRange, ChainStatus, EthMessageId, EthVersion, Status, WireError};
use quintet_rlpx::{DisconnectReason, base};

/// Why the peer and we part at the status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    /// The connection broke, or the peer said something else than it should.
    #[error(transparent)]
    Connection(#[from] Failure),
    /// Another message than the status came first.
    #[error("first message has code {0:#x}, and is no status")]
    NoStatus(u64),
    /// It is malformed.
    #[error(transparent)]
    Malformed(#[from] WireError),
    /// It is of another network.
    #[error("network ID mismatch: {got} (!= {want})")]
    Network {
        /// The peer's.
        got: u64,
        /// Ours.
        want: u64,
    },
    /// It is of another chain.
    #[error("genesis mismatch: {got} (!= {want})")]
    Genesis {
        /// The peer's.
        got: B256,
        /// Ours.
        want: B256,
    },
    /// Its chain has other forks, or one of the two is out of date.
    #[error("fork ID rejected: {0}")]
    ForkId(ValidationError),
}

impl StatusError {
    /// Whether the node is of no use, however often it is asked.
    pub(crate) const fn is_lasting(&self) -> bool {
        matches!(self, Self::Network { .. } | Self::Genesis { .. } | Self::ForkId(_))
    }

    /// What to tell the peer, as geth does.
    pub(crate) fn tell(&self) -> Option<DisconnectReason> {
        match self {
            Self::Connection(failure) => failure.tell(),
            _ => Some(DisconnectReason::SubprotocolError),
        }
    }

    /// Whether the peer broke the protocol.
    pub(crate) const fn is_breach(&self) -> bool {
        match self {
            Self::Connection(failure) => failure.is_offence(true),
            Self::NoStatus(_) | Self::Malformed(_) => true,
            _ => false,
        }
    }
}

/// What `chain` says, as the status of a version.
pub(crate) fn ours(version: EthVersion, chain: &LinkStatus) -> Status {
    let range = BlockRange {
        earliest: chain.earliest_block.min(chain.head.number),
        latest: chain.head.number,
        latest_hash: chain.head.hash,
    };
    let chain = ChainStatus {
        network_id: chain.network_id,
        genesis: chain.genesis,
        fork_id: ForkId { hash: ForkHash(chain.fork_hash), next: chain.fork_next },
        total_difficulty: chain.total_difficulty,
        range,
    };
    Status::new(version, &chain)
}

/// Whether a peer with this status is on our chain.
pub(crate) fn check(
    theirs: &Status,
    chain: &LinkStatus,
    rules: Option<&ForkRules>,
) -> Result<(), StatusError> {
    if theirs.network_id != chain.network_id {
        return Err(StatusError::Network { got: theirs.network_id, want: chain.network_id });
    }
    if theirs.genesis != chain.genesis {
        return Err(StatusError::Genesis { got: theirs.genesis, want: chain.genesis });
    }
    let fork = theirs.fork_id.zip(rules);
    fork.map_or(Ok(()), |(fork, rules)| rules.check(chain, fork)).map_err(StatusError::ForkId)
}

/// Exchanges statuses; gives the peer's, checked, and its bytes.
pub(crate) async fn exchange(
    connection: &mut Connection,
    peer: &Peer,
    chain: &LinkStatus,
    rules: Option<&ForkRules>,
) -> Result<(Status, alloy_primitives::Bytes), StatusError> {
    let (version, offset) = (peer.protocols.eth, peer.protocols.eth_offset());
    let code = offset.saturating_add(EthMessageId::Status.code());
    connection.send(code, &ours(version, chain).encode()).await?;
    loop {
        let message = connection.receive().await?;
        match message.code {
            base::DISCONNECT => {
                let reason = DisconnectReason::decode(&message.payload);
                return Err(Failure::Disconnected(reason).into());
            }
            base::PING => connection.send(base::PONG, base::EMPTY).await?,
            ignored if ignored < base::LENGTH => {}
            first if first == code => {
                let theirs = Status::decode(version, &message.payload)?;
                check(&theirs, chain, rules)?;
                return Ok((theirs, message.payload));
            }
            other => return Err(StatusError::NoStatus(other.saturating_sub(offset))),
        }
    }
}
