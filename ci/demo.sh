#!/usr/bin/env bash
# The command that the README shows first, on each driver: nothing lost, and the embedded collector decoded what
# was delivered. Skips io_uring, in one line, where the kernel or the sandbox denies it.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --release
for driver in uring epoll; do
    if [ "$driver" = uring ] && ! ci/has_uring.py; then
        echo "demo: io_uring is not available here, so only epoll is tried"
        continue
    fi
    output=$(SPANWIRE_IO=$driver timeout --kill-after=5s 120s cargo run --locked -q --release -- demo --json)
    tail -n 1 <<<"$output" | ci/demo_check.py "$driver"
done
