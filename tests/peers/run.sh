#!/usr/bin/env bash
# Runs the peers that others wrote against a node.
#
#   run.sh BINARY [SUITE...]     starts nodes of `BINARY` on free ports, and stops them again
#
# Suites: ethereumjs, hostile, discovery; all of them by default. QUINTET_KEEP=1 keeps the nodes' directories and logs,
# QUINTET_DEVP2P_DEBUG=1 has ethereumjs log every message.
set -euo pipefail
cd "$(dirname "$0")"

binary=${1:-}
if [ -z "$binary" ] || [ ! -x "$binary" ]; then
  echo "usage: run.sh BINARY [SUITE...]" >&2
  exit 2
fi
suites=("${@:2}")
if [ ${#suites[@]} -eq 0 ]; then suites=(ethereumjs hostile discovery); fi
QUINTET_BINARY=$(realpath "$binary")
export QUINTET_BINARY

failed=()
for suite in "${suites[@]}"; do
  echo "=== $suite"
  node --test --test-concurrency=1 --test-reporter=spec "$suite.test.mjs" || failed+=("$suite")
done
echo "=== peers: ${#suites[@]} suites (${suites[*]}), ${#failed[@]} failed${failed[*]:+: ${failed[*]}}"
[ ${#failed[@]} -eq 0 ]
