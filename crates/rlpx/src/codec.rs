//! Frames: how messages travel once the handshake is done (devp2p `rlpx.md`, "Framing"; EIP-706).
//!
//! `header (16) ‖ header MAC (16) ‖ code and payload, padded to 16 ‖ frame MAC (16)`, all but the MACs encrypted
//! with one AES-256 counter stream per direction. One message is one frame.

use std::fmt;

use aes::Aes256;
use alloy_primitives::Bytes;
use alloy_rlp::Encodable as _;
use bytes::{Buf as _, BytesMut};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};

use crate::base::{DISCONNECT, SNAPPY_VERSION};
use crate::mac::{FrameMac, MAC, equal};
use crate::{Error, Secrets};

/// Most bytes of a message, decompressed: what a frame's size of 24 bits can say.
pub const MAX_MESSAGE: usize = 0xff_ffff;

/// Most bytes of a message of the base protocol, as geth has it; the limit until the peer's hello is there.
pub const MAX_BASE_MESSAGE: usize = 2048;

const BLOCK: usize = 16;
const HEADER: usize = 16;
/// Most bytes of a message code.
const MAX_CODE: usize = 9;
/// Snappy's densest element is 3 bytes that stand for 64; what claims to be denser is no snappy.
const MAX_SNAPPY_RATIO: usize = 22;
/// `[capability id, context id]`, both always zero.
const HEADER_DATA: [u8; 3] = [0xc2, 0x80, 0x80];

/// A message as a peer sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The message's code, with the offset of its capability.
    pub code: u64,
    /// What follows the code, decompressed.
    pub payload: Bytes,
    /// Bytes of the payload as it was in the frame: what to count as traffic.
    pub wire_len: usize,
}

/// Both directions of a session. [`into_parts`](Self::into_parts) gives each to its own task.
pub struct Codec {
    encoder: Encoder,
    decoder: Decoder,
}

impl Codec {
    /// A session as it begins: no compression, and no more than [`MAX_BASE_MESSAGE`] from the peer, until
    /// [`hello_received`](Self::hello_received).
    pub fn new(secrets: Secrets) -> Self {
        let Secrets { aes, mac, egress, ingress, .. } = secrets;
        // The same key and counter for both directions: a known weakness of the protocol.
        let cipher = Ctr128BE::<Aes256>::new(&aes.0.into(), &[0; BLOCK].into());
        Self {
            encoder: Encoder { cipher: cipher.clone(), mac: FrameMac::new(&mac, egress), snappy: None },
            decoder: Decoder {
                cipher,
                mac: FrameMac::new(&mac, ingress),
                snappy: false,
                limit: MAX_BASE_MESSAGE,
                frame: None,
                failed: false,
            },
        }
    }

    /// To be called once our hello is sent and the peer's, with this version of the base protocol, is decoded, before
    /// anything else is: turns compression on from version 5 on, and allows messages of [`MAX_MESSAGE`] bytes.
    pub fn hello_received(&mut self, version: u64) {
        self.set_snappy(version >= SNAPPY_VERSION);
        self.decoder.limit = MAX_MESSAGE;
    }

    /// Turns compression on or off, both ways.
    pub fn set_snappy(&mut self, on: bool) {
        self.encoder.snappy = on.then(snap::raw::Encoder::new);
        self.decoder.snappy = on;
    }

    /// Allows messages of so many bytes from the peer, decompressed; at most [`MAX_MESSAGE`].
    pub fn set_limit(&mut self, bytes: usize) {
        self.decoder.limit = bytes.min(MAX_MESSAGE);
    }

    /// See [`Encoder::encode`].
    ///
    /// # Errors
    /// As there.
    pub fn encode(&mut self, code: u64, payload: &[u8], out: &mut BytesMut) -> Result<usize, Error> {
        self.encoder.encode(code, payload, out)
    }

    /// See [`Decoder::decode`].
    ///
    /// # Errors
    /// As there.
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Message>, Error> {
        self.decoder.decode(src)
    }

    /// See [`Decoder::needed`].
    pub fn needed(&self) -> usize {
        self.decoder.needed()
    }

    /// The two directions apart, with the settings made so far.
    pub fn into_parts(self) -> (Encoder, Decoder) {
        (self.encoder, self.decoder)
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("decoder", &self.decoder).finish_non_exhaustive()
    }
}

