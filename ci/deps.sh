#!/usr/bin/env bash
# What `spanwire` brings into a user's tree: few crates, each with a reason, no async runtime, no C compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

# Non-dev crates below `spanwire` with default features.
CRATES_MAX=60
# An exporter with its own runtime must not bring another. futures-executor is not in the list: opentelemetry_sdk
# depends on it for its own batch processors, which spanwire's door goes around; nothing of ours runs on it.
RUNTIMES='tokio|tokio-[a-z]+|async-std|async-executor|async-io|async-global-executor|smol|smol-[a-z]+|monoio|glommio|compio(-[a-z]+)?|tokio-uring'
# What crates use to call a C compiler, or to bind to what one built.
C_TOOLS='cc|cmake|bindgen|pkg-config|vcpkg|autotools|nasm-rs'

fail() {
    echo "deps: $*" >&2
    exit 1
}

tree() { cargo tree --locked -p spanwire -e normal,build --prefix none --format '{p}' "$@" | awk '{print $1, $2}' | sort -u; }

crates=$(tree | grep -vc '^spanwire ')
[ "$crates" -le "$CRATES_MAX" ] || fail "$crates crates below spanwire, at most $CRATES_MAX are allowed; see cargo tree -p spanwire -e normal,build"
echo "deps: $crates crates below spanwire (at most $CRATES_MAX)"

# Whatever the target: a runtime that only Windows users get is a runtime.
if found=$(tree --target all | grep -E "^($RUNTIMES) "); then
    fail "an async runtime below spanwire: $found"
fi
echo "deps: no async runtime (futures-executor is opentelemetry_sdk's; spanwire does not run on it)"

if found=$(tree | grep -E "^($C_TOOLS) |^[a-z0-9_-]+-sys "); then
    fail "something that wants a C compiler or a C library: $found"
fi
# The proof of the line above, in a directory of its own so that nothing built before can help.
CC=/bin/false CXX=/bin/false CARGO_TARGET_DIR="${DEPS_TARGET_DIR:-target/deps}" cargo build --locked -q -p spanwire
echo "deps: builds with CC=/bin/false"

# Why a crate is there stands in a comment above its line, or above the first of the lines that it covers.
ci/deps_reasons.py runtime/Cargo.toml exporter/Cargo.toml bench/Cargo.toml loom-tests/Cargo.toml $(ls fuzz/Cargo.toml 2>/dev/null)
