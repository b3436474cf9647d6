#!/usr/bin/env bash
# Accesses to memory that is freed, uninitialised or somebody else's, leaks, and descriptors left open.
#
#   ci/sanitize.sh            both halves
#   ci/sanitize.sh asan       AddressSanitizer and LeakSanitizer: the runtime's tests on each driver, and the exporter's
#   ci/sanitize.sh valgrind   valgrind: the parity suite on epoll and on hostile kernels
#
# Neither knows what a ring writes: valgrind takes what was received through one for uninitialised, so it keeps to epoll;
# AddressSanitizer checks no access by the kernel. For that there are the hostile kernels of the parity suite, which
# write to lent memory late, and where both can see it.
#
# AddressSanitizer is an unstable flag of rustc, which RUSTC_BOOTSTRAP=1 lets the stable compiler take: no second
# toolchain is needed. The standard library is not instrumented; its allocations are seen all the same.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_INCREMENTAL=0
export CARGO_PROFILE_DEV_DEBUG=line-tables-only
export RUST_BACKTRACE=0
# Sequences and seeds are explored by the plain tests; a few show how memory is treated.
export PROPTEST_CASES="${PROPTEST_CASES:-24}"
export SPANWIRE_TEST_SEEDS="${SPANWIRE_TEST_SEEDS:-2}"
LIMIT="${SANITIZE_LIMIT:-8m}"
# These leak on purpose, on threads on which no suppression could tell which test it is for: a worker whose ring is taken
# away, tasks whose destructors spawn without end, an exporter whose handler owns it. They run without the leak checker.
LEAKY=(a_ring_that_is_taken_away destructors_that_spawn_without_end a_handler_may_call_the_exporter)

asan() {
    local host tests=() file name
    host=$(rustc -vV | sed -n 's/^host: //p')
    for file in runtime/tests/*.rs; do
        name=$(basename "$file" .rs)
        # The first reads sources. A forked child leaks what it shares with its parent, because it may touch none of it.
        case $name in layers | fork) ;; *) tests+=(--test "$name") ;; esac
    done
    export RUSTC_BOOTSTRAP=1
    export RUSTFLAGS="-Zsanitizer=address ${RUSTFLAGS:-}"
    # Whatever is instrumented is built anew, so it never shares a target directory with normal builds.
    export CARGO_TARGET_DIR="${SANITIZE_TARGET_DIR:-target/sanitize}"
    export LSAN_OPTIONS="suppressions=$PWD/ci/lsan.supp:print_suppressions=0"
    local cargo=(in_time cargo test --locked --no-fail-fast --target "$host")
    "${cargo[@]}" -p spanwire-runtime --lib "${tests[@]}" -- "${LEAKY[@]/#/--skip=}"
    ASAN_OPTIONS=detect_leaks=0 "${cargo[@]}" -p spanwire-runtime --test fork
    ASAN_OPTIONS=detect_leaks=0 "${cargo[@]}" -p spanwire-runtime --test fallback --test stealing -- "${LEAKY[@]}"
    "${cargo[@]}" -p spanwire --test delivery --test lifecycle -- "${LEAKY[@]/#/--skip=}"
    ASAN_OPTIONS=detect_leaks=0 "${cargo[@]}" -p spanwire --test lifecycle -- "${LEAKY[@]}"
    echo "sanitize: no invalid access, no leak"
}

memcheck() {
    need_valgrind
    local suite report status=0 left
    suite=$(cargo test --locked -p spanwire-runtime --lib --no-run --message-format=json |
        python3 -c 'import json, sys
for line in sys.stdin:
    built = json.loads(line)
    if built.get("executable") and built["target"]["kind"] == ["lib"]: print(built["executable"])')
    report=$(mktemp)
    trap 'rm -f "$report"' RETURN
    # One test at a time, so that what is open at the end was left open. Those of teardown.rs leak on purpose; the other
    # two move megabytes, or tens of thousands of operations.
    SPANWIRE_IO=epoll in_time valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
        --track-fds=yes --log-file="$report" "$suite" --test-threads=1 driver:: net:: \
        --skip driver::tests::teardown --skip eight_megabytes --skip a_full_table || status=$?
    left=$(python3 -c 'import re, sys
blocks = re.split(r"(?m)^==\d+== (?=Open )", open(sys.argv[1]).read())[1:]
print("".join(block for block in blocks if "<inherited from parent>" not in block))' "$report")
    if [ "$status" != 0 ]; then cat "$report" >&2; return "$status"; fi
    if [ -n "$left" ]; then echo "sanitize: left open: $left" >&2; return 1; fi
    echo "sanitize: valgrind has nothing to say, and no descriptor was left open"
}

need_valgrind() {
    if command -v valgrind >/dev/null; then return; fi
    local root=()
    if [ "$(id -u)" != 0 ]; then root=(sudo); fi
    "${root[@]}" apt-get update -q
    "${root[@]}" apt-get install -q -y --no-install-recommends valgrind libc6-dbg
}

in_time() { # A test that hangs fails.
    timeout --kill-after=10s "$LIMIT" "$@"
}

case ${1:-all} in
    asan) asan ;;
    valgrind) memcheck ;;
    all)
        memcheck
        asan
        ;;
    *) echo "sanitize: asan, valgrind, or nothing for both" >&2; exit 2 ;;
esac
