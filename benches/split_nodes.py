"""The nodes under measure: one process, and the split one with its services, PostgreSQL and Redis."""

import http.client
import pathlib
import subprocess
import tempfile
import time

from nodes import ACCOUNTS, HOST, START_LIMIT, STOP_LIMIT, BenchError, Node, free_port
from postgres import Postgres
from split_share import Share

MODULES = "eth,net,web3"
ETHERBASE = "0x00000000000000000000000000000000c0ffee00"
LOGGED = "warn,quintet=info,quintet_chain::chain=debug"
"""What `chain` logs: one line for each commit, beside the usual ones."""


def with_roles(postgres: Postgres) -> Postgres:
    """Makes what an operator makes before the first start: a login that may read."""
    postgres.sql("CREATE ROLE quintet_reader NOLOGIN; CREATE ROLE gateway LOGIN IN ROLE quintet_reader")
    return postgres


class OneProcess(Node):
    """`quintet dev` over PostgreSQL, in a share."""

    name = "one process"

    def __init__(self, program: str, folder: pathlib.Path, store: str, share: Share, block_time: int = 0):
        port = free_port()
        (folder / "one").mkdir(exist_ok=True)
        command = [program, "dev", f"--datadir={folder / 'one'}", "--store", store, f"--accounts={ACCOUNTS}"]
        command += [f"--http.port={port}", f"--block-time={block_time}"]
        super().__init__(share.run(command), port, folder / "one.log")

    def next_block(self) -> None:
        """Returns when an interval has just begun."""
        before = self.head()
        deadline = time.perf_counter() + START_LIMIT
        while self.head() == before:
            if time.perf_counter() > deadline:
                raise BenchError(f"{self.name} seals no block")
            time.sleep(0.005)

    def seal(self) -> None:
        """The node seals by itself."""


class Gateway(Node):
    """A gateway, in a share."""

    name = "gateway"

    def __init__(self, split: "Split", share: Share, number: int):
        port, self.admin = free_port(), free_port()
        reader = split.store.replace("://quintet@", "://gateway@")
        command = [split.program("gateway"), "--store", reader, "--redis", split.redis_url]
        command += [f"--grpc.port={free_port()}", f"--admin.port={self.admin}"]
        command += ["--chain.url", split.chain_url, "--miner.url", split.miner_url]
        command += ["--http", f"--http.addr={HOST}", f"--http.port={port}", f"--http.api={MODULES}"]
        command += ["--ws", f"--ws.addr={HOST}", f"--ws.port={port}", f"--ws.api={MODULES}"]
        super().__init__(share.run(command), port, split.folder / f"gateway-{number}.log")


class Service:
    """A process without JSON-RPC, ready when its admin port says so."""

    def __init__(self, command: list[str], log: pathlib.Path, admin: int | None):
        self.log, self._name = log, pathlib.Path(command[-1]).name
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        deadline = time.perf_counter() + START_LIMIT
        while admin is not None and not is_ready(admin):
            if self._process.poll() is not None or time.perf_counter() > deadline:
                self.stop()
                raise BenchError(f"{log.stem} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Split:
    """The services of a split node on a store; gateways come with `gateway`. For a `with` statement."""

    def __init__(self, quintet: str, folder: pathlib.Path, store: str, chain: Share, miner: Share, redis: Share, **kind):
        """`kind`: `block_time`, or `genesis` with `fakepow` for a chain that nobody mines."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="split-", dir=folder))
        self.store, self._programs, self._services = store, pathlib.Path(quintet).parent, []
        self._shares, self._kind, self._gateways = (chain, miner, redis), kind, []
        redis_port, chain_port, miner_port = free_port(), free_port(), free_port()
        self._ports = (redis_port, chain_port, miner_port)
        self.redis_url = f"redis://{HOST}:{redis_port}/0"
        self.chain_url, self.miner_url = f"http://{HOST}:{chain_port}", f"http://{HOST}:{miner_port}"

    def program(self, service: str) -> str:
        return str(self._programs / f"quintet-{service}")

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        (chain, miner, redis), (redis_port, chain_port, miner_port) = self._shares, self._ports
        command = ["redis-server", "--port", str(redis_port), "--bind", HOST, "--save", "", "--dir", str(self.folder)]
        self._services.append(Service(redis.run(command), self.folder / "redis.log", None))
        admin = free_port()
        command = [self.program("chain"), "--store", self.store, "--redis", self.redis_url]
        command += [f"--datadir={self.folder / 'chain'}", f"--grpc.port={chain_port}", f"--admin.port={admin}"]
        command += ["--log.format=json", f"--log.filter={LOGGED}"]
        if "genesis" in self._kind:
            command += ["--genesis", str(self._kind["genesis"]), *self._kind.get("options", [])]
        else:
            command += ["--dev", f"--accounts={ACCOUNTS}"]
        self._services.append(Service(chain.run(command), self.folder / "chain.log", admin))
        if "genesis" in self._kind:
            return
        admin = free_port()
        command = [self.program("miner"), "--chain.url", self.chain_url, "--redis", self.redis_url, "--mine"]
        command += ["--miner.etherbase", ETHERBASE, f"--block-time={self._kind.get('block_time', 0)}"]
        command += [f"--grpc.port={miner_port}", f"--admin.port={admin}"]
        self._services.append(Service(miner.run(command), self.folder / "miner.log", admin))

    @property
    def chain_log(self) -> pathlib.Path:
        return self.folder / "chain.log"

    def gateway(self, share: Share) -> Gateway:
        gateway = Gateway(self, share, len(self._gateways))
        self._gateways.append(gateway)
        return gateway

    def __exit__(self, *_):
        for each in [*reversed(self._gateways), *reversed(self._services)]:
            each.stop()


class Fleet:
    """Gateways under one load, as `load` knows a node."""

    name = "split"

    def __init__(self, gateways: list[Gateway]):
        self.gateways = gateways
        self.url, self.addresses = gateways[0].url, [each.addresses[0] for each in gateways]
        self.rpc, self.post, self.batch = gateways[0].rpc, gateways[0].post, gateways[0].batch

    def processor_time(self) -> float:
        return sum(each.processor_time() for each in self.gateways)

    def memory(self) -> int:
        return sum(each.memory() for each in self.gateways)

    def settle(self) -> None:
        for each in self.gateways:
            each.settle()
