#!/usr/bin/env bash
# Bad days of a collector and of the network between, one after the other, while spans are exported at a steady rate: after
# each, every span is delivered or counted, memory is where it was, and what ending a span cost is shown beside a quiet run.
#
# Arguments are names of scenarios (`ci/faults.sh --list`); none means all. `--long` stops the collector for a minute and
# kills it 50 times; without it 5 s and 10 times, so that a gate has time for it. The scenarios that need root (network and mount
# namespaces) are named and passed over without it, but fail under CI.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --release --bin spanwire
spanwire="${CARGO_TARGET_DIR:-target}/release/spanwire"
PYTHONDONTWRITEBYTECODE=1 python3 ci/faults/run.py --spanwire "$spanwire" "$@"
# Everything by turns, on one exporter; ten minutes of it before a release.
if [ $# = 0 ]; then timeout --kill-after=5s 180s "$spanwire" soak --minutes 1; fi
