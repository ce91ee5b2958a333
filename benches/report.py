"""The tables, as Markdown. A line holds when the node is at least as good as anvil in the same run."""

import os

from content import Call
from load import Load, Transfers

MIB = 1024 * 1024
TRANSFER_GOAL = 4_000
"""Transfers a second, accepted durably, mined and readable."""
MEMORY_GOAL = 150 * MIB
"""Bytes of an idle node."""


def mark(holds: bool) -> str:
    return "yes" if holds else "**no**"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latency(load: Load) -> str:
    return f"{load.p50:,.2f} / {load.p99:,.2f}"


def counts(transfers: Transfers) -> str:
    return f"{transfers.accepted:,} / {transfers.mined:,}"


def machine() -> str:
    """What the figures were taken on, and how busy it was before."""
    return f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f} before the run.\n"


def read_table(rows: list[tuple[Call, dict[str, Load]]], memory: dict[str, int], connections: int, seconds: int) -> str:
    """The reads; memory is that of the nodes after all of them."""
    head = ["call", "geth 1.8.27", "anvil", "goal", "quintet", "anvil p50 / p99 ms", "quintet p50 / p99 ms"]
    head += ["anvil / quintet µs", "rate holds", "p99 holds"]
    lines = []
    for call, loads in rows:
        ours, theirs = loads["quintet"], loads["anvil"]
        lines.append(
            [
                call.title,
                call.geth,
                f"{theirs.rate:,.0f}",
                f"≥ {theirs.rate:,.0f}",
                f"{ours.rate:,.0f}",
                latency(theirs),
                latency(ours),
                f"{theirs.cost:,.0f} / {ours.cost:,.0f}",
                mark(ours.rate >= theirs.rate),
                mark(ours.p99 <= theirs.p99),
            ]
        )
    text = f"Requests a second over {connections} connections, {seconds} s each; µs: processor time a request.\n\n"
    text += table(head, lines)
    after = ", ".join(f"{name} {size / MIB:,.0f} MiB" for name, size in memory.items())
    return f"{text}\nMemory after these reads: {after}.\n"


def process_table(start_up: dict[str, float], found: dict) -> str:
    """Start-up, memory and transfers."""
    idle: dict[str, int] = found["idle"]
    transfers: dict[str, Transfers] = found["transfers"]
    ours, theirs = transfers["quintet"], transfers["anvil"]
    complete = ours.mined == ours.accepted == ours.sent
    rows = [
        [
            f"{ours.sent:,} transfers: mined and readable, a second",
            f"{theirs.mined_rate:,.0f}",
            f"≥ {TRANSFER_GOAL:,}",
            f"{ours.mined_rate:,.0f}",
            mark(complete and ours.mined_rate >= TRANSFER_GOAL),
        ],
        ["accepted, a second", f"{theirs.accepted_rate:,.0f}", "", f"{ours.accepted_rate:,.0f}", ""],
        ["accepted / mined in all", counts(theirs), "all", counts(ours), mark(complete)],
        ["`eth_sendRawTransaction`, p50 / p99 ms", latency(theirs.load), "", latency(ours.load), ""],
        [
            "idle memory, MiB",
            f"{idle['anvil'] / MIB:,.0f}",
            f"< {MEMORY_GOAL // MIB}",
            f"{idle['quintet'] / MIB:,.0f}",
            mark(idle["quintet"] < MEMORY_GOAL),
        ],
        ["memory after the transfers, MiB", f"{theirs.memory / MIB:,.0f}", "", f"{ours.memory / MIB:,.0f}", ""],
        ["start to first answer, ms", f"{start_up['anvil'] * 1e3:,.0f}", "", f"{start_up['quintet'] * 1e3:,.0f}", ""],
    ]
    text = table(["measure", "anvil (in memory)", "goal", "quintet (durable)", "holds"], rows)
    for name, each in transfers.items():
        if each.refusal:
            text += f"\n{name} refused transfers; the first answer: `{each.refusal[:300]}`\n"
    return text
