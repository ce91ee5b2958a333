#!/bin/sh
# Replaces the containers of one service by ones of the image that is there now, while the rest goes on:
#
#   docker compose build gateway && deploy/upgrade.sh gateway
#
# Replicas are replaced one by one: a new one first, and when it is healthy, an old one stops and is gone. Of a service that there must
# be one of (chain, a database), the old one stops first.
set -eu
service=${1:?usage: deploy/upgrade.sh SERVICE}

say() { echo "upgrade: $*" >&2; }

case "$service" in
gateway | miner | p2p | discovery) ;;
*)
    say "replacing $service; there is only one, so it is away until the new one is healthy"
    exec docker compose up --detach --no-deps --wait "$service"
    ;;
esac

old=$(docker compose ps --quiet "$service")
if [ -z "$old" ]; then
    say "no container of $service runs; start it with docker compose up --detach $service"
    exit 1
fi
count=$(echo "$old" | wc -l)
for container in $old; do
    docker compose up --detach --no-deps --no-recreate --wait --scale "$service=$((count + 1))" "$service"
    say "stopping $(docker inspect --format '{{.Name}}' "$container" | tr -d /)"
    # With the service's own grace, in which it finishes what is under way.
    docker stop "$container" >/dev/null
    docker rm "$container" >/dev/null
done
say "$count of $service replaced"
