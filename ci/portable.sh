#!/usr/bin/env bash
# The libraries without what only Linux has: tested here, and compiled for the systems of other people's laptops.
#
# `--cfg spanwire_portable` makes Linux take the portable twins (runtime/src/sys), so that they are run and not only
# compiled. For the other systems clippy checks the libraries; nothing is linked, so no linker of theirs is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

TARGETS=(x86_64-pc-windows-gnu aarch64-apple-darwin aarch64-unknown-linux-gnu)
PACKAGES=(-p spanwire-runtime -p spanwire)
ADAPTERS=(--features spanwire-runtime/futures-io,spanwire-runtime/hyper,spanwire-runtime/tokio-io)

# Neither cfg nor target shares its artifacts with plain builds.
export CARGO_TARGET_DIR="${PORTABLE_TARGET_DIR:-target/portable}"

installed=$(rustup target list --installed)
for target in "${TARGETS[@]}"; do
    grep -qx "$target" <<<"$installed" || rustup target add "$target"
    cargo clippy --locked "${PACKAGES[@]}" "${ADAPTERS[@]}" --target "$target" -- -D warnings
    echo "portable: compiles for $target"
done

export RUSTFLAGS="--cfg spanwire_portable ${RUSTFLAGS:-}"
export RUSTDOCFLAGS="--cfg spanwire_portable ${RUSTDOCFLAGS:-}"
# One by one: the tests of the exporter open the runtime's `internals`, of which a build without a ring uses less.
for package in spanwire-runtime spanwire; do
    cargo clippy --locked --no-deps -p "$package" --all-targets -- -D warnings
done
report=$(mktemp)
trap 'rm -f "$report"' EXIT
cargo test --locked "${PACKAGES[@]}" 2>&1 | tee "$report"
# A cfg that does not reach the crates would test the plain build once more.
grep -q '^test auto_takes_the_poller_and_says_why ... ok' "$report" ||
    { echo "portable: the portable build was not tested" >&2; exit 1; }
echo "portable: tested"
