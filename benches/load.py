"""Load from `wrk`, the reads and the transfers, and what came of it."""

import dataclasses
import json
import math
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from content import Call
from nodes import BenchError, Node

CONNECTIONS = 32
WARM_UP = 2
LONGEST = 20
"""Seconds that a call may take to be answered once on every connection."""
TOLERANCE = 0.05
"""By how much the mean answer under load may differ in size from one that was checked."""
TRANSFER_LIMIT = 45.0
"""Seconds after which transfers that are not mined are given up."""
SCRIPTS = pathlib.Path(__file__).parent / "wrk"


@dataclasses.dataclass(frozen=True)
class Load:
    """Requests a second, latencies in milliseconds, and the node's own processor time in microseconds a request.

    The last is the one that other work on the machine changes least.
    """

    rate: float
    p50: float
    p99: float
    cost: float


@dataclasses.dataclass(frozen=True)
class Transfers:
    """Transfers accepted and mined: how many, per second from the first request on, and the memory after it."""

    sent: int
    accepted: int
    mined: int
    accepted_rate: float
    mined_rate: float
    load: Load
    memory: int
    refusal: str


def wrk(node: Node, script: str, body: pathlib.Path, seconds: int) -> subprocess.Popen:
    command = ["wrk", f"--threads={len(node.addresses)}", f"--connections={CONNECTIONS}", f"--timeout={2 * LONGEST}s"]
    command += [f"--duration={seconds}s", f"--script={SCRIPTS / script}", node.url]
    addresses = " ".join(node.addresses)
    environment = {**os.environ, "BENCH_BODY": str(body), "BENCH_LUA": str(SCRIPTS), "BENCH_ADDRESSES": addresses}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=1
    )


def end(process: subprocess.Popen) -> None:
    """Ends the load early: wrk reports what it has at an interrupt."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)


def summary(lines: list[str]) -> dict:
    """What `summary.lua` wrote among a load's output."""
    for line in lines:
        if line.startswith('{"requests"'):
            return json.loads(line)
    raise BenchError(f"wrk gave no figures: {''.join(lines)[-1000:]}")


def figures(found: dict, used: float) -> Load:
    """The figures of a load that took `used` seconds of the node's processor time."""
    if found["failed"] or not found["requests"]:
        raise BenchError(f"failed requests: {found}")
    requests = found["requests"]
    return Load(requests / found["duration"] * 1e6, found["p50"] / 1e3, found["p99"] / 1e3, used / requests * 1e6)


def read(node: Node, call: Call, folder: pathlib.Path, seconds: int) -> Load:
    """Sends one call again and again, after a warm-up. Every answer must be of the size of the one that was checked."""
    body = folder / "body.json"
    body.write_text(call.body())
    found, used = {}, 0.0
    for duration in durations(node, call, seconds):
        before = node.processor_time()
        process = wrk(node, "repeat.lua", body, duration)
        try:
            output, _ = process.communicate(timeout=duration + 30)
        finally:
            end(process)
        found, used = summary(output.splitlines(keepends=True)), node.processor_time() - before
        # What was asked for and not awaited must not burden the next measure.
        node.settle()
    load = figures(found, used)
    answer, size = node.post(call.body())
    if b'"result"' not in answer:
        raise BenchError(f"{node.name}: {call.title}: {answer[:300]!r}")
    mean = found["bytes"] / found["requests"]
    # Answers still under way at the end are counted in bytes, not in requests.
    if abs(mean - size) > TOLERANCE * size + CONNECTIONS * size / found["requests"]:
        raise BenchError(f"{node.name}: {call.title}: answers of {mean:.0f} bytes under load, {size} otherwise")
    return load


def durations(node: Node, call: Call, seconds: int) -> list[int]:
    """Seconds of the warm-up and of the measure. A slow call gets the time to be answered on every connection."""
    started = time.perf_counter()
    node.post(call.body())
    round_of_all = math.ceil(CONNECTIONS * (time.perf_counter() - started))
    return [WARM_UP, seconds] if round_of_all <= seconds else [min(round_of_all, LONGEST)]


def transfer(node: Node, bodies: pathlib.Path, last_hashes: list[str], mined: Callable[[], int]) -> Transfers:
    """Sends each transfer once, and waits until the last of every sender has a receipt."""
    sent = sum(1 for _ in bodies.open())
    before = node.processor_time()
    process = wrk(node, "once.lua", bodies, int(TRANSFER_LIMIT))
    lines, output = queue.Queue(), []

    def follow() -> None:
        for line in process.stdout:
            lines.put((time.perf_counter(), line))
        lines.put((time.perf_counter(), ""))

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    first = last = None
    accepted, refusal = 0, ""
    try:
        while last is None:
            moment, line = lines.get(timeout=TRANSFER_LIMIT + 30)
            output.append(line)
            word, _, rest = line.strip().partition(" ")
            if word == "first":
                first = moment
            elif word == "refused":
                refusal = rest
            elif word == "last":
                last, accepted = moment, int(rest)
            elif not line:
                break
    finally:
        end(process)
    if first is None:
        raise BenchError(f"wrk sent nothing: {''.join(output)[-1000:]}")
    await_receipts(node, last_hashes, first + TRANSFER_LIMIT)
    finished = time.perf_counter()
    reader.join(30)
    while not lines.empty():
        output.append(lines.get()[1])
    done = mined()
    return Transfers(
        sent,
        accepted,
        done,
        accepted / ((last or finished) - first),
        done / (finished - first),
        figures(summary(output), node.processor_time() - before),
        node.memory(),
        refusal,
    )


def await_receipts(node: Node, hashes: list[str], deadline: float) -> None:
    """Returns when every transaction has a receipt, or at the deadline."""
    waiting = list(hashes)
    while waiting and time.perf_counter() < deadline:
        try:
            if node.rpc("eth_getTransactionReceipt", waiting[-1]):
                waiting.pop()
                continue
        except TimeoutError:
            # A node that is busy mining may not answer; what it has mined by the deadline counts.
            pass
        time.sleep(0.005)
