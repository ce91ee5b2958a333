#!/usr/bin/env bash
# Runs the clients that others wrote against a node.
#
#   run.sh BINARY                            starts `BINARY dev` on a free port, and stops it again
#   QUINTET_RPC_URL=http://host:port run.sh  uses a node that runs: chain id 1337, the developers' usual accounts,
#                                            HTTP and WebSocket on one port
#
# Arguments after the first (an empty one with QUINTET_RPC_URL) name the suites to run; all of them by default.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=env.sh
. ./env.sh

binary=${1:-}
suites=("${@:2}")
if [ ${#suites[@]} -eq 0 ]; then suites=(web3 ethers viem cast wallet jsonrpc); fi
start_deadline=30 # seconds
scratch=$(mktemp -d)
node_pid=

stop() {
  if [ -n "$node_pid" ]; then
    kill "$node_pid" 2>/dev/null || true
    wait "$node_pid" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap stop EXIT
trap 'exit 130' INT TERM

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

answers() {
  curl --silent --fail --max-time 2 -H 'content-type: application/json' \
    -d '{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}' "$QUINTET_RPC_URL" 2>/dev/null | grep -q '"0x539"'
}

start() {
  local port admin_port modules=eth,net,personal,txpool,web3
  port=$(free_port)
  admin_port=$(free_port)
  export QUINTET_RPC_URL=http://127.0.0.1:$port
  "$binary" dev --http.port "$port" --http.api "$modules" --ws --ws.port "$port" --ws.api "$modules" \
    --admin.port "$admin_port" >"$scratch/node.log" 2>&1 &
  node_pid=$!
}

wait_until_it_answers() {
  local deadline=$((SECONDS + start_deadline))
  until answers; do
    if [ -n "$node_pid" ] && ! kill -0 "$node_pid" 2>/dev/null; then
      echo "clients: the node ended before it answered:" >&2
      cat "$scratch/node.log" >&2
      exit 1
    fi
    if [ $SECONDS -ge $deadline ]; then
      echo "clients: no answer from $QUINTET_RPC_URL in $start_deadline s" >&2
      [ -z "$node_pid" ] || cat "$scratch/node.log" >&2
      exit 1
    fi
    sleep 0.1
  done
}

run_suite() {
  case $1 in
    web3) PYTHONDONTWRITEBYTECODE=1 "$clients_python" -m pytest -p no:cacheprovider --quiet --tb=short web3_test.py ;;
    *) node --test --test-concurrency=1 --test-reporter=spec "$1.test.mjs" ;;
  esac
}

if [ -z "${QUINTET_RPC_URL:-}" ]; then
  if [ ! -x "$binary" ]; then
    echo "usage: run.sh BINARY [SUITE...], or QUINTET_RPC_URL=... run.sh" >&2
    exit 2
  fi
  start
fi
wait_until_it_answers

node compile.mjs contracts/*.sol >"$scratch/sol.json"
"$clients_python" compile.py contracts/*.vy >"$scratch/vy.json"
"$clients_python" sidecar.py >"$scratch/sidecar.json"
export QUINTET_CONTRACTS=$scratch/sol.json:$scratch/vy.json
export QUINTET_SIDECAR=$scratch/sidecar.json

failed=()
for suite in "${suites[@]}"; do
  echo "=== $suite"
  run_suite "$suite" || failed+=("$suite")
done

if [ -n "$node_pid" ] && ! kill -0 "$node_pid" 2>/dev/null; then
  echo "clients: the node ended during the tests:" >&2
  tail -50 "$scratch/node.log" >&2
  failed+=(node)
fi
echo "=== clients: ${#suites[@]} suites (${suites[*]}), ${#failed[@]} failed${failed[*]:+: ${failed[*]}}"
[ ${#failed[@]} -eq 0 ]
