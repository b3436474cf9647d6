#!/usr/bin/env bash
# Writes docs/CONFORMANCE.md: every OTLP rule with the tests that show it, which are run for it. `--check` writes
# nothing, and fails if the page in the tree is another one; so does CI.
#
# ci/conformance/rules.toml says which test shows what, and ci/conformance/matrix.toml how the rows of OpenTelemetry's own compliance
# matrix are answered. A test that does not exist or does not pass is a failure; a rule without a test is shown as such.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${CI:-}" ]; then set -- --check "$@"; fi
exec python3 ci/conformance.py "$@"
