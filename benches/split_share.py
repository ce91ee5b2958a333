"""Shares of the processors, by cgroups of either version, and what their processes used."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

from nodes import BenchError

PERIOD = 10_000
"""Microseconds in which a share is counted. The usual 100,000 would hold a process still for most of such a period."""
ROOT = pathlib.Path("/sys/fs/cgroup")
REMOVAL_LIMIT = 5.0


class Shares:
    """Makes groups, and removes them at the end; for a `with` statement."""

    def __init__(self):
        self._name = f"quintet-bench-{os.getpid()}"
        self._unified = (ROOT / "cgroup.controllers").exists()
        controllers = [""] if self._unified else ["cpu", "cpuacct"]
        self._homes = [ROOT / each / self._name for each in controllers]
        self._groups: list[Share] = []

    def __enter__(self):
        try:
            for home in self._homes:
                home.mkdir()
            if self._unified:
                (ROOT / "cgroup.subtree_control").write_text("+cpu")
                (self._homes[0] / "cgroup.subtree_control").write_text("+cpu")
        except OSError as error:
            raise BenchError(f"no cgroup can be made: {error}; run as root, on a machine with the cpu controller") from error
        return self

    def __exit__(self, *_):
        for share in self._groups:
            share.remove()
        for home in self._homes:
            remove(home)

    def share(self, name: str, cores: float | None = None) -> "Share":
        """A group that may use so many processors, or all."""
        share = Share([home / name for home in self._homes], self._unified)
        self._groups.append(share)
        share.limit(cores)
        return share


class Share:
    """A group of processes."""

    def __init__(self, folders: list[pathlib.Path], unified: bool):
        self._folders, self._unified = folders, unified
        for folder in folders:
            folder.mkdir(exist_ok=True)

    def limit(self, cores: float | None) -> None:
        """Holds the group to so many processors."""
        quota = None if cores is None else round(cores * PERIOD)
        if self._unified:
            (self._folders[0] / "cpu.max").write_text(f"{quota or 'max'} {PERIOD}")
        else:
            (self._folders[0] / "cpu.cfs_period_us").write_text(str(PERIOD))
            (self._folders[0] / "cpu.cfs_quota_us").write_text(str(quota or -1))

    def run(self, command: list[str]) -> list[str]:
        """The command, which then begins in the group."""
        joins = "".join(f"echo $$ > {folder}/cgroup.procs && " for folder in self._folders)
        return ["sh", "-c", f'{joins}exec "$@"', "sh", *command]

    def used(self) -> float:
        """Seconds of processor time that the group has used."""
        if self._unified:
            for line in (self._folders[0] / "cpu.stat").read_text().splitlines():
                name, value = line.split()
                if name == "usage_usec":
                    return int(value) / 1e6
            raise BenchError("the cpu controller tells no use")
        return int((self._folders[1] / "cpuacct.usage").read_text()) / 1e9

    def remove(self) -> None:
        for folder in self._folders:
            remove(folder)


SPIN = """
import hashlib, sys, time
end, rounds, block = time.perf_counter() + float(sys.argv[1]), 0, bytes(4096)
while time.perf_counter() < end:
    block = hashlib.sha3_256(block).digest() * 128
    rounds += 1
print(rounds)
"""


def spin(shares: list[Share], seconds: float) -> float:
    """Rounds a second of a plain hashing loop, one in each share: what the machine itself gives to so many."""
    command = [sys.executable, "-c", SPIN, str(seconds)]
    running = [subprocess.Popen(share.run(command), stdout=subprocess.PIPE, text=True) for share in shares]
    return sum(int(each.communicate()[0]) for each in running) / seconds


def remove(folder: pathlib.Path) -> None:
    """Removes a group whose processes are about to be gone."""
    deadline = time.monotonic() + REMOVAL_LIMIT
    while folder.exists():
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
