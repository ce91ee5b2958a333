"""Measures the split node against one process in one run on this machine, and prints the tables as Markdown.

PostgreSQL runs beside both, without a limit. Everything stays on 127.0.0.1.
"""

import argparse
import json
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import bench
import content
import imports
import load
import report
import split_report as tables
from nodes import ACCOUNTS, BenchError, request
from postgres import Postgres
from split_heads import Listener, delays
from split_nodes import Fleet, OneProcess, Split, with_roles
from split_share import Share, Shares, spin

RUN_LIMIT = 1_800
"""Seconds after which a run is given up."""
GATEWAYS = [1, 2, 4]
ROUNDS = 2
"""Times that a call is measured; the faster counts."""
BLOCK_TIME = 4
"""Seconds from block to block while the store is given its content."""
COLD_STARTS = 5
SLICES = 6
"""Stretches over which `chain`'s use of the processor is compared with itself."""
PACE = 20
"""Transactions a second while blocks are followed, each with a block of its own."""
PARTS = ["calls", "writes", "blocks", "cold", "import"]


def progress(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Run:
    """What all parts of a run share."""

    def __init__(self, options: argparse.Namespace, folder: pathlib.Path, postgres: Postgres, shares: Shares):
        self.quintet, self.seconds, self.folder, self.postgres = options.quintet, options.seconds, folder, postgres
        self.share, self.write_share, self.options = options.share, options.write_share, options
        self.gateways = [shares.share(f"gateway-{number}", self.share) for number in range(max(GATEWAYS))]
        self.one = shares.share("one")
        self.rest = {name: shares.share(name) for name in ("chain", "miner", "redis")}
        self.whole = shares.share("whole")
        self._kept: content.Content | None = None
        self._store = ""

    def split(self, store: str, **kind) -> Split:
        return Split(self.quintet, self.folder, store, *self.rest.values(), **kind)

    def content(self) -> tuple[str, content.Content]:
        """A store with the content that the calls read, and where that is. Made once."""
        if self._kept is None:
            progress("making the blocks that are read")
            self._store = self.postgres.database()
            self.one.limit(None)
            node = OneProcess(self.quintet, self.folder, self._store, self.one, BLOCK_TIME)
            try:
                kept = content.deploy(node)
            finally:
                node.stop()
            node = OneProcess(self.quintet, self.folder, self._store, self.one)
            try:
                self._kept = content.emit_logs(node, kept)
            finally:
                node.stop()
        return self._store, self._kept


def measure(run: Run, node, calls: list[content.Call], gists: dict) -> list[load.Load]:
    """The load of every call on one node. All nodes must give the same answers."""
    found = []
    for call in calls:
        gist = call.gist(node.rpc(call.method, *call.params))
        if not gist or gists.setdefault(call.title, gist) != gist:
            raise BenchError(f"{call.title}: {node.name} answers {gist}, not {gists[call.title]}")
        # What else the machine does only takes away.
        found.append(max((load.read(node, call, run.folder, run.seconds) for _ in range(ROUNDS)), key=lambda each: each.rate))
        progress(f"{node.name}, {len(node.addresses)} × {run.share} cores: {call.title}: {found[-1].rate:,.0f}/s")
    return found


def measure_calls(run: Run) -> str:
    """Every call against one process, and against 1, 2 and 4 gateways, each in a like share."""
    store, kept = run.content()
    run.one.limit(run.share)
    node, gists = OneProcess(run.quintet, run.folder, store, run.one), {}
    try:
        calls = content.calls(node, kept)
        columns = {"one process": measure(run, node, calls, gists)}
    finally:
        node.stop()
    with run.split(store) as split:
        running = []
        for count in GATEWAYS:
            running += [split.gateway(share) for share in run.gateways[len(running) : count]]
            columns[f"{count}"] = measure(run, Fleet(running), calls, gists)
    machine = {f"{count}": spin(run.gateways[:count], run.seconds) for count in GATEWAYS}
    return tables.calls(calls, columns, machine, run.share, run.seconds)


def measure_writes(run: Run) -> str:
    """Transfers until they are mined: one process in a share, and all the split's services in one of the same size."""
    raw = bench.signed_transfers()
    bodies = run.folder / "transfers.jsonl"
    bodies.write_text("".join(json.dumps(request("eth_sendRawTransaction", [each], n)) + "\n" for n, each in enumerate(raw)))
    run.one.limit(run.write_share)
    run.whole.limit(run.write_share)
    node = OneProcess(run.quintet, run.folder / "writes", run.postgres.database(), run.one)
    try:
        senders = node.rpc("eth_accounts")
        hashes = [node.rpc("web3_sha3", each) for each in raw[-ACCOUNTS:]]
        progress(f"one process: {len(raw):,} transfers")
        found = {"one process": load.transfer(node, bodies, hashes, lambda: sum(content.mined_nonces(node, senders)))}
    finally:
        node.stop()
    whole = [run.whole] * 3
    with Split(run.quintet, run.folder, run.postgres.database(), *whole) as split:
        gateway = split.gateway(run.whole)
        progress(f"split: {len(raw):,} transfers")
        found["split"] = load.transfer(gateway, bodies, hashes, lambda: sum(content.mined_nonces(gateway, senders)))
    return tables.writes(found, run.write_share)


class Paced:
    """Sends transactions at an even pace; for a `with` statement."""

    def __init__(self, gateway, raw: list[str], each: float):
        self._gateway, self._raw, self._each = gateway, iter(raw), each
        self._over, self._failure = threading.Event(), None
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def _send(self) -> None:
        try:
            while not self._over.wait(self._each):
                self._gateway.rpc("eth_sendRawTransaction", next(self._raw))
        except (BenchError, OSError, StopIteration) as error:
            self._failure = error

    def __exit__(self, kind, *_):
        self._over.set()
        self._thread.join(30)
        if self._failure is not None and kind is None:
            raise BenchError(f"a paced transaction was not taken: {self._failure!r}")


def measure_blocks(run: Run) -> str:
    """At a constant rate of blocks: the processor time of `chain` by the number of gateways, and when they hear of them."""
    raw = iter(bench.signed_transfers())
    chain, used, heard = run.rest["chain"], {}, {}
    with run.split(run.postgres.database()) as split:
        running = []
        for count in GATEWAYS:
            running += [split.gateway(share) for share in run.gateways[len(running) : count]]
            seconds = max(run.seconds, 1) * SLICES
            progress(f"{count} gateways: {PACE} blocks a second for {seconds} s")
            with Listener([each.port for each in running]) as listener, Paced(running[0], raw, 1 / PACE):
                time.sleep(2)
                used[count] = [slice_of(chain, seconds / SLICES) for _ in range(SLICES)]
            heard[count] = delays(listener, split.chain_log)
    return tables.blocks(used, heard, PACE)


def slice_of(share: Share, seconds: float) -> float:
    """The part of one processor that a share uses over some seconds."""
    before, started = share.used(), time.perf_counter()
    time.sleep(seconds)
    return (share.used() - before) / (time.perf_counter() - started)


def measure_cold(run: Run) -> str:
    """Seconds from the start of a gateway until it has answered every call as it should."""
    store, kept = run.content()
    times = []
    with run.split(store) as split:
        first = split.gateway(run.gateways[0])
        calls = content.calls(first, kept)
        wanted = [call.gist(first.rpc(call.method, *call.params)) for call in calls]
        for _ in range(COLD_STARTS):
            started = time.perf_counter()
            gateway = split.gateway(run.gateways[1])
            given = [call.gist(gateway.rpc(call.method, *call.params)) for call in calls]
            times.append((gateway.start_up, time.perf_counter() - started))
            if given != wanted:
                raise BenchError(f"a cold gateway answers {given}, not {wanted}")
            gateway.stop()
    return tables.cold(times, run.share)


def measure_import(run: Run) -> str:
    """The same chain file into a new PostgreSQL database: by one process, and through `chain` of a split node."""
    examples = pathlib.Path(run.quintet).parent / "examples"
    if not (examples / "generate").exists():
        raise BenchError("build it first: cargo build --release -p quintet-testkit --example generate")
    chain = imports.generated(examples, "generated", run.options.txs)
    one, through = [], []
    for _ in range(run.options.runs):
        one.append(imports.measure(run.quintet, chain, "one process", ["--store", run.postgres.database()], run.folder))
        through.append(import_through(run, chain))
    return tables.imports(min(one, key=lambda each: each.seconds), min(through, key=lambda each: each.seconds))


def import_through(run: Run, chain: imports.Chain) -> imports.Import:
    with run.split(run.postgres.database(), genesis=chain.genesis, options=["--fakepow"]) as split:
        command = [run.quintet, "import", "--chain.url", split.chain_url, "--json", *chain.options, str(chain.file)]
        started = time.monotonic()
        output, memory = imports.run(command, run.folder / "import.log")
        elapsed = time.monotonic() - started
    told = json.loads(output.strip().splitlines()[-1])
    counts = (told["blocks"], told["transactions"], told["gas"], told["seconds"])
    found = imports.Import(chain, "split", *counts, stages={}, memory=memory, elapsed=elapsed)
    progress(f"{chain.title}, split: {found.tx_rate:,.0f} tx/s, {found.mgas_rate:,.0f} Mgas/s")
    return found


MEASURES = dict(zip(PARTS, [measure_calls, measure_writes, measure_blocks, measure_cold, measure_import], strict=True))


def print_all(options: argparse.Namespace, folder: pathlib.Path) -> None:
    print(report.machine(), flush=True)
    with Postgres(folder) as postgres, Shares() as shares:
        run = Run(options, folder, with_roles(postgres), shares)
        (folder / "writes").mkdir()
        for part in [options.only] if options.only else PARTS:
            print(MEASURES[part](run), flush=True)


def give_up(number: int, _frame) -> None:
    raise BenchError(f"not done after {RUN_LIMIT} s" if number == signal.SIGALRM else "interrupted")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quintet", required=True, help="the program; those of the services are beside it")
    parser.add_argument("--only", choices=PARTS, help="leave the others out")
    parser.add_argument("--seconds", type=int, default=4, help="length of each measurement")
    parser.add_argument("--share", type=float, default=0.25, help="processors of one process, and of each gateway, for reads")
    parser.add_argument("--write-share", type=float, default=1.0, help="processors of one process, and of the whole split, for writes")
    parser.add_argument("--txs", type=int, default=100_000, help="transactions of the chain that is imported")
    parser.add_argument("--runs", type=int, default=2, help="the fastest of so many imports counts")
    options = parser.parse_args()
    options.quintet = str(pathlib.Path(options.quintet).resolve())
    signal.signal(signal.SIGTERM, give_up)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(RUN_LIMIT)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="quintet-bench-"))
    try:
        print_all(options, folder)
        return 0
    except (BenchError, OSError, subprocess.SubprocessError, statistics.StatisticsError) as error:
        progress(str(error))
        return 1
    finally:
        signal.alarm(0)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
