#!/usr/bin/env bash
# Measures a node against anvil in one run on this machine, and prints the tables as Markdown on standard output.
#   run.sh PATH/TO/quintet [--only reads|transfers] [--seconds N]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
clients=$here/../tests/clients

fail() {
    echo "bench: $*" >&2
    exit 1
}

[ $# -ge 1 ] || fail "usage: run.sh PATH/TO/quintet [--only reads|transfers] [--seconds N]"
quintet=$1
shift
[ -x "$quintet" ] || fail "no program at $quintet; build it with: cargo build --release -p quintet"
for tool in wrk node python3; do
    command -v "$tool" >/dev/null || fail "$tool is missing; 'make setup' installs it"
done

# The package's launcher is a script that stays in front of the program: its memory would be the one measured.
anvil=
for candidate in "$clients"/node_modules/@foundry-rs/anvil-*/bin/anvil; do
    [ -x "$candidate" ] && anvil=$candidate
done
[ -n "$anvil" ] || fail "anvil is missing; 'make setup' installs it"

exec python3 "$here/bench.py" --quintet "$quintet" --anvil "$anvil" "$@"
