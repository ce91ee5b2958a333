#!/usr/bin/env bash
# Installs what the tests need and this machine lacks, on Debian or Ubuntu, and says so: one line each, nothing when
# all is there. Running it again is safe.
set -euo pipefail
tests_dir=$(cd "$(dirname "$0")" && pwd)

say() { echo "setup: $*" >&2; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

apt_updated=
# apt_install PACKAGE...: installs Debian packages.
apt_install() {
  if ! command -v apt-get >/dev/null; then
    say "cannot install $*: no apt-get on this machine; please install it by hand"
    return 1
  fi
  if [ -z "$apt_updated" ]; then
    as_root apt-get update -qq >/dev/null
    apt_updated=yes
  fi
  say "installing $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need COMMAND PACKAGE...: the packages, unless the command is there.
need() {
  command -v "$1" >/dev/null || apt_install "${@:2}"
}

need cc build-essential
# The fuzzer is in C++.
need c++ g++
need pkg-config pkg-config
need curl curl ca-certificates
need zstd zstd
need node nodejs
need npm npm
need cargo rustup
need python3 python3
need ps procps
# The tests start servers of their own; Debian keeps the programs out of the path.
command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || apt_install postgresql
python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
need redis-server redis-server
# One test has it answer the dashboards' queries, and does with less where there is none.
need prometheus prometheus || say "going on without prometheus: queries of dashboards are checked by their names alone"
# Only the benches need it.
need wrk wrk || say "going on without wrk: 'make bench' will not run"

if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 18 || (a == 18 && b >= 19) ? 0 : 1)'; then
  say "node $(node --version) is too old: 18.19 or newer is needed"
  exit 1
fi

# shellcheck source=clients/env.sh
. "$tests_dir/clients/env.sh"
if [ ! -e "$clients_venv/.complete" ]; then
  say "installing the Python clients (web3.py, vyper) into $clients_venv"
  rm -rf "$clients_venv"
  python3 -m venv "$clients_venv"
  "$clients_python" -m pip install --quiet --disable-pip-version-check -r "$tests_dir/clients/requirements.txt"
  touch "$clients_venv/.complete"
fi

lock_hash=$(sha256sum <"$tests_dir/clients/package-lock.json")
npm_stamp=$tests_dir/clients/node_modules/.complete
if [ ! -e "$npm_stamp" ] || [ "$(cat "$npm_stamp")" != "$lock_hash" ]; then
  say "installing the JavaScript clients (ethers, viem, solc) and Foundry's cast and anvil into tests/clients/node_modules"
  (cd "$tests_dir/clients" && npm ci >/dev/null)
  echo "$lock_hash" >"$npm_stamp"
fi
