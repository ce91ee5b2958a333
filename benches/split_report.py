"""The tables of the split node, as Markdown, each with what it is to reach."""

import statistics

from content import Call
from imports import Import
from load import Load, Transfers
from report import latency, mark, table

READ_GOAL = 1.3
"""How many times less a gateway may answer than one process with as much of the processors."""
WRITE_GOAL = 1.5
LINEAR_GOAL = 0.10
"""By how much replicas together may fall short of so many times one."""
HEADS_GOAL = 25.0
"""Milliseconds from a commit until every gateway's subscribers know."""
COLD_GOAL = 2.0
IMPORT_GOAL = 0.85


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def calls(rows: list[Call], columns: dict[str, list[Load]], machine: dict[str, float], share: float, seconds: int) -> str:
    """Throughput and latency of each call, against one process and against gateways. `machine` is the rate of a plain
    loop in as many shares, which is as linear as the machine is."""
    linear_of = {name: min(1.0, rate / (int(name) * machine["1"])) for name, rate in machine.items()}
    one, first = columns["one process"], columns["1"]
    counts = [name for name in columns if name != "one process"]
    titles = ["one process", *(f"{name} gateway{'s' if name != '1' else ''}" for name in counts)]
    head = ["call", *titles, f"goal: one / {READ_GOAL}", "holds", *(f"{name}: of linear" for name in counts[1:])]
    head += [f"{title}, p50 / p99 ms" for title in titles]
    lines = []
    for index, call in enumerate(rows):
        rates = [f"{columns[name][index].rate:,.0f}" for name in columns]
        goal = one[index].rate / READ_GOAL
        linear = []
        for name in counts[1:]:
            part = columns[name][index].rate / (int(name) * first[index].rate)
            judged = f" {mark(part >= (1 - LINEAR_GOAL) * linear_of[name])}" if call.method == "eth_call" else ""
            linear.append(f"{part:.2f}{judged}")
        latencies = [latency(columns[name][index]) for name in columns]
        lines.append([call.title, *rates, f"≥ {goal:,.0f}", mark(first[index].rate >= goal), *linear, *latencies])
    loops = " and ".join(f"{part:.2f} of {name} times one" for name, part in linear_of.items() if name != "1")
    text = f"Requests a second, {seconds} s each, the faster of two. One process and each gateway have {share} of a processor. "
    text += f"A plain hashing loop in each share reaches {loops}; `eth_call` is to come within {LINEAR_GOAL:.0%} of that.\n\n"
    return text + table(head, lines)


def writes(found: dict[str, Transfers], share: float) -> str:
    one, split = found["one process"], found["split"]
    whole = all(each.mined == each.accepted == each.sent for each in found.values())
    goal = one.mined_rate / WRITE_GOAL
    count = lambda each: f"{each.accepted:,} / {each.mined:,}"  # noqa: E731
    rows = [
        [
            f"{one.sent:,} transfers: mined and readable, a second",
            f"{one.mined_rate:,.0f}",
            f"{split.mined_rate:,.0f}",
            f"≥ {goal:,.0f}",
            mark(whole and split.mined_rate >= goal),
        ],
        ["accepted, a second", f"{one.accepted_rate:,.0f}", f"{split.accepted_rate:,.0f}", "", ""],
        ["accepted / mined in all", count(one), count(split), "all", mark(whole)],
        ["`eth_sendRawTransaction`, p50 / p99 ms", latency(one.load), latency(split.load), "", ""],
    ]
    text = f"One process has {share} of a processor; chain, miner, Redis and one gateway have as much together.\n\n"
    text += table(["measure", "one process", "split", f"goal: one / {WRITE_GOAL}", "holds"], rows)
    for name, each in found.items():
        if each.refusal:
            text += f"\n{name} refused transfers; the first answer: `{each.refusal[:300]}`\n"
    return text


def blocks(used: dict[int, list[float]], heard: dict[int, tuple[int, list[list[float]]]], pace: int) -> str:
    """What gateways cost `chain`, and how soon they tell of a block."""
    counts = sorted(used)
    least = counts[0]
    spread = max(max(each) - min(each) for each in used.values())
    rows = []
    for count in counts:
        mean = statistics.mean(used[count])
        added = (mean - statistics.mean(used[least])) / max(count - least, 1)
        number, each = heard[count]
        worst = [percentile(delays, 0.99) for delays in each]
        every = [delay for delays in each for delay in delays]
        complete = all(len(delays) == number for delays in each)
        rows.append(
            [
                f"{count}",
                f"{100 * mean:.2f} %",
                f"{100 * added:+.2f} %" if count != least else "",
                f"{100 * spread:.2f} %",
                mark(added <= spread) if count != least else "",
                f"{number:,}" if complete else f"{number:,} (**not all told**)",
                f"{percentile(every, 0.5):.2f} / {max(worst):.2f}",
                mark(complete and max(worst) < HEADS_GOAL),
            ]
        )
    head = ["gateways, all subscribed", "chain's use of a processor", "each added gateway", "spread of the same"]
    head += ["too small to measure", "blocks", f"commit to `newHeads`, p50 / p99 of the slowest, ms (goal < {HEADS_GOAL:.0f})", "holds"]
    return f"About {pace} blocks a second.\n\n" + table(head, rows)


def cold(times: list[tuple[float, float]], share: float) -> str:
    worst = max(whole for _, whole in times)
    first = max(first for first, _ in times)
    row = [f"{len(times)}", f"{first:.2f}", f"{worst:.2f}", f"< {COLD_GOAL:.0f}", mark(worst < COLD_GOAL)]
    head = ["cold starts", "slowest to a first answer, s", "slowest to all answers, all right, s", "goal", "holds"]
    return f"A new gateway with {share} of a processor, over a store with blocks.\n\n" + table(head, [row])


def imports(one: Import, split: Import) -> str:
    goal = IMPORT_GOAL * one.tx_rate
    row = lambda name, each, *rest: [name, f"{each.seconds:,.1f}", f"{each.tx_rate:,.0f}", f"{each.mgas_rate:,.0f}", *rest]  # noqa: E731
    rows = [
        row("one process, PostgreSQL", one, "", ""),
        row("split, PostgreSQL", split, f"≥ {goal:,.0f} tx/s", mark(split.tx_rate >= goal)),
    ]
    text = f"{one.transactions:,} transactions in {one.blocks:,} blocks, imported into a new store.\n\n"
    return text + table(["import", "seconds", "tx/s", "Mgas/s", f"goal: {IMPORT_GOAL:.0%}", "holds"], rows)
