"""Measures the node against anvil in one run on this machine, and prints the tables as Markdown.

Only one node runs while a figure is taken: the other is held still. Traffic stays on 127.0.0.1.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import content
import load
import report
from nodes import ACCOUNTS, BLOCK_TIME, Anvil, BenchError, Node, Quintet, request

RUN_LIMIT = 240
"""Seconds after which a run is given up."""
IDLE = 10.0
"""Seconds of rest before memory is read."""
TRANSFERS_EACH = 320
RECIPIENTS = 1_000


def progress(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def signed_transfers() -> list[str]:
    """Raw transfers, the accounts' turns interleaved. Made once, then kept in the temporary folder."""
    cache = pathlib.Path(tempfile.gettempdir()) / f"quintet-bench-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    kept = cache / f"transfers-{ACCOUNTS}-{TRANSFERS_EACH}-{RECIPIENTS}.txt"
    if not kept.exists():
        parts = os.cpu_count() or 1
        bounds = [ACCOUNTS * part // parts for part in range(parts + 1)]
        with concurrent.futures.ThreadPoolExecutor(parts) as pool:
            signed = "".join(pool.map(sign, bounds, bounds[1:]))
        unfinished = kept.with_suffix(f".{os.getpid()}")
        unfinished.write_text(signed)
        unfinished.rename(kept)
    by_account = kept.read_text().split()
    if len(by_account) != ACCOUNTS * TRANSFERS_EACH:
        raise BenchError(f"{kept} is not complete; remove it")
    firsts = range(0, len(by_account), TRANSFERS_EACH)
    return [by_account[first + nonce] for nonce in range(TRANSFERS_EACH) for first in firsts]


def sign(first: int, end: int) -> str:
    script = pathlib.Path(__file__).parent / "sign.mjs"
    command = ["node", str(script), *map(str, (first, end, TRANSFERS_EACH, RECIPIENTS))]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def measure_transfers(nodes: list[Node], folder: pathlib.Path) -> dict:
    """Start-up, idle memory, and transfers until they are mined, each node in its turn."""
    rested = time.perf_counter() + IDLE
    progress("signing transfers, while the nodes rest")
    raw = signed_transfers()
    bodies = folder / "transfers.jsonl"
    calls = (request("eth_sendRawTransaction", [each], index) for index, each in enumerate(raw))
    bodies.write_text("".join(json.dumps(call) + "\n" for call in calls))
    time.sleep(max(0.0, rested - time.perf_counter()))
    idle = {node.name: node.memory() for node in nodes}
    last = [nodes[0].rpc("web3_sha3", each) for each in raw[-ACCOUNTS:]]
    found = {}
    for node in nodes:
        progress(f"{node.name}: {len(raw):,} transfers")
        hold_all_but(node, nodes)
        senders = node.rpc("eth_accounts")
        found[node.name] = load.transfer(node, bodies, last, lambda: sum(content.mined_nonces(node, senders)))
        node.stop()
        nodes = [other for other in nodes if other is not node]
    return {"idle": idle, "transfers": found}


def measure_reads(nodes: list[Node], contents: list[content.Content], folder: pathlib.Path, seconds: int) -> list:
    """The load of every call on every node, and their memory at the end."""
    calls = [content.calls(node, each) for node, each in zip(nodes, contents, strict=True)]
    rows = []
    for turn, pair in enumerate(zip(*calls, strict=True)):
        gists = [call.gist(node.rpc(call.method, *call.params)) for node, call in zip(nodes, pair, strict=True)]
        if not gists[0] or any(gist != gists[0] for gist in gists):
            raise BenchError(f"{pair[0].title}: the nodes do not agree: {gists}")
        loads = {}
        # Who goes first changes, so that neither has the warmer machine.
        order = list(zip(nodes, pair, strict=True))
        for node, call in order if turn % 2 == 0 else reversed(order):
            hold_all_but(node, nodes)
            loads[node.name] = load.read(node, call, folder, seconds)
        for node in nodes:
            node.resume()
        progress(f"{pair[0].title}: " + ", ".join(f"{node.name} {loads[node.name].rate:,.0f}/s" for node in nodes))
        rows.append((pair[0], loads))
    return rows


def hold_all_but(node: Node, nodes: list[Node]) -> None:
    for other in nodes:
        if other is not node:
            other.pause()
    node.resume()


def give_content(options: argparse.Namespace, folder: pathlib.Path, running: list[Node]) -> list[content.Content]:
    """Starts both nodes with the same content. The node is restarted, so that it reads what it stored."""
    progress("giving both nodes the same blocks")
    anvil = Anvil(options.anvil, folder, Anvil.TOLD)
    running.append(anvil)
    on_anvil = content.emit_logs(anvil, content.deploy(anvil))
    filling = Quintet(options.quintet, folder, block_time=BLOCK_TIME)
    running.append(filling)
    filled = content.deploy(filling)
    filling.stop()
    running.remove(filling)
    quintet = Quintet(options.quintet, folder)
    running.insert(0, quintet)
    return [content.emit_logs(quintet, filled), on_anvil]


def run(options: argparse.Namespace, folder: pathlib.Path) -> str:
    parts, running, machine = [], [], report.machine()
    try:
        if options.only != "reads":
            (folder / "transfers").mkdir()
            running.append(Quintet(options.quintet, folder / "transfers"))
            running.append(Anvil(options.anvil, folder / "transfers", Anvil.EACH_SECOND))
            start_up = {node.name: node.start_up for node in running}
            parts.append(report.process_table(start_up, measure_transfers(list(running), folder)))
        if options.only != "transfers":
            running.clear()
            contents = give_content(options, folder, running)
            rows = measure_reads(running, contents, folder, options.seconds)
            memory = {node.name: node.memory() for node in running}
            parts.insert(0, report.read_table(rows, memory, load.CONNECTIONS, options.seconds))
    finally:
        for node in running:
            node.stop()
    return "\n".join([machine, *parts])


def give_up(number: int, _frame) -> None:
    raise BenchError(f"not done after {RUN_LIMIT} s" if number == signal.SIGALRM else "interrupted")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quintet", required=True, help="the node's program")
    parser.add_argument("--anvil", required=True, help="anvil's program")
    parser.add_argument("--only", choices=["reads", "transfers"], help="leave the other out")
    parser.add_argument("--seconds", type=int, default=5, help="length of each measurement of a read")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, give_up)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(RUN_LIMIT)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="quintet-bench-"))
    try:
        print(run(options, folder))
        return 0
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        progress(str(error))
        return 1
    finally:
        signal.alarm(0)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
