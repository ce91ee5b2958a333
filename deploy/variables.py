#!/usr/bin/env python3
"""Prints a table of the flags and variables of the five services, made of what `--help` of each says.

    deploy/variables.py FOLDER_WITH_THE_PROGRAMS          prints it
    deploy/variables.py FOLDER docs/operate.md            puts it between the marks in that file
"""

import re
import subprocess
import sys
from pathlib import Path

SERVICES = ["discovery", "p2p", "chain", "miner", "gateway"]
BEGIN, END = "<!-- flags: begin -->", "<!-- flags: end -->"
FLAG = re.compile(r"^ {2,}(?:-\w, )?--(?P<flag>\S+)")


def flags(program: Path) -> list[tuple[str, str, str, str]]:
    """Heading, flag, help and default of each flag that has a variable."""
    text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    found, heading, entry = [], "", None
    for line in text.splitlines():
        if line and not line.startswith(" "):
            heading, entry = line.rstrip(":"), None
        elif match := FLAG.match(line):
            entry = [heading, match["flag"].removesuffix("..."), [], ""]
            found.append(entry)
        elif entry is not None and (line := line.strip()):
            if line.startswith("[env: "):
                entry.append("variable")
            elif match := re.fullmatch(r"\[default: (.*)\]", line):
                entry[3] = match[1]
            else:
                entry[2].append(line)
    return [(h, f, sentence(help), default) for h, f, help, default, *variable in found if variable]


def sentence(lines: list[str]) -> str:
    text = " ".join(lines).replace(" Possible values: - ", ": ").replace(" - ", "; ")
    return text.replace("|", "\\|")


def table(folder: Path) -> str:
    rows: dict[str, tuple[str, str, str, list[str]]] = {}
    for service in SERVICES:
        for heading, flag, help, default in flags(folder / f"quintet-{service}"):
            known = rows.setdefault(flag, (heading, help, default, []))
            known[3].append(service if known[2] == default else f"{service} (`{default}`)")
    lines = ["| flag | default | services | what it is |", "|---|---|---|---|"]
    for flag, (_, help, default, services) in sorted(rows.items()):
        where = "all" if services == SERVICES else ", ".join(services)
        lines.append(f"| `--{flag}` | {f'`{default}`' if default else ''} | {where} | {help} |")
    return "\n".join(lines)


def main() -> None:
    made = table(Path(sys.argv[1]))
    if len(sys.argv) < 3:
        print(made)
        return
    document = Path(sys.argv[2])
    before, rest = document.read_text().split(BEGIN)
    after = rest.split(END)[1]
    document.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}")


if __name__ == "__main__":
    main()
