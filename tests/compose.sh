#!/usr/bin/env bash
# Builds and starts the containers of docker-compose.yml beside whatever else runs on this machine, runs the end-to-end suite and the
# clients against them, and takes them away.
set -euo pipefail
cd "$(dirname "$0")/.."
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-quintet-e2e}
export QUINTET_TAG=${QUINTET_TAG:-e2e}
# Of the same sources, optimised less.
export QUINTET_PROFILE=${QUINTET_PROFILE:-e2e}
# Any free port.
export QUINTET_HTTP_PORT=${QUINTET_HTTP_PORT:-0} QUINTET_ADMINRPC_PORT=${QUINTET_ADMINRPC_PORT:-0} QUINTET_PROMETHEUS_PORT=${QUINTET_PROMETHEUS_PORT:-0}
export QUINTET_P2P_PORT=${QUINTET_P2P_PORT:-0}
# The test that receives spans listens on this machine while it runs.
QUINTET_OTLP_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
export QUINTET_OTLP_PORT QUINTET_OTLP=http://host.docker.internal:$QUINTET_OTLP_PORT

trap 'deploy/test/down.sh >/dev/null 2>&1 || true' EXIT
trap 'exit 130' INT TERM
url=$(deploy/test/up.sh --scale gateway=2 --scale miner=2 --scale p2p=2)
echo "compose: JSON-RPC at $url"
export QUINTET_RPC_URL=$url QUINTET_COMPOSE=deploy/test/compose.sh
QUINTET_E2E=compose cargo test --locked -p quintet --test e2e suite::
# The others need the module `personal` and pages of any origin, which this deployment does not give.
tests/clients/run.sh '' web3 ethers cast jsonrpc
