//! Why a connection ends, as one side tells the other.

use std::fmt;

use alloy_rlp::{Decodable as _, Encodable as _, Header};

/// A reason to disconnect, in geth's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// `0x00`: no reason that the peer need know.
    Requested,
    /// `0x01`: reading from or writing to the connection failed.
    NetworkError,
    /// `0x02`: malformed messages, or messages that should not be.
    ProtocolError,
    /// `0x03`: nothing in common.
    UselessPeer,
    /// `0x04`: no place left.
    TooManyPeers,
    /// `0x05`: the two are connected already.
    AlreadyConnected,
    /// `0x06`: another base protocol.
    IncompatibleVersion,
    /// `0x07`: a zero or malformed identity.
    InvalidIdentity,
    /// `0x08`: the node shuts down.
    Quitting,
    /// `0x09`: not the node that was dialled.
    UnexpectedIdentity,
    /// `0x0a`: the node dialled itself.
    Itself,
    /// `0x0b`: nothing was heard for too long.
    ReadTimeout,
    /// `0x10`: a reason of a capability.
    SubprotocolError,
    /// `0xff`: what came is no reason. Not to be sent.
    Invalid,
    /// A reason that has no meaning (yet).
    Other(u8),
}

impl DisconnectReason {
    /// The reason with this number.
    pub fn from_code(code: u8) -> Self {
        match code {
            0x00 => Self::Requested,
            0x01 => Self::NetworkError,
            0x02 => Self::ProtocolError,
            0x03 => Self::UselessPeer,
            0x04 => Self::TooManyPeers,
            0x05 => Self::AlreadyConnected,
            0x06 => Self::IncompatibleVersion,
            0x07 => Self::InvalidIdentity,
            0x08 => Self::Quitting,
            0x09 => Self::UnexpectedIdentity,
            0x0a => Self::Itself,
            0x0b => Self::ReadTimeout,
            0x10 => Self::SubprotocolError,
            0xff => Self::Invalid,
            other => Self::Other(other),
        }
    }

    /// The reason's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Requested => 0x00,
            Self::NetworkError => 0x01,
            Self::ProtocolError => 0x02,
            Self::UselessPeer => 0x03,
            Self::TooManyPeers => 0x04,
            Self::AlreadyConnected => 0x05,
            Self::IncompatibleVersion => 0x06,
            Self::InvalidIdentity => 0x07,
            Self::Quitting => 0x08,
            Self::UnexpectedIdentity => 0x09,
            Self::Itself => 0x0a,
            Self::ReadTimeout => 0x0b,
            Self::SubprotocolError => 0x10,
            Self::Invalid => 0xff,
            Self::Other(code) => code,
        }
    }

    /// The payload of the message: `[reason]`.
    pub fn encode(self) -> Vec<u8> {
        let mut out = Vec::new();
        Header { list: true, payload_length: self.code().length() }.encode(&mut out);
        self.code().encode(&mut out);
        out
    }

    /// The reason in a message's payload: a list that begins with it, or it alone, as some clients send it.
    /// What is neither is [`Invalid`](Self::Invalid); the connection ends anyway.
    pub fn decode(mut payload: &[u8]) -> Self {
        let is_list = payload.first().is_some_and(|first| *first >= alloy_rlp::EMPTY_LIST_CODE);
        let reason = if is_list {
            Header::decode_bytes(&mut payload, true).and_then(|mut fields| u8::decode(&mut fields))
        } else if payload == [0] {
            // A bare zero is written as a byte by those who take the payload for a byte string.
            Ok(0)
        } else {
            u8::decode(&mut payload)
        };
        reason.map_or(Self::Invalid, Self::from_code)
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "disconnect requested",
            Self::NetworkError => "network error",
            Self::ProtocolError => "breach of protocol",
            Self::UselessPeer => "useless peer",
            Self::TooManyPeers => "too many peers",
            Self::AlreadyConnected => "already connected",
            Self::IncompatibleVersion => "incompatible p2p protocol version",
            Self::InvalidIdentity => "invalid node identity",
            Self::Quitting => "client quitting",
            Self::UnexpectedIdentity => "unexpected identity",
            Self::Itself => "connected to self",
            Self::ReadTimeout => "read timeout",
            Self::SubprotocolError => "subprotocol error",
            Self::Invalid => "invalid disconnect reason",
            Self::Other(code) => return write!(f, "unknown disconnect reason {code}"),
        })
    }
}

impl std::error::Error for DisconnectReason {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_from_its_number_and_from_its_message() {
        for code in 0..=u8::MAX {
            let reason = DisconnectReason::from_code(code);
            assert_eq!(reason.code(), code);
            assert_eq!(DisconnectReason::decode(&reason.encode()), reason);
        }
        assert_eq!(DisconnectReason::TooManyPeers.encode(), [0xc1, 0x04]);
        assert_eq!(DisconnectReason::Requested.encode(), [0xc1, 0x80]);
    }

    #[test]
    fn a_bare_number_is_a_reason_too() {
        assert_eq!(DisconnectReason::decode(&[0x04]), DisconnectReason::TooManyPeers);
        assert_eq!(DisconnectReason::decode(&[0x10]), DisconnectReason::SubprotocolError);
        assert_eq!(DisconnectReason::decode(&[0x80]), DisconnectReason::Requested);
        assert_eq!(DisconnectReason::decode(&[0x00]), DisconnectReason::Requested);
        // With a second element, and with bytes after the list.
        assert_eq!(DisconnectReason::decode(&[0xc2, 0x03, 0x01]), DisconnectReason::UselessPeer);
        assert_eq!(DisconnectReason::decode(&[0xc1, 0x03, 0x01]), DisconnectReason::UselessPeer);
    }

    #[test]
    fn what_is_no_reason_is_invalid() {
        for payload in
            [&[][..], &[0xc0], &[0xc1], &[0x82, 1, 0], &[0xc3, 0x82, 1, 0], &[0xc1, 0xc0], &[0xff; 9]]
        {
            assert_eq!(DisconnectReason::decode(payload), DisconnectReason::Invalid, "{payload:x?}");
        }
    }

    #[test]
    fn texts_are_geths() {
        assert_eq!(DisconnectReason::TooManyPeers.to_string(), "too many peers");
        assert_eq!(DisconnectReason::from_code(0x0a).to_string(), "connected to self");
        assert_eq!(DisconnectReason::from_code(0x0d).to_string(), "unknown disconnect reason 13");
    }
}
