//! Sockets on which the last word was said.
//!
//! A socket that is closed with something unread is reset, and a reset takes back what was sent last: the other side would
//! not hear why. So what still comes is read and thrown away for a moment.
//!
//! What must hold: neither the time, nor the bytes, nor the number of such sockets is for the other side to choose, and none
//! of them holds a place among the peers or the handshakes.

use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Sockets at once; who comes on top is cut off.
const SOCKETS: usize = 64;
/// How long each is read from.
const TIME: Duration = Duration::from_secs(1);
/// Bytes that are read from each: the largest frame, which may be on its way when it is refused by its header.
const BYTES: u64 = 17 << 20;

/// Those that linger.
#[derive(Debug)]
pub(crate) struct Lingering {
    free: Arc<Semaphore>,
    tasks: TaskTracker,
    time: Duration,
    bytes: u64,
}

impl Default for Lingering {
    fn default() -> Self {
        Self::new(SOCKETS, TIME, BYTES)
    }
}

impl Lingering {
    fn new(sockets: usize, time: Duration, bytes: u64) -> Self {
        Self { free: Arc::new(Semaphore::new(sockets)), tasks: TaskTracker::new(), time, bytes }
    }

    /// Takes a socket that is shut down for writing. It is closed once the other side closes it, or later than is good.
    pub(crate) fn take(&self, stream: impl AsyncRead + Unpin + Send + 'static) {
        let Ok(place) = Arc::clone(&self.free).try_acquire_owned() else { return };
        let (time, bytes) = (self.time, self.bytes);
        self.tasks.spawn(async move {
            let mut rest = stream.take(bytes);
            // Whether it ends by itself is of no matter.
            let _ = timeout(time, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
            drop(place);
        });
    }

    /// Waits until none is left. To be called when no more will come.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::Lingering;
    use std::time::Duration;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    const LONG: Duration = Duration::from_mins(1);
    const DEADLINE: Duration = Duration::from_secs(10);

    /// How many bytes the other side gets rid of.
    async fn written(mut other: DuplexStream, most: usize) -> usize {
        let mut written = 0;
        while written < most && other.write_all(&[0; 64]).await.is_ok() {
            written += 64;
        }
        written
    }

    #[tokio::test]
    async fn what_comes_is_read_up_to_a_limit() {
        let lingering = Lingering::new(8, LONG, 1 << 20);
        let (one, other) = duplex(1024);
        lingering.take(one);
        assert_eq!(timeout(DEADLINE, written(other, 1 << 20)).await.unwrap(), 1 << 20);
        let (one, other) = duplex(1024);
        lingering.take(one);
        let written = timeout(DEADLINE, written(other, 4 << 20)).await.unwrap();
        assert!(written < 2 << 20, "{written}");
        timeout(DEADLINE, lingering.ended()).await.unwrap();
    }

    #[tokio::test]
    async fn who_does_not_close_is_closed() {
        let lingering = Lingering::new(8, Duration::from_millis(20), 1 << 20);
        let (one, mut other) = duplex(1024);
        lingering.take(one);
        timeout(DEADLINE, lingering.ended()).await.unwrap();
        assert!(other.write_all(&[0]).await.is_err());
    }

    #[tokio::test]
    async fn there_are_only_so_many() {
        let lingering = Lingering::new(2, LONG, 1 << 20);
        let mut others = Vec::new();
        for _ in 0..4 {
            let (one, other) = duplex(1024);
            lingering.take(one);
            others.push(other);
        }
        let mut open = Vec::new();
        for other in &mut others {
            open.push(other.write_all(&[0]).await.is_ok());
        }
        assert_eq!(open, [true, true, false, false]);
        // A place is free again once the other side closes.
        drop(others);
        timeout(DEADLINE, lingering.ended()).await.unwrap();
        let (one, mut other) = duplex(1024);
        lingering.take(one);
        assert!(other.write_all(&[0]).await.is_ok());
    }
}
