#!/usr/bin/env bash
# Each fuzz target for half a minute, from its committed corpus. A crash fails, and leaves its input in fuzz/artifacts.
#
# FUZZ_SECONDS is the time for each target. For a long run: FUZZ_SECONDS=3600 ci/fuzz-smoke.sh. Arguments are
# targets; without any, all are run. Needs a C++ compiler (libFuzzer). New inputs go to target/fuzz-corpus, so the
# committed corpus stays small; copy from there what deserves to stay.
set -euo pipefail
cd "$(dirname "$0")/.."

SECONDS_EACH="${FUZZ_SECONDS:-30}"
# Building with sanitizers comes on top, once; then a target that does not end by itself is ended.
RUN_LIMIT=$((SECONDS_EACH + 120))
# One input may take this long; none needs a millisecond.
INPUT_LIMIT_S=10
# Long enough for several chunks, interim responses, heads beyond the small limits, and a few records.
INPUT_BYTES_MAX=4096

# Sanitizers are unstable options: nightly where it is installed, else stable with the switch that allows them.
toolchain=()
if rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    toolchain=(+nightly)
else
    export RUSTC_BOOTSTRAP=1
fi

# Installed without the flags of a gate or of this script.
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: installing cargo-fuzz"
    env -u RUSTC_BOOTSTRAP cargo install --quiet --locked cargo-fuzz
fi

targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo "${toolchain[@]}" fuzz list)

scratch="target/fuzz-corpus"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for target in "${targets[@]}"; do
    mkdir -p "$scratch/$target"
    cargo "${toolchain[@]}" fuzz build "$target"
    # The SDK's periodic reader ends its thread in its own time: what that still holds is no leak of an input.
    leaks=1
    if [ "$target" = encode ]; then leaks=0; fi
    status=0
    ASAN_OPTIONS="detect_leaks=$leaks" timeout --kill-after=5s "$RUN_LIMIT" cargo "${toolchain[@]}" fuzz run "$target" \
        "$scratch/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$SECONDS_EACH" -timeout="$INPUT_LIMIT_S" -max_len="$INPUT_BYTES_MAX" \
        -print_final_stats=1 >"$log" 2>&1 || status=$?
    if [ "$status" != 0 ]; then
        tail -n 40 "$log" >&2
        # A panic's message stands far above what libFuzzer and cargo-fuzz say after it.
        grep -A 3 'panicked at' "$log" | head -n 8 >&2 || true
        echo "fuzz: $target FAILED (exit $status); the input is in fuzz/artifacts/$target" >&2
        exit 1
    fi
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "${executions:-0}" -eq 0 ]; then
        tail -n 40 "$log" >&2
        echo "fuzz: $target executed nothing" >&2
        exit 1
    fi
    echo "fuzz: $target ok, $executions executions in $SECONDS_EACH s"
done
