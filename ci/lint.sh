#!/usr/bin/env bash
# Formatting, clippy and rustdoc, each without a warning.
#
# clippy also holds the stated rust-version (clippy::incompatible_msrv). The benchmark's rivals are a feature
# that plain builds never see, so it gets a pass of its own when the feature exists: LINT_RIVALS=0 skips it.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all -- --check
cargo clippy --locked --workspace --all-targets -- -D warnings
if [ "${LINT_RIVALS:-1}" = 1 ] && grep -q '^rivals *=' bench/Cargo.toml; then
    cargo clippy --locked -p spanwire-bench --all-targets --features rivals -- -D warnings
fi
# The libraries as users build them: the workspace above switches on what tests need of the inside.
cargo clippy --locked -p spanwire-runtime -- -D warnings
cargo clippy --locked -p spanwire -- -D warnings
# Each adapter by itself.
cargo clippy --locked -p spanwire-runtime --features futures-io -- -D warnings
cargo clippy --locked -p spanwire-runtime --features hyper -- -D warnings
cargo clippy --locked -p spanwire-runtime --features tokio-io -- -D warnings
cargo clippy --locked -p spanwire --features grpc -- -D warnings
cargo clippy --locked -p spanwire --features tls -- -D warnings
# Without its doors the exporter must compile too.
cargo clippy --locked -p spanwire --no-default-features -- -D warnings
export RUSTDOCFLAGS="-D warnings"
cargo doc --locked --workspace --no-deps --document-private-items
cargo doc --locked -p spanwire-runtime --no-deps --document-private-items --features futures-io,hyper,tokio-io
# Rows of the list that no longer match would only be found when a sample has them.
ci/mutations.sh --check
echo "lint: clean"
