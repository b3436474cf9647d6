#!/usr/bin/env bash
# Weakens one ordering, drops one fence, forgets one cancel ... and checks that the test that is named for it fails.
#
#   ci/mutations.sh              a sample, chosen by the commit (MUTATIONS_SAMPLE, MUTATIONS_LIMIT)
#   ci/mutations.sh --all        every row; five to twenty minutes on two cores
#   ci/mutations.sh NAME...      these rows, or all whose names begin with NAME
#   ci/mutations.sh --check      builds nothing: does every row still match the source?
#
# The rows are in ci/mutations.txt, which says how to write one; why each is there stands in docs/INVARIANTS*.md. All
# happens in a copy of the tree below target/mutations; the sources here are only read. A row that survives fails the
# run, and so does one whose text is no longer in the source, or whose test fails without the change.
set -euo pipefail
cd "$(dirname "$0")/.."

# How many rows a sample has, and after how many seconds no further one is begun.
export MUTATIONS_SAMPLE="${MUTATIONS_SAMPLE:-10}"
export MUTATIONS_LIMIT="${MUTATIONS_LIMIT:-180}"
# Every row of the list is found with as many.
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-3}"
exec python3 ci/mutations.py "$@"
