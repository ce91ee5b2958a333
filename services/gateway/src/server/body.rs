//! Response bodies: one buffer, or a cached value between two, which is then not copied.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body whose parts are all there.
#[derive(Debug)]
pub(super) enum Parts {
    One(Bytes),
    Several(VecDeque<Bytes>),
}

impl Parts {
    /// A body of one buffer.
    pub(super) fn one(bytes: impl Into<Bytes>) -> Self {
        Self::One(bytes.into())
    }

    /// A body of three buffers.
    pub(super) fn around(before: Bytes, middle: Bytes, after: Bytes) -> Self {
        Self::Several([before, middle, after].into_iter().filter(|part| !part.is_empty()).collect())
    }

    fn remaining(&self) -> u64 {
        match self {
            Self::One(bytes) => bytes.len() as u64,
            Self::Several(parts) => parts.iter().map(|part| part.len() as u64).sum(),
        }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::One(bytes) if bytes.is_empty() => None,
            Self::One(bytes) => Some(std::mem::take(bytes)),
            Self::Several(parts) => parts.pop_front(),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}
