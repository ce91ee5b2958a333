//! The first message of each side: who it is and what it speaks.

use alloy_rlp::{Decodable as _, Encodable as _, Header};

use crate::{Capability, DisconnectReason, Error, PublicKey};

/// `[version, client, [[name, version], …], port, public key, …]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version of the base protocol.
    pub version: u64,
    /// The client's name for itself, as `Geth/v1.8.27-stable/linux-amd64/go1.10`. A peer's is what it likes, and
    /// what is not UTF-8 in it is replaced.
    pub client: String,
    /// What the node speaks beyond the base protocol.
    pub capabilities: Vec<Capability>,
    /// The TCP port that the node listens on; a legacy field that nobody trusts.
    pub port: u64,
    /// The node's identity.
    pub id: PublicKey,
}

impl Hello {
    /// The payload of the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut capabilities = Vec::new();
        for Capability { name, version } in &self.capabilities {
            let payload_length = name.length().saturating_add(version.length());
            Header { list: true, payload_length }.encode(&mut capabilities);
            name.encode(&mut capabilities);
            version.encode(&mut capabilities);
        }
        let mut fields = Vec::new();
        self.version.encode(&mut fields);
        self.client.encode(&mut fields);
        Header { list: true, payload_length: capabilities.len() }.encode(&mut fields);
        fields.extend_from_slice(&capabilities);
        self.port.encode(&mut fields);
        self.id.encode(&mut fields);

        let mut out = Vec::new();
        Header { list: true, payload_length: fields.len() }.encode(&mut out);
        out.extend_from_slice(&fields);
        out
    }

    /// Decodes a message's payload. Further elements, of the list and of each capability, are ignored (EIP-8).
    ///
    /// # Errors
    /// [`Error::BadMessage`], or [`Error::InvalidIdentity`] when the key is zero or not 64 bytes long.
    pub fn decode(payload: &[u8]) -> Result<Self, Error> {
        Self::decode_fields(payload).map_err(|error| Error::BadMessage { message: "hello", error })?
    }

    fn decode_fields(mut payload: &[u8]) -> alloy_rlp::Result<Result<Self, Error>> {
        let mut fields = Header::decode_bytes(&mut payload, true)?;
        let version = u64::decode(&mut fields)?;
        let client = text(&mut fields)?;
        let mut list = Header::decode_bytes(&mut fields, true)?;
        let mut capabilities = Vec::new();
        while !list.is_empty() {
            let mut capability = Header::decode_bytes(&mut list, true)?;
            let name = text(&mut capability)?;
            let version = u64::decode(&mut capability)?;
            capabilities.push(Capability { name, version });
        }
        let port = u64::decode(&mut fields)?;
        let id = Header::decode_bytes(&mut fields, false)?;
        Ok(match PublicKey::try_from(id) {
            Ok(id) if !id.is_zero() => Ok(Self { version, client, capabilities, port, id }),
            _ => Err(Error::InvalidIdentity),
        })
    }

    /// Whether it may come from the node that the handshake was made with.
    ///
    /// # Errors
    /// The reason to disconnect with.
    pub fn check_identity(&self, handshake: &PublicKey) -> Result<(), DisconnectReason> {
        if self.id == *handshake { Ok(()) } else { Err(DisconnectReason::UnexpectedIdentity) }
    }
}

fn text(fields: &mut &[u8]) -> alloy_rlp::Result<String> {
    Ok(String::from_utf8_lossy(Header::decode_bytes(fields, false)?).into_owned())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

    fn hello() -> Hello {
        Hello {
            version: 5,
            client: "Quintet/v0.1.0/linux".into(),
            capabilities: vec![Capability::new("eth", 68), Capability::new("snap", 1)],
            port: 30303,
            id: PublicKey::repeat_byte(7),
        }
    }

    #[test]
    fn a_hello_comes_back() {
        assert_eq!(Hello::decode(&hello().encode()), Ok(hello()));
        let bare = Hello { client: String::new(), capabilities: Vec::new(), port: 0, ..hello() };
        assert_eq!(Hello::decode(&bare.encode()), Ok(bare));
    }

    #[test]
    fn every_truncated_hello_is_refused() {
        let encoded = hello().encode();
        for length in 0..encoded.len() {
            let error = Hello::decode(&encoded[..length]).unwrap_err();
            assert!(matches!(error, Error::BadMessage { message: "hello", .. }), "{error}");
        }
    }

    #[test]
    fn a_key_of_another_length_or_zero_is_an_invalid_identity() {
        let zero = Hello { id: PublicKey::ZERO, ..hello() };
        assert_eq!(Hello::decode(&zero.encode()), Err(Error::InvalidIdentity));
        // [5, "", [], 0, 32 bytes]
        let short = hex::decode(format!("e505 80 c0 80 a0 {}", "07".repeat(32)).replace(' ', "")).unwrap();
        assert_eq!(Hello::decode(&short), Err(Error::InvalidIdentity));
        assert_eq!(Error::InvalidIdentity.disconnect_reason(), DisconnectReason::InvalidIdentity);
    }

    #[test]
    fn another_identity_than_the_handshakes_is_refused() {
        assert_eq!(hello().check_identity(&PublicKey::repeat_byte(7)), Ok(()));
        let other = hello().check_identity(&PublicKey::repeat_byte(8));
        assert_eq!(other, Err(DisconnectReason::UnexpectedIdentity));
    }

    #[test]
    fn names_that_are_not_utf8_do_not_hurt() {
        // [5, 0xff, [[0xff, 1, 2]], 0, id, 1]
        let list = format!("f84d05 81ff c5c481ff0102 80 b840{} 01", "07".repeat(64)).replace(' ', "");
        let decoded = Hello::decode(&hex::decode(list).unwrap()).unwrap();
        assert_eq!(decoded.client, "\u{fffd}");
        assert_eq!(decoded.capabilities, [Capability::new("\u{fffd}", 1)]);
    }
}
