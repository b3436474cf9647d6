#!/usr/bin/env bash
# Every interleaving of the lock-free protocols, up to a number of preemptions (loom).
#
# The default of 2 preemptions takes seconds, and so do the 3 of the gate. Before a change of an ordering is merged,
# run the longer setting:
#
#   LOOM_MAX_PREEMPTIONS=5 LOOM_LIMIT=6h ci/loom.sh
#
# LOOM_LIMIT bounds the whole run (timeout(1) syntax). Arguments are passed on to the test binaries:
# `ci/loom.sh doorbell` runs the models with that in their name. After a failure, LOOM_LOG=trace and
# LOOM_CHECKPOINT_FILE=/tmp/loom.json replay the interleaving that failed.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="--cfg loom -C debug-assertions ${RUSTFLAGS:-}"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-2}"
# cfg(loom) changes every crate, so the models never share a target directory with normal builds.
export CARGO_TARGET_DIR="${LOOM_TARGET_DIR:-target/loom}"

# Built outside the limit, which is about models alone.
cargo test --locked --release -p spanwire-loom-tests --tests --no-run
echo "loom: at most $LOOM_MAX_PREEMPTIONS preemptions, limit ${LOOM_LIMIT:-20m}"
report=$(mktemp)
trap 'rm -f "$report"' EXIT
status=0
timeout --kill-after=10s "${LOOM_LIMIT:-20m}" \
    cargo test --locked --release -p spanwire-loom-tests --tests -- "$@" 2>&1 | tee "$report" || status=$?
if [ "$status" = 124 ]; then echo "loom: the models did not end within ${LOOM_LIMIT:-20m}" >&2; fi
if [ "$status" != 0 ]; then exit "$status"; fi

# A switch that does not reach the models would leave nothing to run, and that must not look like success.
models=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$report" | awk '{n += $1} END {print n + 0}')
[ "$models" -gt 0 ] || { echo "loom: no model was run" >&2; exit 1; }
echo "loom: $models models hold"
