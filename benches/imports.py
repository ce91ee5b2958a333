"""Measures imports of chain files on both stores, and what they are made of: ethash, and the trie at two sizes."""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from nodes import BenchError
from postgres import Postgres
from report import machine, mark, table

MIB = 1024 * 1024
REFERENCE = {"tx": 5_090, "mgas": 220, "memory": 1.24 * 1024 * MIB}
"""geth 1.8.27's import of such a chain on a two-core machine: transactions and Mgas a second, bytes."""
GOALS = {"embedded": 3, "PostgreSQL": 2}
"""How many times the reference's rates an import is to reach."""
MEMORY_GOAL = 1024 * MIB
IMPORT_LIMIT = 900
"""Seconds after which an import is given up."""
STAGES = ["decode", "recover", "seal", "body", "execute", "receipts", "state_root", "commit"]
SIZES = [10_000, 1_000_000]
"""Accounts of the two generated chains that are compared for the size of their states."""
SIZE_SENDERS = 10_000
SIZE_TXS = 20_000


@dataclasses.dataclass
class Chain:
    """A chain file with its genesis. `options` go to `import`."""

    title: str
    genesis: pathlib.Path
    file: pathlib.Path
    options: list[str] = dataclasses.field(default_factory=list)
    generated: bool = False

    def keys_changed(self) -> int:
        """Accounts and slots that differ after a block, over all blocks of a generated chain."""
        return json.loads(self.file.with_name("chain.json").read_text())["keys_changed"]


@dataclasses.dataclass
class Import:
    """One import, as the program told of it, and as the system saw it."""

    chain: Chain
    store: str
    blocks: int
    transactions: int
    gas: int
    seconds: float
    stages: dict[str, float]
    memory: int
    elapsed: float

    @property
    def tx_rate(self) -> float:
        return self.transactions / self.seconds

    @property
    def mgas_rate(self) -> float:
        return self.gas / 1e6 / self.seconds


