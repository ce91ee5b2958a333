//! A TCP link that a test can cut, stall, slow down and heal: it stands between two processes and carries their bytes.
//!
//! Links run on threads of their own, so a test that waits for a program does not hold them up.

use std::sync::LazyLock;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::process::free_port;

/// Where all links run.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("links").enable_all().build().expect("a runtime")
});
/// Between attempts to have the port back.
const REBIND: Duration = Duration::from_millis(20);
/// Bytes carried at once.
const CHUNK: usize = 64 << 10;

/// What a link does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Carry,
    Cut,
    Stall,
}

#[derive(Clone, Copy, Debug)]
struct State {
    mode: Mode,
    latency: Duration,
}

/// A link from a port of its own to an address. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: watch::Sender<State>,
}

impl Proxy {
    /// A link to `target`, such as `127.0.0.1:9603`, where nobody needs to listen yet.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start(target: impl Into<String>) -> Self {
        let port = free_port();
        let listener = {
            let _runtime = RUNTIME.enter();
            listen(port).unwrap_or_else(|error| panic!("no link on port {port}: {error}"))
        };
        let (state, receiver) = watch::channel(State { mode: Mode::Carry, latency: Duration::ZERO });
        RUNTIME.spawn(serve(port, listener, target.into(), receiver));
        Self { port, state }
    }

    /// The port of 127.0.0.1 that it carries from.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Drops all connections, and refuses new ones.
    pub fn cut(&self) {
        self.set(Mode::Cut);
    }

    /// Keeps connections and takes new ones, but carries nothing: both ends see silence, as when the network loses
    /// every packet.
    pub fn stall(&self) {
        self.set(Mode::Stall);
    }

    /// Ends a cut or a stall; what was under way when it stalled arrives now.
    pub fn heal(&self) {
        self.set(Mode::Carry);
    }

    /// Keeps every byte for this long, in both directions; up to twice as long while there are many.
    pub fn latency(&self, latency: Duration) {
        self.state.send_modify(|state| state.latency = latency);
    }

    fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // The port's old connections may linger for a while.
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    socket.listen(1024)
}

/// Ends when the proxy is dropped.
async fn serve(port: u16, first: TcpListener, target: String, mut state: watch::Receiver<State>) {
    let mut listener = Some(first);
    loop {
        let Ok(open) = listener.take().map_or_else(|| listen(port), Ok) else {
            tokio::time::sleep(REBIND).await;
            continue;
        };
        accept(&open, &target, state.clone()).await;
        drop(open);
        let healed = state.wait_for(|state| state.mode != Mode::Cut).await.is_ok();
        // An error is the end of the proxy.
        if !healed || state.has_changed().is_err() {
            return;
        }
    }
}

/// Takes connections until the link is cut or gone.
async fn accept(listener: &TcpListener, target: &str, mut state: watch::Receiver<State>) {
    let connections = state.clone();
    loop {
        tokio::select! {
            biased;
            _ = state.wait_for(|state| state.mode == Mode::Cut) => return,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                tokio::spawn(connection(stream, target.to_owned(), connections.clone()));
            }
        }
    }
}

/// Carries one connection until it ends or the link is cut or gone.
async fn connection(client: TcpStream, target: String, mut state: watch::Receiver<State>) {
    let carried = carry(client, target, state.clone());
    tokio::select! {
        biased;
        _ = state.wait_for(|state| state.mode == Mode::Cut) => {}
        _ = carried => {}
    }
}

async fn carry(client: TcpStream, target: String, mut state: watch::Receiver<State>) -> std::io::Result<()> {
    flowing(&mut state).await;
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(pump(from_client, to_server, state.clone()), pump(from_server, to_client, state))?;
    Ok(())
}

/// Waits while the link is stalled.
async fn flowing(state: &mut watch::Receiver<State>) -> Duration {
    match state.wait_for(|state| state.mode != Mode::Stall).await {
        Ok(state) => state.latency,
        Err(_) => Duration::ZERO,
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; CHUNK];
    loop {
        let count = from.read(&mut bytes).await?;
        let latency = flowing(&mut state).await;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
            flowing(&mut state).await;
        }
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net;
    use std::time::Instant;

    /// A server that answers every byte with itself.
    fn echo() -> String {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut back = stream.try_clone().unwrap();
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut back));
            }
        });
        address
    }

    fn connect(proxy: &Proxy) -> std::io::Result<net::TcpStream> {
        let stream = net::TcpStream::connect(("127.0.0.1", proxy.port()))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    fn ask(stream: &mut net::TcpStream) -> std::io::Result<()> {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])
    }

    #[test]
    fn a_link_is_stalled_cut_and_healed() {
        let proxy = Proxy::start(echo());
        let mut stream = connect(&proxy).unwrap();
        ask(&mut stream).unwrap();

        proxy.stall();
        let mut new = connect(&proxy).unwrap();
        for stream in [&mut stream, &mut new] {
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            assert!(ask(stream).is_err(), "bytes went through");
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        proxy.heal();
        for stream in [&mut stream, &mut new] {
            stream.read_exact(&mut [0]).expect("what was under way arrives");
            ask(stream).unwrap();
        }

        proxy.cut();
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "the connection is still there");
        let start = Instant::now();
        while connect(&proxy).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(10), "the port is still there");
        }
        proxy.heal();
        while connect(&proxy).and_then(|mut stream| ask(&mut stream)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "the port is not there again");
        }
    }

    #[test]
    fn a_slow_link_keeps_bytes_back() {
        let proxy = Proxy::start(echo());
        let latency = Duration::from_millis(30);
        proxy.latency(latency);
        let mut stream = connect(&proxy).unwrap();
        let start = Instant::now();
        ask(&mut stream).unwrap();
        assert!(start.elapsed() >= 2 * latency);
    }

    #[test]
    fn a_dropped_link_is_gone() {
        let proxy = Proxy::start(echo());
        let (mut stream, port) = (connect(&proxy).unwrap(), proxy.port());
        ask(&mut stream).unwrap();
        drop(proxy);
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
        let start = Instant::now();
        while net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(10), "the port is still there");
        }
    }
}
