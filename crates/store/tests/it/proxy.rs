//! Stands between the engine and PostgreSQL, and cuts the connection at the worst moment.

use parking_lot::Mutex;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// What happens at the next `COMMIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing.
    Never,
    /// The connection is cut before the server hears of it.
    Before,
    /// The server does it, and its answer is lost.
    After,
    /// The same, and nobody can connect again until the plan changes.
    AfterAndRefuse,
    /// Nobody can connect.
    Refuse,
}

/// A running proxy.
pub(crate) struct Proxy {
    port: u16,
    plan: Arc<Mutex<Cut>>,
}

impl Proxy {
    /// Listens, and forwards to a server on this machine.
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(Mutex::new(Cut::Never));
        let shared = Arc::clone(&plan);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if *shared.lock() == Cut::Refuse {
                    continue;
                }
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
                let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let shared = Arc::clone(&shared);
                thread::spawn(move || copy(back, forth));
                thread::spawn(move || forward(client, server, &shared));
            }
        });
        Self { port, plan }
    }

    /// `url` with the proxy's port.
    pub(crate) fn url(&self, url: &str) -> String {
        let (head, rest) = url.rsplit_once(':').unwrap();
        let (_, database) = rest.split_once('/').unwrap();
        format!("{head}:{}/{database}", self.port)
    }

    pub(crate) fn plan(&self, cut: Cut) {
        *self.plan.lock() = cut;
    }

    pub(crate) fn planned(&self) -> Cut {
        *self.plan.lock()
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

fn forward(mut client: TcpStream, mut server: TcpStream, plan: &Mutex<Cut>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length) = client.read(&mut buffer) {
        let bytes = &buffer[..length];
        let mut planned = plan.lock();
        if length > 0 && *planned != Cut::Never && bytes.windows(7).any(|window| window == b"COMMIT\0") {
            let cut = std::mem::replace(&mut *planned, Cut::Never);
            if cut == Cut::AfterAndRefuse {
                *planned = Cut::Refuse;
            }
            // The answer's way is cut first.
            client.shutdown(Shutdown::Both).unwrap();
            if cut != Cut::Before {
                server.write_all(bytes).unwrap();
            }
            drop(planned);
            // The server reads what was sent before it sees the end.
            let _ = server.shutdown(Shutdown::Write);
            return;
        }
        drop(planned);
        if length == 0 || server.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}
