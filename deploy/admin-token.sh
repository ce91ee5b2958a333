#!/bin/sh
# Prints a token for the admin RPC port, good for a minute:
#
#   curl -s localhost:8550 -H "Authorization: Bearer $(deploy/admin-token.sh)" -H 'content-type: application/json' \
#     -d '{"jsonrpc":"2.0","id":1,"method":"admin_nodeInfo","params":[]}'
set -eu
encode() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
secret=$(docker compose run --rm --no-deps --no-TTY init /init/secrets.sh show admin-jwt)
content=$(printf '{"alg":"HS256","typ":"JWT"}' | encode).$(printf '{"iat":%s}' "$(date +%s)" | encode)
# openssl takes the key as an argument only, so that it shows in this machine's list of processes for a moment.
printf '%s.%s\n' "$content" "$(printf %s "$content" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$secret" -binary | encode)"
