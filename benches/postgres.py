"""A private PostgreSQL from the machine's packages: in a temporary folder, on a free port, gone afterwards."""

import getpass
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

from nodes import HOST, BenchError, free_port

USER = "quintet"
START_LIMIT = 60


def programs() -> pathlib.Path:
    """The folder of `initdb` and `pg_ctl`, of the newest version where there are several."""
    found = [path for path in pathlib.Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    initdb = shutil.which("initdb")
    if initdb is None:
        raise BenchError("PostgreSQL is missing; install the package postgresql")
    return pathlib.Path(initdb).resolve().parent


def unprivileged() -> tuple[list[str], str]:
    """What to put in front of a command that must not run as root, and whom that makes it run as."""
    if os.getuid() != 0:
        return [], getpass.getuser()
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    entry = pwd.getpwnam(user)
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"], user


class Postgres:
    """A server, for a `with` statement. `database()` gives the address of an empty database."""

    def __init__(self, folder: pathlib.Path):
        self._programs, (self._as, user) = programs(), unprivileged()
        self._home, self.port, self._count = pathlib.Path(tempfile.mkdtemp(prefix="postgres-", dir=folder)), free_port(), 0
        # The folders above are made for their owner alone.
        if self._as:
            shutil.chown(self._home, user)
            folder.chmod(0o711)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), *arguments]
        done = subprocess.run(command, cwd=self._home, capture_output=True, text=True, timeout=START_LIMIT)
        if done.returncode != 0:
            raise BenchError(f"{program}: {done.stderr or done.stdout}")

    def __enter__(self):
        data = str(self._home / "data")
        self._run("initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C")
        # All settings as they come, but for who may connect: durability included.
        options = f"-p {self.port} -c listen_addresses={HOST} -c unix_socket_directories={self._home}"
        log = str(self._home / "log")
        with open(os.devnull, "w") as nothing:
            command = [*self._as, str(self._programs / "pg_ctl"), "-D", data, "-w", "-l", log, "-o", options, "start"]
            started = subprocess.run(command, cwd=self._home, stdout=nothing, stderr=nothing, timeout=START_LIMIT)
        if started.returncode != 0:
            raise BenchError(f"PostgreSQL did not start: {pathlib.Path(log).read_text()[-2000:]}")
        return self

    def sql(self, statements: str) -> None:
        self._run("psql", "-h", HOST, "-p", str(self.port), "-U", USER, "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", statements)

    def database(self) -> str:
        self._count += 1
        name = f"bench{self._count}"
        self._run("createdb", "-h", HOST, "-p", str(self.port), "-U", USER, name)
        return f"postgres://{USER}@{HOST}:{self.port}/{name}"

    def __exit__(self, *_):
        self._run("pg_ctl", "-D", str(self._home / "data"), "-w", "-m", "fast", "stop")