/// Makes frames of messages.
pub struct Encoder {
    cipher: Ctr128BE<Aes256>,
    mac: FrameMac,
    /// Its tables are kept from message to message.
    snappy: Option<snap::raw::Encoder>,
}

impl Encoder {
    /// Appends the frame of a message to `out`, and gives the bytes that its payload has in the frame. Frames must
    /// be sent in the order in which they were made.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when the message does not fit a frame; `out` and the session are as before.
    pub fn encode(&mut self, code: u64, payload: &[u8], out: &mut BytesMut) -> Result<usize, Error> {
        if payload.len() > MAX_MESSAGE {
            return Err(Error::TooLarge { size: payload.len(), limit: MAX_MESSAGE });
        }
        let start = out.len();
        let body = start.saturating_add(HEADER + MAC);
        let room = match self.snappy {
            Some(_) => snap::raw::max_compress_len(payload.len()),
            None => payload.len(),
        };
        out.reserve(room.saturating_add(HEADER + MAC + MAX_CODE + BLOCK + MAC));
        out.resize(body, 0);
        code.encode(out);
        let wire_len = self.append_payload(payload, out);
        let size = out.len().saturating_sub(body);
        let [0, high, middle, low] = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes() else {
            out.truncate(start);
            return Err(Error::TooLarge { size, limit: MAX_MESSAGE });
        };
        out.resize(body.saturating_add(size.next_multiple_of(BLOCK)), 0);

        let (header, frame) = out.split_at_mut(start).1.split_at_mut(HEADER + MAC);
        let mut sealed = [0; HEADER];
        for (byte, value) in sealed.iter_mut().zip([high, middle, low].into_iter().chain(HEADER_DATA)) {
            *byte = value;
        }
        self.cipher.apply_keystream(&mut sealed);
        let (header, header_mac) = header.split_at_mut(HEADER);
        header.copy_from_slice(&sealed);
        header_mac.copy_from_slice(&self.mac.header(sealed));
        self.cipher.apply_keystream(frame);
        let frame_mac = self.mac.frame(frame);
        out.extend_from_slice(&frame_mac);
        Ok(wire_len)
    }

    fn append_payload(&mut self, payload: &[u8], out: &mut BytesMut) -> usize {
        let start = out.len();
        if let Some(snappy) = &mut self.snappy {
            out.resize(start.saturating_add(snap::raw::max_compress_len(payload.len())), 0);
            // It fails only where the room given is too small.
            let written = snappy.compress(payload, out.split_at_mut(start).1).unwrap_or_default();
            out.truncate(start.saturating_add(written));
        } else {
            out.extend_from_slice(payload);
        }
        out.len().saturating_sub(start)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("snappy", &self.snappy.is_some()).finish_non_exhaustive()
    }
}

/// Makes messages of frames.
pub struct Decoder {
    cipher: Ctr128BE<Aes256>,
    mac: FrameMac,
    snappy: bool,
    /// Most bytes of a message, decompressed.
    limit: usize,
    /// The size of the frame whose header was read.
    frame: Option<usize>,
    failed: bool,
}

