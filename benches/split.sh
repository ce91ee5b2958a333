#!/usr/bin/env bash
# Measures the split node against one process in one run on this machine, and prints the tables as Markdown on standard
# output. Holds processes to shares of the processors by cgroups, so it runs as root.
#   split.sh PATH/TO/quintet [--only calls|writes|blocks|cold|import] [--seconds N] [--share CORES] [--txs N]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "bench: $*" >&2
    exit 1
}

[ $# -ge 1 ] || fail "usage: split.sh PATH/TO/quintet [--only PART] [--seconds N] [--share CORES] [--txs N]"
quintet=$1
shift
for program in "$quintet" "$(dirname "$quintet")"/quintet-{chain,miner,gateway}; do
    [ -x "$program" ] || fail "no program at $program; build them with: cargo build --release --workspace --bins"
done
for tool in wrk node python3 redis-server; do
    command -v "$tool" >/dev/null || fail "$tool is missing; 'make setup' installs it"
done

exec python3 "$here/split.py" --quintet "$quintet" "$@"
