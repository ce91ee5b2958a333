#!/usr/bin/env bash
# Builds and starts the deployment for tests, waits until it is healthy, and prints the address of its JSON-RPC:
#
#   url=$(deploy/test/up.sh --scale gateway=2)
#
# Arguments go to `docker compose up`. Where there is no Docker Engine, or base images cannot be pulled, QUINTET_DOCKER_UP names a program
# that brings both. deploy/test/compose.sh speaks to the same deployment, deploy/test/down.sh takes it away.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
docker_up=${QUINTET_DOCKER_UP:-$here/../../../shared/tools/docker-up}

say() { echo "up: $*" >&2; }

have_images() {
  for image in debian:bookworm-slim rust:1-bookworm; do
    docker image inspect "$image" >/dev/null 2>&1 || docker pull --quiet "$image" >/dev/null 2>&1 || return 1
  done
}

if ! docker compose version >/dev/null 2>&1 || ! docker info >/dev/null 2>&1 || ! have_images; then
  if [ ! -x "$docker_up" ]; then
    say "there is no Docker Engine with compose, or base images cannot be pulled, and $docker_up is not there to help"
    exit 1
  fi
  say "preparing Docker with $docker_up"
  "$docker_up" >&2
fi

say "building images"
"$here/compose.sh" --progress plain build ${QUINTET_BUILD_SERVICES:-} >&2
say "starting"
if ! "$here/compose.sh" up --detach --wait --wait-timeout "${QUINTET_WAIT:-300}" "$@" >&2; then
  "$here/compose.sh" ps --all >&2
  "$here/compose.sh" logs --tail 40 >&2
  say "it did not become healthy; its last lines of log are above"
  exit 1
fi
echo "http://$("$here/compose.sh" port lb 8545)"
