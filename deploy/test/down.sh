#!/usr/bin/env bash
# Takes away what deploy/test/up.sh started, with its volumes.
set -euo pipefail
exec "$(dirname "$0")/compose.sh" down --volumes --remove-orphans --timeout "${QUINTET_STOP:-20}"