def progress(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def cache() -> pathlib.Path:
    """Where what is made once is kept."""
    folder = pathlib.Path(tempfile.gettempdir()) / f"quintet-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def generated(examples: pathlib.Path, title: str, txs: int, *options: str) -> Chain:
    """A generated chain; kept, since the same arguments make the same files, until the generator is a newer one."""
    folder = cache() / "-".join(["chain", str(txs), *(option.lstrip("-") for option in options)])
    generator, file = examples / "generate", folder / "chain.rlp"
    if not file.exists() or file.stat().st_mtime < generator.stat().st_mtime:
        progress(f"generating {title}")
        command = [str(generator), "--txs", str(txs), "--out", str(folder), *options]
        subprocess.run(command, check=True, stdout=sys.stderr, timeout=IMPORT_LIMIT)
    return Chain(title, folder / "genesis.json", file, ["--fakepow"], generated=True)


def vectors() -> list[Chain]:
    """Chains that others made and sealed, where their archive is at hand."""
    home = pathlib.Path(__file__).resolve().parent.parent
    folder = pathlib.Path(os.environ.get("QUINTET_VECTORS", home.parent / "shared" / "vectors"))
    packed = next(folder.glob("14-*.tar.zst"), None)
    if packed is None:
        progress(f"no archive 14-*.tar.zst in {folder}: only generated chains (set QUINTET_VECTORS)")
        return []
    unpacked = cache() / packed.name.removesuffix(".tar.zst")
    if not unpacked.exists():
        partial = pathlib.Path(tempfile.mkdtemp(dir=cache()))
        subprocess.run(["tar", "--zstd", "-xf", str(packed), "-C", str(partial)], check=True)
        partial.rename(unpacked)

    def chain(name: str, genesis: str, file: str) -> Chain:
        at = next(unpacked.rglob(name))
        return Chain(name, at / genesis, at / file)

    return [
        chain("core-geth-foundation-condense-state", "foundation.conf.json", "export.rlp"),
        chain("hive-simplechain", "genesis.json", "chain.rlp"),
    ]


def run(command: list[str], log: pathlib.Path) -> tuple[str, int]:
    """A program's standard output, and the most memory that it had, in bytes."""
    with log.open("w+") as errors, tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=errors, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + IMPORT_LIMIT
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        if process.returncode != 0:
            raise BenchError(f"{' '.join(command)}: exit code {process.returncode}: {log.read_text()[-2000:]}")
        output.seek(0)
        return output.read(), ended[2].ru_maxrss * 1024


def measure(quintet: str, chain: Chain, store: str, address: list[str], folder: pathlib.Path) -> Import:
    """Imports a chain into a new store."""
    datadir = pathlib.Path(tempfile.mkdtemp(dir=folder))
    log = folder / "import.log"
    where = ["--datadir", str(datadir), *address]
    run([quintet, "init", *where, str(chain.genesis)], log)
    started = time.monotonic()
    output, memory = run([quintet, "import", *where, "--json", *chain.options, str(chain.file)], log)
    elapsed = time.monotonic() - started
    told = json.loads(output.strip().splitlines()[-1])
    shutil.rmtree(datadir)
    stages = told["stages_ms"]
    counts = (told["blocks"], told["transactions"], told["gas"], told["seconds"])
    found = Import(chain, store, *counts, stages=stages, memory=memory, elapsed=elapsed)
    progress(f"{chain.title}, {store}: {found.tx_rate:,.0f} tx/s, {found.mgas_rate:,.0f} Mgas/s, {memory / MIB:,.0f} MiB")
    return found


def measure_all(quintet: str, chains: list[Chain], runs: int, folder: pathlib.Path) -> list[Import]:
    """Every chain on either store, the fastest of some runs."""
    found = []
    with Postgres(folder) as postgres:
        for chain in chains:
            for store in GOALS:

                def once(chain=chain, store=store) -> Import:
                    address = [] if store == "embedded" else ["--store", postgres.database()]
                    return measure(quintet, chain, store, address, folder)

                found.append(min((once() for _ in range(runs)), key=lambda one: one.seconds))
    return found


def holds(found: Import) -> bool:
    factor = GOALS[found.store]
    rates = found.tx_rate >= factor * REFERENCE["tx"] and found.mgas_rate >= factor * REFERENCE["mgas"]
    return rates and found.memory < MEMORY_GOAL


def goal(found: Import) -> list[str]:
    """What a generated chain's import is to reach. Other chains have too few transactions for a rate to say much."""
    if not found.chain.generated:
        memory = mark(found.memory < MEMORY_GOAL)
        return ["", f"memory: {memory}"]
    factor = GOALS[found.store]
    return [f"≥ {factor * REFERENCE['tx']:,} tx/s, {factor * REFERENCE['mgas']:,} Mgas/s", mark(holds(found))]


def rate_table(imports: list[Import]) -> str:
    head = ["chain", "store", "blocks", "transactions", "Mgas", "seconds", "blocks/s", "tx/s", "Mgas/s", "peak MiB"]
    head += ["goal", "holds"]
    reference = ["such a chain", "geth 1.8.27", "", "", "", "", "", f"{REFERENCE['tx']:,}", f"{REFERENCE['mgas']:,}"]
    rows = [[*reference, f"{REFERENCE['memory'] / MIB:,.0f}", "", ""]]
    for one in imports:
        counts = [f"{one.blocks:,}", f"{one.transactions:,}", f"{one.gas / 1e6:,.0f}", f"{one.seconds:,.1f}"]
        rates = [f"{one.blocks / one.seconds:,.0f}", f"{one.tx_rate:,.0f}", f"{one.mgas_rate:,.0f}", f"{one.memory / MIB:,.0f}"]
        rows.append([one.chain.title, one.store, *counts, *rates, *goal(one)])
    return table(head, rows)


def stage_table(imports: list[Import]) -> str:
    head = ["milliseconds per Mgas", "store", *(stage.replace("_", " ") for stage in STAGES), "all, by the clock"]
    rows = []
    for one in imports:
        mgas = one.gas / 1e6
        each = [f"{one.stages.get(stage, 0.0) / mgas:,.3f}" if mgas else "" for stage in STAGES]
        rows.append([one.chain.title, one.store, *each, f"{one.seconds * 1e3 / mgas:,.3f}" if mgas else ""])
    return table(head, rows)


def size_table(imports: list[Import]) -> str:
    """Like transactions on a small and on a large state: what a changed key costs, in microseconds."""
    head = ["accounts", "store", "transactions", "changed keys", "execute", "state root", "commit", "all", "in ratio"]
    rows = []
    small: dict[str, float] = {}
    for one in imports:
        keys = one.chain.keys_changed()
        stages = [f"{one.stages.get(stage, 0.0) * 1e3 / keys:,.2f}" for stage in ("execute", "state_root", "commit")]
        each = one.seconds * 1e6 / keys
        ratio = each / small.setdefault(one.store, each)
        counts = [f"{one.transactions:,}", f"{keys:,}"]
        rows.append([one.chain.title, one.store, *counts, *stages, f"{each:,.2f}", f"{ratio:.2f}"])
    return table(head, rows)


def quoted(program: pathlib.Path) -> str:
    progress(f"{program.name}")
    return "```\n" + subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout + "```\n"


def report(options: argparse.Namespace, folder: pathlib.Path) -> None:
    wanted = lambda part: options.only in (None, part)  # noqa: E731
    print(machine())
    if wanted("chains"):
        chains = [generated(options.examples, "generated", options.txs), *vectors()]
        imports = measure_all(options.quintet, chains, options.runs, folder)
        print("Imports into a new store:\n")
        print(rate_table(imports))
        print("What the stages took, some of them on several threads at once:\n")
        print(stage_table(imports))
    if wanted("size"):
        sizes = [("--senders", str(SIZE_SENDERS), "--accounts", str(size)) for size in SIZES]
        chains = [generated(options.examples, f"{int(size[-1]):,}", SIZE_TXS, *size) for size in sizes]
        print("Microseconds for each changed key, in a small and in a large state:\n")
        print(size_table(measure_all(options.quintet, chains, options.runs, folder)))
    if wanted("ethash"):
        print("Ethash:\n\n" + quoted(options.examples / "bench"))
    if wanted("trie"):
        print("The trie, by the number of its keys:\n\n" + quoted(options.examples / "scale"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quintet", required=True, help="the program")
    parser.add_argument("--examples", required=True, type=pathlib.Path, help="folder of generate, bench and scale")
    parser.add_argument("--only", choices=["chains", "size", "ethash", "trie"])
    parser.add_argument("--txs", type=int, default=100_000, help="transactions of the generated chain")
    parser.add_argument("--runs", type=int, default=1, help="the fastest of so many imports counts")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="quintet-bench-") as folder:
            report(options, pathlib.Path(folder))
    except (BenchError, subprocess.SubprocessError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
