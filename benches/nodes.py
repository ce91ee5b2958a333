"""The two nodes under measure: started on a free port of this machine, spoken to, held still, ended."""

import http.client
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

HOST = "127.0.0.1"
CHAIN_ID = 1337
ACCOUNTS = 64
BLOCK_TIME = 2
"""Seconds from block to block while a node is given its content."""
START_LIMIT = 30.0
STOP_LIMIT = 15.0
SETTLE_LIMIT = 20.0


class BenchError(Exception):
    """Something without which there is no figure; the text says what."""


class RpcError(BenchError):
    """A node answered with an error."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


class Node:
    """A running node. `start_up` is the seconds from the process's start to its first answer."""

    name: str

    def __init__(self, command: list[str], port: int, log: pathlib.Path):
        self.port, self.log = port, log
        self._connection, self._ids = None, itertools.count(1)
        started = time.perf_counter()
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            self._await_answer(started + START_LIMIT)
        except BaseException:
            self.stop()
            raise
        self.start_up = time.perf_counter() - started

    def _await_answer(self, deadline: float) -> None:
        while True:
            if self._process.poll() is not None or time.perf_counter() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise BenchError(f"{self.name} did not start: {tail}")
            try:
                self.rpc("eth_blockNumber")
                return
            except (OSError, http.client.HTTPException):
                time.sleep(0.002)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    @property
    def addresses(self) -> list[str]:
        """Where load goes: one address, or those of all replicas."""
        return [f"{HOST}:{self.port}"]

    def post(self, body: str) -> tuple[bytes, int]:
        """The answer to a body, and its size on the wire, headers included."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            self._connection.request("POST", "/", body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise
        if response.status != 200:
            raise BenchError(f"{self.name}: HTTP {response.status}: {answer[:200]!r}")
        head = len(f"HTTP/1.1 {response.status} {response.reason}\r\n\r\n")
        head += sum(len(name) + len(value) + 4 for name, value in response.getheaders())
        return answer, head + len(answer)

    def rpc(self, method: str, *params):
        """The result of one call."""
        return self.batch([(method, list(params))])[0]

    def batch(self, calls: list[tuple[str, list]]) -> list:
        """The results of calls sent together, in the order of the calls."""
        requests = [request(method, params, next(self._ids)) for method, params in calls]
        body = requests[0] if len(requests) == 1 else requests
        answer = json.loads(self.post(json.dumps(body))[0])
        answers = {one.get("id"): one for one in (answer if isinstance(answer, list) else [answer])}
        results = []
        for sent in requests:
            one = answers.get(sent["id"], {})
            if "result" not in one:
                raise RpcError(f"{self.name}: {sent['method']}: {one.get('error', answer)}")
            results.append(one["result"])
        return results

    def head(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)

    def memory(self) -> int:
        """Bytes of the process that are in memory."""
        pages = int(pathlib.Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def settle(self) -> None:
        """Returns when the process has been without work for a moment."""
        deadline = time.perf_counter() + SETTLE_LIMIT
        used = -1.0
        while (now := self.processor_time()) > used + 0.015 and time.perf_counter() < deadline:
            used = now
            time.sleep(0.1)

    def processor_time(self) -> float:
        """Seconds that the process has run for, over all processors."""
        # The program's name, in parentheses, may hold blanks.
        fields = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def pause(self) -> None:
        """Holds the process still, so that it takes nothing from the other's measure."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the process in its own way, else by force."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process.poll() is not None:
            return
        self.resume()
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Quintet(Node):
    """The node, with a durable data directory. Without an interval it seals as soon as a transaction is pending."""

    name = "quintet"

    def __init__(self, program: str, folder: pathlib.Path, block_time: int = 0):
        port = free_port()
        command = [program, "dev", f"--datadir={folder / 'quintet'}", f"--accounts={ACCOUNTS}", f"--http.port={port}"]
        super().__init__([*command, f"--block-time={block_time}"], port, folder / "quintet.log")

    def next_block(self) -> None:
        """Returns when an interval has just begun."""
        before = self.head()
        deadline = time.perf_counter() + 5 * BLOCK_TIME
        while self.head() == before:
            if time.perf_counter() > deadline:
                raise BenchError(f"{self.name} seals no block")
            time.sleep(0.005)

    def seal(self) -> None:
        """The node seals by itself."""


class Anvil(Node):
    """anvil, in memory, with the same accounts. Gets its content in blocks of the same gas limit, sealed when told to.

    For transfers it has the setting that suits it best: a large block each second. Sealing each transaction, it falls
    behind to some twenty a second once a few hundred wait.
    """

    name = "anvil"
    TOLD = ("--no-mining", "--gas-limit=30000000")
    EACH_SECOND = ("--block-time=1", "--gas-limit=600000000")

    def __init__(self, program: str, folder: pathlib.Path, sealing: tuple[str, ...]):
        port = free_port()
        command = [program, f"--port={port}", f"--accounts={ACCOUNTS}", f"--chain-id={CHAIN_ID}", "--quiet"]
        super().__init__([*command, *sealing], port, folder / "anvil.log")

    def next_block(self) -> None:
        """A block begins when the last was sealed."""

    def seal(self) -> None:
        self.rpc("evm_mine")


def request(method: str, params: list, number: int = 1) -> dict:
    """A JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
