#!/usr/bin/env bash
# `docker compose` on the deployment with stand-ins for what cannot be pulled: deploy/test/compose.sh ps
#
# COMPOSE_PROJECT_NAME keeps deployments apart; ports are free ones unless QUINTET_HTTP_PORT and its like are set.
set -euo pipefail
cd "$(dirname "$0")/../.."
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-quintet-test}
export COMPOSE_FILE=docker-compose.yml:deploy/test/compose.yml${QUINTET_COMPOSE_EXTRA:+:$QUINTET_COMPOSE_EXTRA}
# Nothing of an operator's own settings.
export COMPOSE_ENV_FILES=/dev/null
export QUINTET_HTTP_PORT=${QUINTET_HTTP_PORT:-0} QUINTET_ADMINRPC_PORT=${QUINTET_ADMINRPC_PORT:-0} \
  QUINTET_PROMETHEUS_PORT=${QUINTET_PROMETHEUS_PORT:-0} QUINTET_P2P_PORT=${QUINTET_P2P_PORT:-0}
export QUINTET_BIND=${QUINTET_BIND:-127.0.0.1}
exec docker compose "$@"
