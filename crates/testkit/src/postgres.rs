//! A private PostgreSQL for tests: started from the machine's packages, on a free port, in a directory that
//! is gone afterwards.
//!
//! A shell stands between the test and the server: its input is a pipe from the test, at whose end it stops
//! the server and removes the directory. So nothing is left behind, however the test ends.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// For how long the server may take to start or stop.
const PATIENCE: Duration = Duration::from_mins(1);
/// The superuser that the server is made with.
const USER: &str = "quintet";
/// Runs the server, whose command are the arguments behind the directory, until the input ends.
const GUARD: &str = r#"directory=$1; shift
"$@" >>"$directory/log" 2>&1 </dev/null &
server=$!
read -r last
case $last in
    kill) children=$(pgrep -P $server 2>/dev/null); kill -KILL $server $children ;;
    *) kill -INT $server ;;
esac
wait $server
for child in $children; do
    while case $(cat /proc/$child/stat 2>/dev/null) in '' | *') Z '* | *') X '*) false ;; esac; do sleep 0.01; done
done
[ -n "$last" ] || rm -rf "$directory"
"#;

/// How hard the server tries to keep what it has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// As in production: for measurements, and for tests that kill the server.
    On,
    /// A crash of the machine may lose everything; faster.
    #[default]
    Off,
}

/// A running server. It is stopped and removed when dropped.
pub struct Postgres {
    directory: TempDir,
    programs: PathBuf,
    settings: Vec<String>,
    owner: Option<(u32, u32)>,
    port: u16,
    guard: Option<Child>,
}

impl Postgres {
    /// Starts a server of one's own.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, or does not start.
    pub fn start() -> Self {
        Self::start_with(Fsync::Off, &[])
    }

    /// The same, with `name=value` settings.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, or does not start.
    pub fn start_with(fsync: Fsync, settings: &[&str]) -> Self {
        let programs = programs().unwrap_or_else(|| {
            panic!("PostgreSQL is not installed: the tests need its server (Debian, Ubuntu: apt install postgresql)")
        });
        let directory = tempfile::Builder::new().prefix("quintet-postgres-").tempdir().expect("a directory");
        let owner = unprivileged();
        if let Some((user, group)) = owner {
            chown(directory.path(), Some(user), Some(group)).expect("the directory's owner can be set");
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("permissions");
        let fsync = if fsync == Fsync::On { "on" } else { "off" };
        let mut all = vec![
            format!("fsync={fsync}"),
            format!("full_page_writes={fsync}"),
            "max_connections=200".to_owned(),
        ];
        all.extend(settings.iter().map(|setting| (*setting).to_owned()));
        let mut server = Self { directory, programs, settings: all, owner, port: 0, guard: None };
        server.initialise();
        server.launch();
        server
    }

    /// The server that all tests of this process share; made by the first. Each makes its own database.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        self.url_as(USER, database)
    }

    /// The address of a database for another user; there are no passwords.
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and returns its address.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Runs SQL by `psql` and returns what it prints: rows as lines, columns between bars.
    ///
    /// # Panics
    /// With the server's words, when it refuses.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(&self.url(database), sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same at any address of this server, for a statement that may be refused.
    ///
    /// # Errors
    /// The server's words.
    pub fn try_sql(&self, url: &str, sql: &str) -> Result<String, String> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        command.arg(url).args(["--command", sql]);
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Ends the server, cutting its connections, but not its files: [`Self::restart`] starts it again.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) {
        self.end("stop");
    }

    /// Kills the server's processes, as a crash would.
    ///
    /// # Panics
    /// When they do not end.
    pub fn kill(&mut self) {
        self.end("kill");
    }

    /// Starts the server again, on the same port, after [`Self::stop`] or [`Self::kill`], or stops it first.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    fn end(&mut self, how: &str) {
        let Some(mut guard) = self.guard.take() else { return };
        let mut input = guard.stdin.take().expect("the guard has a pipe");
        writeln!(input, "{how}").expect("the guard listens");
        drop(input);
        guard.wait().expect("the guard ends");
    }

    /// A command that runs as the user who owns the files.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command.current_dir(self.directory.path()).env("LC_ALL", "C");
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn initialise(&self) {
        let mut command = self.command(&self.programs.join("initdb"));
        command.arg("--pgdata").arg(self.data());
        command.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", USER]);
        let output = command.output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn launch(&mut self) {
        if self.port == 0 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            self.port = free.local_addr().expect("its number").port();
        }
        let mut guard = self.command(Path::new("sh"));
        guard.args(["-c", GUARD, "sh"]).arg(self.directory.path()).arg(self.programs.join("postgres"));
        guard.arg("-D").arg(self.data()).arg("-k").arg(self.directory.path());
        guard.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        for setting in &self.settings {
            guard.args(["-c", setting]);
        }
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.guard = Some(guard.spawn().expect("sh runs"));
        let started = Instant::now();
        while self.try_sql(&self.url("postgres"), "SELECT 1").is_err() {
            assert!(started.elapsed() < PATIENCE, "PostgreSQL does not start: {}", self.log());
            // Cheaper than psql while nobody listens.
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err()
                && started.elapsed() < PATIENCE
            {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.guard.is_some() {
            self.end("stop");
        }
    }
}

/// Where the server's programs are: on the path, or where Debian puts them (the newest version).
fn programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).collect::<Vec<_>>();
    let mut packaged: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    let version = |path: &PathBuf| {
        let name = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        name.and_then(|name| name.parse::<u32>().ok())
    };
    packaged.sort_by_key(version);
    let complete =
        |folder: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file());
    packaged.into_iter().rev().chain(on_path).find(complete)
}

/// User and group that the server runs as, when we are root, whom it refuses.
fn unprivileged() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    // Our own process's directory belongs to who we are.
    if fs::metadata("/proc/self").map_or(1, |own| own.uid()) != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |wanted: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(
        find("postgres")
            .or_else(|| find("nobody"))
            .expect("a user that PostgreSQL can run as: postgres or nobody"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_stops_and_is_gone() {
        let mut server = Postgres::start_with(Fsync::On, &["max_connections=7"]);
        let url = server.create_database();
        assert_eq!(server.try_sql(&url, "SHOW max_connections").unwrap(), "7");
        server.try_sql(&url, "CREATE TABLE t AS SELECT 1 AS a").unwrap();
        server.kill();
        assert!(server.try_sql(&url, "SELECT 1").is_err());
        server.restart();
        assert_eq!(server.try_sql(&url, "SELECT a FROM t").unwrap(), "1");
        let (port, directory) = (server.port(), server.directory.path().to_owned());
        drop(server);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        assert!(!directory.exists());
    }
}