impl Decoder {
    /// Takes the next message from the front of `src`; `None` while it is not there as a whole. Nothing is reserved
    /// in `src`: a peer that announces a large frame gets no memory for it before it sends it.
    ///
    /// # Errors
    /// When a MAC is wrong, a message is too large, or its content is malformed. The session is at its end then: all
    /// further calls fail with [`Error::Failed`].
    pub fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Message>, Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        let result = self.next(src);
        self.failed = result.is_err();
        result
    }

    /// How many bytes `src` must hold for [`decode`](Self::decode) to get on: those of a header, or once that was
    /// read those of its frame.
    pub fn needed(&self) -> usize {
        self.frame.map_or(HEADER + MAC, |size| size.next_multiple_of(BLOCK).saturating_add(MAC))
    }

    /// As [`Codec::set_limit`].
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes.min(MAX_MESSAGE);
    }

    fn next(&mut self, src: &mut BytesMut) -> Result<Option<Message>, Error> {
        if self.frame.is_none() {
            self.frame = self.read_header(src)?;
        }
        let Some(size) = self.frame else { return Ok(None) };
        let padded = size.next_multiple_of(BLOCK);
        let Some((frame, rest)) = src.split_at_mut_checked(padded) else { return Ok(None) };
        let Some(mac) = rest.get(..MAC) else { return Ok(None) };

        if !equal(&self.mac.frame(frame), mac) {
            return Err(Error::BadFrameMac);
        }
        self.cipher.apply_keystream(frame);
        let message = self.open(frame.get(..size).unwrap_or_default())?;
        src.advance(padded.saturating_add(MAC));
        self.frame = None;
        Ok(Some(message))
    }

    /// Takes a header from the front of `src`, and gives the size of its frame.
    fn read_header(&mut self, src: &mut BytesMut) -> Result<Option<usize>, Error> {
        let Some((header, mac)) = src.get(..HEADER + MAC).and_then(<[u8]>::split_first_chunk) else {
            return Ok(None);
        };
        let mut header: [u8; HEADER] = *header;
        if !equal(&self.mac.header(header), mac) {
            return Err(Error::BadHeaderMac);
        }
        src.advance(HEADER + MAC);
        self.cipher.apply_keystream(&mut header);
        let [high, middle, low, ..] = header;
        let size = u32::from_be_bytes([0, high, middle, low]) as usize;
        // Snappy makes data that it cannot compress a little longer.
        let limit = snap::raw::max_compress_len(self.limit).saturating_add(MAX_CODE);
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        Ok(Some(size))
    }

    fn open(&self, frame: &[u8]) -> Result<Message, Error> {
        let (code, data) = split_code(frame)?;
        let payload = match self.decompress(data) {
            // Some clients do not compress their last word, and it is worth knowing.
            Err(Error::BadSnappy) if code == DISCONNECT => Bytes::copy_from_slice(data),
            payload => payload?,
        };
        Ok(Message { code, payload, wire_len: data.len() })
    }

    fn decompress(&self, data: &[u8]) -> Result<Bytes, Error> {
        let limit = self.limit;
        let size = if self.snappy {
            snap::raw::decompress_len(data).map_err(|_| Error::BadSnappy)?
        } else {
            data.len()
        };
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        if !self.snappy {
            return Ok(Bytes::copy_from_slice(data));
        }
        if size > data.len().saturating_mul(MAX_SNAPPY_RATIO) {
            return Err(Error::BadSnappy);
        }
        let mut payload = vec![0; size];
        match snap::raw::Decoder::new().decompress(data, &mut payload) {
            Ok(written) if written == size => Ok(payload.into()),
            _ => Err(Error::BadSnappy),
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("snappy", &self.snappy)
            .field("limit", &self.limit)
            .field("frame", &self.frame)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// The message code that a frame begins with, an RLP integer, and what follows it. A zero byte passes for code 0,
/// although RLP writes it as an empty string.
pub(crate) fn split_code(frame: &[u8]) -> Result<(u64, &[u8]), Error> {
    let (&first, rest) = frame.split_first().ok_or(Error::BadCode)?;
    let length = match first {
        0..=0x7f => return Ok((first.into(), rest)),
        0x80..=0x88 => usize::from(first.saturating_sub(0x80)),
        _ => return Err(Error::BadCode),
    };
    let (bytes, rest) = rest.split_at_checked(length).ok_or(Error::BadCode)?;
    let code = bytes.iter().fold(0_u64, |code, byte| (code << 8) | u64::from(*byte));
    let shortest = bytes.first() != Some(&0) && (length != 1 || code > 0x7f);
    if shortest { Ok((code, rest)) } else { Err(Error::BadCode) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_canonical_integers_and_zero_may_be_a_byte() {
        assert_eq!(split_code(&[0x80, 1]), Ok((0, &[1][..])));
        assert_eq!(split_code(&[0x00, 1]), Ok((0, &[1][..])));
        assert_eq!(split_code(&[0x7f]), Ok((0x7f, &[][..])));
        assert_eq!(split_code(&[0x81, 0x80, 2]), Ok((0x80, &[2][..])));
        assert_eq!(split_code(&[0x88, 1, 0, 0, 0, 0, 0, 0, 0]), Ok((1 << 56, &[][..])));
        for frame in
            [&[][..], &[0x81], &[0x81, 0x7f], &[0x82, 0, 1], &[0x82, 1], &[0x89; 10], &[0xc0], &[0xff; 9]]
        {
            assert_eq!(split_code(frame), Err(Error::BadCode), "{frame:x?}");
        }
    }
}
