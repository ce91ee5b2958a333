//! Routers and servers of others, as far as discovery talks with them, on loopback.

pub(crate) mod dns;
pub(crate) mod pmp;
pub(crate) mod stun;
pub(crate) mod upnp;

use tokio::task::JoinHandle;

/// A server that ends with the test.
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(server: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(server))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
