#!/usr/bin/env bash
# Measures imports of chain files on both stores, ethash and the trie in one run on this machine, and prints the
# tables as Markdown on standard output.
#   import.sh PATH/TO/quintet [--only chains|size|ethash|trie] [--txs N] [--runs N]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "bench: $*" >&2
    exit 1
}

[ $# -ge 1 ] || fail "usage: import.sh PATH/TO/quintet [--only chains|size|ethash|trie] [--txs N] [--runs N]"
quintet=$1
shift
[ -x "$quintet" ] || fail "no program at $quintet; build it with: cargo build --release -p quintet"
command -v python3 >/dev/null || fail "python3 is missing"
examples=$(cd "$(dirname "$quintet")" && pwd)/examples
for example in testkit:generate ethash:bench trie:scale; do
    [ -x "$examples/${example#*:}" ] ||
        fail "build it first: cargo build --release -p quintet-${example%:*} --example ${example#*:}"
done

exec python3 "$here/imports.py" --quintet "$quintet" --examples "$examples" "$@"
