//! A private Redis for tests: started from the machine's package, on a free port, keeping nothing on disk.
//!
//! As with PostgreSQL, a shell stands between the test and the server: its input is a pipe from the test, at whose
//! end it stops the server and removes the directory. So nothing is left behind, however the test ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// For how long the server may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// Runs the server, whose command are the arguments behind the directory, until the input ends; acknowledges each word.
const GUARD: &str = r#"directory=$1; shift
"$@" >>"$directory/log" 2>&1 </dev/null &
server=$!
while read -r word; do
    case $word in
        pause) kill -STOP $server ;;
        resume) kill -CONT $server ;;
        *) break ;;
    esac
    echo "$word"
done
case $word in
    kill) kill -KILL $server ;;
    *) kill -CONT $server; kill -TERM $server ;;
esac
wait $server
[ -n "$word" ] || rm -rf "$directory"
"#;

/// A running server. It is stopped and removed when dropped.
pub struct Redis {
    directory: TempDir,
    port: u16,
    guard: Option<Guard>,
}

/// The shell beside the server.
struct Guard {
    shell: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Redis {
    /// Starts a server of one's own.
    ///
    /// # Panics
    /// When Redis is not installed, or does not start.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("quintet-redis-").tempdir().expect("a directory");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("its number").port();
        drop(free);
        let mut server = Self { directory, port, guard: None };
        server.start_again();
        server
    }

    /// The server that all tests of this process share; made by the first. Each uses keys of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The address of a database, 0 to 15.
    pub fn url(&self, database: u8) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server, cutting its connections. What it held is lost.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) {
        self.end("stop");
    }

    /// Kills the server, as a crash would.
    ///
    /// # Panics
    /// When it does not end.
    pub fn kill(&mut self) {
        self.end("kill");
    }

    /// Starts the server, empty, on the same port, after [`Self::stop`] or [`Self::kill`], or stops it first.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        self.stop();
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(self.directory.path());
        command.arg("redis-server").args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.arg("--dir").arg(self.directory.path());
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        assert!(
            installed(),
            "Redis is not installed: the tests need its server (Debian, Ubuntu: apt install redis-server)"
        );
        let mut shell = command.spawn().expect("sh runs");
        let input = shell.stdin.take().expect("the guard has an input");
        let output = BufReader::new(shell.stdout.take().expect("the guard has an output"));
        self.guard = Some(Guard { shell, input, output });
        let started = Instant::now();
        while self.ask("PING").is_none_or(|answer| answer != "+PONG") {
            assert!(started.elapsed() < PATIENCE, "Redis does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Removes everything from every database.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn flush(&self) {
        assert_eq!(
            self.ask("FLUSHALL").as_deref(),
            Some("+OK"),
            "Redis does not empty itself: {}",
            self.log()
        );
    }

    /// Makes the server hang: it keeps its connections and takes new ones, but answers nothing.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&mut self) {
        self.tell("pause");
    }

    /// Ends a [`Self::pause`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&mut self) {
        self.tell("resume");
    }

    fn tell(&mut self, word: &str) {
        let guard = self.guard.as_mut().expect("the server runs");
        writeln!(guard.input, "{word}").expect("the guard listens");
        let mut answer = String::new();
        guard.output.read_line(&mut answer).expect("the guard answers");
        assert_eq!(answer.trim_end(), word, "the guard ended");
    }

    fn end(&mut self, how: &str) {
        let Some(mut guard) = self.guard.take() else { return };
        writeln!(guard.input, "{how}").expect("the guard listens");
        drop(guard.input);
        guard.shell.wait().expect("the guard ends");
    }

    /// The first line of the answer to a command without arguments; none when nobody listens.
    fn ask(&self, command: &str) -> Option<String> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        connection.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(connection, "{command}\r\nQUIT\r\n").ok()?;
        let mut answers = String::new();
        connection.read_to_string(&mut answers).ok()?;
        answers.lines().next().map(str::to_owned)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.guard.is_some() {
            self.end("stop");
        }
    }
}

/// Whether there is a server on the path.
fn installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("redis-server").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_hangs_stops_and_is_gone() {
        let mut server = Redis::start();
        server.flush();
        server.pause();
        let mut hanging = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        hanging.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        hanging.write_all(b"PING\r\n").unwrap();
        let mut answer = [0; 7];
        assert!(hanging.read(&mut answer).is_err());
        server.resume();
        hanging.set_read_timeout(Some(PATIENCE)).unwrap();
        hanging.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
        server.kill();
        assert!(server.ask("PING").is_none());
        server.start_again();
        assert_eq!(server.ask("DBSIZE").as_deref(), Some(":0"));
        let (port, directory) = (server.port(), server.directory.path().to_owned());
        drop(server);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        assert!(!directory.exists());
    }
}
