//! Ctrl-C and SIGTERM for commands that work until they are done: the first asks them to stop where it is safe, the
//! second ends the process at once, which loses no more than the batch under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a command that was interrupted, as shells have it for SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// Whether to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for signals from now on, on the runtime that it is called in.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (int, term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let interrupt = Self::default();
        tokio::spawn(watch(int, term, interrupt.clone()));
        Ok(interrupt)
    }

    /// Whether to stop.
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

async fn watch(mut int: Signal, mut term: Signal, interrupt: Interrupt) {
    loop {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        if interrupt.0.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        eprintln!("Interrupted: stopping after the batch under way; once more to stop at once");
    }
}
