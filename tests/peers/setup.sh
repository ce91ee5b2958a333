#!/usr/bin/env bash
# Installs the foreign peers into tests/peers/node_modules, once for each package-lock.json. Running it again is safe.
set -euo pipefail
cd "$(dirname "$0")"
lock_hash=$(sha256sum <package-lock.json)
stamp=node_modules/.complete
if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$lock_hash" ]; then
  echo "setup: installing the JavaScript peers (ethereumjs) into tests/peers/node_modules" >&2
  # No package here needs its install script: what is native comes built inside the packages.
  npm ci --ignore-scripts >/dev/null
  echo "$lock_hash" >"$stamp"
fi
