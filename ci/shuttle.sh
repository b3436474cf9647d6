#!/usr/bin/env bash
# The whole scheduler under thousands of schedules that shuttle chooses: at random, and by priorities (PCT).
#
# Each commit starts at another seed; SHUTTLE_SEED=n starts there. The default takes about a minute. Before a change of the
# scheduler is merged, run the longer setting:
#
#   SHUTTLE_RUNS=1000000 SHUTTLE_SECONDS=600 ci/shuttle.sh
#
# SHUTTLE_RUNS bounds the runs of one program with one of the two schedulers, SHUTTLE_SECONDS the time that it begins
# further ones. Arguments are passed on to the test binary: `ci/shuttle.sh shutdown` runs the programs with that in their
# name. A failure leaves its schedule in a file and names it; that schedule again:
#
#   SHUTTLE_REPLAY=FILE ci/shuttle.sh NAME_OF_THE_TEST
set -euo pipefail
cd "$(dirname "$0")/.."

commit=$(git rev-parse --short=7 HEAD 2>/dev/null || echo 1)
export SHUTTLE_SEED="${SHUTTLE_SEED:-$((16#$commit))}"
export SHUTTLE_RUNS="${SHUTTLE_RUNS:-10000}"
export SHUTTLE_SECONDS="${SHUTTLE_SECONDS:-10}"
export RUSTFLAGS="--cfg shuttle -C debug-assertions ${RUSTFLAGS:-}"
# cfg(shuttle) changes the runtime, so these never share a target directory with normal builds.
export CARGO_TARGET_DIR="${SHUTTLE_TARGET_DIR:-target/shuttle}"

echo "shuttle: seed $SHUTTLE_SEED, at most $SHUTTLE_RUNS runs and $SHUTTLE_SECONDS s for each scheduler and program"
report=$(mktemp)
trap 'rm -f "$report"' EXIT
cargo test --locked --release -p spanwire-loom-tests --test shuttle_scheduler -- --nocapture "$@" 2>&1 | tee "$report"

# A switch that does not reach the tests would leave nothing to run, and that must not look like success.
grep -qE '^test result: ok\. [1-9]' "$report" || { echo "shuttle: nothing was run" >&2; exit 1; }
