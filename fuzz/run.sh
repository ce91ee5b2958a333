#!/usr/bin/env bash
# Fuzzes the decoders of what strangers send, with libFuzzer on the stable toolchain.
#
#   fuzz/run.sh list              targets, and the messages that `eth` and `snap` take one by one
#   fuzz/run.sh all SECONDS       every target for so long (CI: 5)
#   fuzz/run.sh every SECONDS     every target and every message by itself
#   fuzz/run.sh TARGET SECONDS    one target (600 by hand), or one message: eth/Receipts
#   fuzz/run.sh TARGET FILE...    one target on given inputs: a finding again
#
# Corpora and findings are kept in $CARGO_TARGET_DIR/fuzz (target/fuzz of the project without it). Seeds are made from
# the archives in $QUINTET_VECTORS (../shared/vectors without it); without archives only from what the code itself has.
set -euo pipefail
HERE=$PWD
cd "$(dirname "$0")"

TARGETS=(discv4 record enode auth ack frame hello disconnect eth snap range)
ETH=(Status NewBlockHashes Transactions GetBlockHeaders BlockHeaders GetBlockBodies BlockBodies NewBlock
     NewPooledTransactionHashes GetPooledTransactions PooledTransactions GetNodeData NodeData GetReceipts Receipts
     BlockRangeUpdate)
SNAP=(GetAccountRange AccountRange GetStorageRanges StorageRanges GetByteCodes ByteCodes GetTrieNodes TrieNodes)

OUT="${CARGO_TARGET_DIR:-$PWD/../target}/fuzz"
HOST=$(rustc -vV | sed -n 's/^host: //p')
BIN="$OUT/$HOST/release"

build() {
    # Coverage for libFuzzer. Naming the target keeps it out of build scripts and macros, which run on the host.
    local flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
    flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
    flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
    RUSTFLAGS="$flags" CARGO_INCREMENTAL=0 cargo build --locked --release \
        --target "$HOST" --target-dir "$OUT" "$@"
}

# Unpacks the archives that have seeds, once.
vectors() {
    local from="${QUINTET_VECTORS:-../../shared/vectors}" to="$OUT/vectors" archive
    mkdir -p "$to"
    for number in 08 12; do
        archive=$(find "$from" -maxdepth 1 -name "$number-*.tar.zst" 2>/dev/null | head -n 1)
        if [ -z "$archive" ]; then
            echo "SKIPPED: seeds from archive $number-*.tar.zst, which is not in $from (set QUINTET_VECTORS)"
        elif [ ! -e "$to/$number.done" ]; then
            tar --zstd -xf "$archive" -C "$to"
            touch "$to/$number.done"
        fi
    done
}

# fuzz TARGET[/MESSAGE] SECONDS
fuzz() {
    local target="${1%%/*}" corpus="$OUT/corpus/$1" findings="$OUT/findings/$1" log="$OUT/findings/$1.log"
    local environment=() regressions=()
    case "$1" in */*) environment=("QUINTET_FUZZ_MESSAGE=${1#*/}") ;; esac
    # Inputs that once failed.
    [ ! -d "regressions/$target" ] || regressions=("regressions/$target")
    mkdir -p "$corpus" "$findings"
    if env "${environment[@]}" QUINTET_FUZZ_SEEDS="$corpus" QUINTET_FUZZ_VECTORS="$OUT/vectors" "$BIN/$target" \
        >"$log" 2>&1 &&
        env "${environment[@]}" "$BIN/$target" "$corpus" "${regressions[@]}" -max_total_time="$2" \
            -artifact_prefix="$findings/" -timeout=10 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 \
            >>"$log" 2>&1; then
        echo "$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $2 s, nothing found"
    else
        echo "$1: FAILED, see $log"
        tail -n 25 "$log"
        for finding in "$findings"/*; do
            [ ! -f "$finding" ] || echo "$finding: $(od -An -v -tx1 "$finding" | tr -d ' \n' | head -c 2000)"
        done
        return 1
    fi
}

# again TARGET[/MESSAGE] FILE...
again() {
    local target="${1%%/*}" files
    case "$1" in */*) export QUINTET_FUZZ_MESSAGE="${1#*/}" ;; esac
    shift
    mapfile -t files < <(cd "$HERE" && realpath "$@")
    exec "$BIN/$target" "${files[@]}"
}

# together SECONDS TARGET...: all of them, also after one has failed.
together() {
    local seconds="$1" failed=0
    shift
    for target in "$@"; do fuzz "$target" "$seconds" || failed=1; done
    return "$failed"
}

case "${1:-}" in
    list) printf '%s\n' "${TARGETS[@]}" "${ETH[@]/#/eth/}" "${SNAP[@]/#/snap/}" ;;
    all) build --bins && vectors && together "${2:?seconds}" "${TARGETS[@]}" ;;
    every) build --bins && vectors && together "${2:?seconds}" "${TARGETS[@]}" "${ETH[@]/#/eth/}" "${SNAP[@]/#/snap/}" ;;
    '') sed -n '2,/^set/s/^# \{0,1\}//p' run.sh && exit 2 ;;
    *)
        if ! printf '%s\n' "${TARGETS[@]}" | grep -qx "${1%%/*}"; then
            echo "no target $1; fuzz/run.sh list names them" >&2
            exit 2
        fi
        build --bin "${1%%/*}"
        case "${2:?seconds, or a file}" in
            *[!0-9]*) again "$@" ;;
            *) vectors && fuzz "$1" "$2" ;;
        esac
        ;;
esac
