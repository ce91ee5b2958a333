//! Rows in the format of `COPY … FROM STDIN (FORMAT binary)`, and their way to the server.

use super::numeric;
use alloy_primitives::U256;
use bytes::Bytes;
use futures::SinkExt;
use std::pin::pin;
use tokio_postgres::{Client, Statement};

/// What every stream begins with: signature, flags, and the length of what extends the header.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What every stream ends with.
const TRAILER: &[u8] = &[0xff, 0xff];
/// Bytes in a message, which the server takes into memory as a whole.
const MESSAGE: usize = 128 << 10;

/// Rows of one table, encoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows(pub(super) Vec<u8>);

impl Rows {
    /// Begins a row of so many fields, which must follow.
    pub(super) fn row(&mut self, fields: i16) {
        self.0.extend_from_slice(&fields.to_be_bytes());
    }

    pub(super) fn null(&mut self) {
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(&length(value.len()).to_be_bytes());
        self.0.extend_from_slice(value);
    }

    pub(super) fn optional_bytes(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bytes(value),
            None => self.null(),
        }
    }

    /// A field that `encode` appends.
    pub(super) fn encoded(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.null();
        encode(&mut self.0);
        let written = length(self.0.len() - start - 4).to_be_bytes();
        if let Some(place) = self.0.get_mut(start..start + 4) {
            place.copy_from_slice(&written);
        }
    }

    /// A number without a sign as a `bigint`; see [`bigint`].
    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&8_i32.to_be_bytes());
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&4_i32.to_be_bytes());
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u8_as_smallint(&mut self, value: u8) {
        self.0.extend_from_slice(&2_i32.to_be_bytes());
        self.0.extend_from_slice(&[0, value]);
    }

    pub(super) fn numeric(&mut self, value: &U256) {
        self.encoded(|out| numeric::put(value, out));
    }
}

/// Fields are far shorter: see [`super::rows::MAX_VALUE`].
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// 64 bits without a sign as PostgreSQL has them: those that do not fit wrap.
pub(super) const fn bigint(value: u64) -> i64 {
    value.cast_signed()
}

/// Sends `chunks` of rows through a prepared `COPY` and returns how many rows the server has taken.
pub(super) async fn send(
    client: &Client,
    statement: &Statement,
    chunks: impl IntoIterator<Item = Bytes>,
) -> Result<u64, tokio_postgres::Error> {
    let mut sink = pin!(client.copy_in::<_, Bytes>(statement).await?);
    sink.feed(Bytes::from_static(HEADER)).await?;
    for mut chunk in chunks {
        while !chunk.is_empty() {
            let message = chunk.split_to(chunk.len().min(MESSAGE));
            sink.feed(message).await?;
        }
    }
    sink.feed(Bytes::from_static(TRAILER)).await?;
    sink.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_lengths() {
        let mut rows = Rows::default();
        rows.row(6);
        rows.u64(u64::MAX);
        rows.u32(5);
        rows.u8_as_smallint(2);
        rows.bytes(b"ab");
        rows.null();
        rows.encoded(|out| out.extend_from_slice(b"xyz"));
        let mut expected = vec![0, 6, 0, 0, 0, 8];
        expected.extend([0xff; 8]);
        expected.extend([0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 2, 0, 2, 0, 0, 0, 2, b'a', b'b']);
        expected.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 3, b'x', b'y', b'z']);
        assert_eq!(rows.0, expected);
        assert_eq!(bigint(u64::MAX), -1);
    }
}
