#!/bin/bash
# What docker-compose.yml relies on of the official image's entrypoint: a new data directory is made with the superuser's password from
# POSTGRES_PASSWORD_FILE, then /docker-entrypoint-initdb.d runs against a server that listens on its socket only.
set -euo pipefail
[ "${1:-}" = postgres ] || exec "$@"
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA"
    [ -s "${POSTGRES_PASSWORD_FILE:-}" ] || {
        echo "POSTGRES_PASSWORD_FILE must name a file that holds the superuser's password" >&2
        exit 1
    }
    # Options are separated by blanks, as in the official image.
    # shellcheck disable=SC2086
    initdb --username="$user" --pwfile="$POSTGRES_PASSWORD_FILE" -D "$PGDATA" ${POSTGRES_INITDB_ARGS:-}
    printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -w start -o "$(printf '%q ' "${@:2}") -c listen_addresses=''"
    [ "$database" = postgres ] || createdb --username "$user" "$database"
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
        *.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
        *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$user" --dbname "$database" -f "$script" ;;
        esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@"
