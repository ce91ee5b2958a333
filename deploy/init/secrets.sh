#!/bin/sh
# Makes the secrets of a deployment in the volume at /run/secrets, those that are not there yet:
#
#   secrets.sh               all that are missing
#   secrets.sh show NAME     prints one
#   secrets.sh rotate NAME   makes a new one in place of the old; who uses it must read it again (docs/operate.md)
#
# A file belongs to root and to the one group that a container must be in to read it (`group_add` in docker-compose.yml). The process
# must be in all these groups, and needs no capability. Runs as often as one likes.
set -eu
folder=${SECRETS_DIR:-/run/secrets}

# Groups: who may read.
postgres=10010 owner=10011 reader=10012 redis_client=10013 redis_server=10014 admin=10015 grafana=10016 peers=10017

# write NAME GROUP: standard input becomes the file, at once and whole, unless it is the same already.
write() {
    rm -f "$folder/.new"
    (umask 077 && cat >"$folder/.new")
    if [ -e "$folder/$1" ] && cmp -s "$folder/.new" "$folder/$1"; then
        rm "$folder/.new"
        return
    fi
    chgrp "$2" "$folder/.new"
    chmod 0440 "$folder/.new"
    mv "$folder/.new" "$folder/$1"
    echo "init: wrote $1"
}

# random NAME GROUP: 32 random bytes as hexadecimal digits, if there is no such secret.
random() {
    [ -s "$folder/$1" ] || od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n' | write "$1" "$2"
}

secret() { cat "$folder/$1"; }

ensure() {
    random postgres-password "$postgres"
    random quintet-password "$postgres"
    random gateway-password "$postgres"
    random redis-password "$redis_server"
    random admin-jwt "$admin"
    random grafana-password "$grafana"
    random nodekey "$peers"
    # What programs read: whole addresses and settings, made of the above.
    printf 'postgres://quintet:%s@%s' "$(secret quintet-password)" "${POSTGRES_AT:-postgres:5432/quintet}" | write store-owner-url "$owner"
    printf 'postgres://quintet_gateway:%s@%s' "$(secret gateway-password)" "${POSTGRES_AT:-postgres:5432/quintet}" | write store-reader-url "$reader"
    printf 'redis://:%s@%s' "$(secret redis-password)" "${REDIS_AT:-redis:6379/0}" | write redis-url "$redis_client"
    printf 'requirepass %s\n' "$(secret redis-password)" | write redis.conf "$redis_server"
}

is_random() {
    case "$1" in postgres-password | quintet-password | gateway-password | redis-password | admin-jwt | grafana-password | nodekey) ;;
    *)
        echo "init: no secret ${1:-''} to rotate; there are postgres-password, quintet-password, gateway-password, redis-password, admin-jwt, grafana-password, nodekey" >&2
        exit 2
        ;;
    esac
}

case "${1:-ensure}" in
ensure) ensure ;;
show) secret "$2" && echo ;;
rotate)
    is_random "${2:-}"
    rm -f "$folder/$2"
    ensure
    ;;
*)
    echo "usage: secrets.sh [show NAME | rotate NAME]" >&2
    exit 2
    ;;
esac
