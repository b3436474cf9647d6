#!/usr/bin/env bash
# What others decode is what was sent, field by field, over both drivers: spans, log records and metrics, by an
# OpenTelemetry Collector, and by Google's protobuf in Python (upb, which reads 100 nested messages and no more).
#
# The Collector is $OTELCOL_BIN (it needs the otlp receiver and the file exporter) or, where Go is installed, one
# built by the collector's own builder through the Go module proxy with checksums on: two minutes the first time,
# kept in ${XDG_CACHE_HOME:-~/.cache}/spanwire. Python needs its venv module and the package index, once. What is
# missing is named and passed over, but fails under CI.
#
# SPANWIRE_INTEROP_PORT moves the port. Every wait has a limit; children are gone when this ends.
set -euo pipefail
cd "$(dirname "$0")/.."

# The newest one whose modules the proxy has complete.
VERSION=0.145.0
PORT="${SPANWIRE_INTEROP_PORT:-14318}"
BUILD_LIMIT=10m
READY_LIMIT_S=20
SEND_LIMIT=90s
STOP_LIMIT_S=20
PIP_LIMIT=3m
# The newest of both on 2026-11-21.
PYTHON_PACKAGES=(opentelemetry-proto==1.45.2 protobuf==7.36.2)

scratch=$(mktemp -d)
collector=
cleanup() {
    # The collector first, so that nothing writes below what is removed.
    if [ -n "$collector" ]; then kill -KILL "$collector" 2>/dev/null || true; fi
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "interop: $*" >&2
    exit 1
}

# skip WHAT: it cannot run here.
skip() {
    echo "interop: not run: $*"
    [ -z "${CI:-}" ] || exit 1
}

# Sets $otelcol, or leaves it empty.
obtain() {
    otelcol="${OTELCOL_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/spanwire/otelcol-$VERSION}"
    [ -x "$otelcol" ] && return
    [ -z "${OTELCOL_BIN:-}" ] || fail "OTELCOL_BIN is $OTELCOL_BIN, which is not an executable file"
    if ! command -v go >/dev/null; then
        skip "no Collector, because OTELCOL_BIN is not set and Go is not installed"
        otelcol=
        return
    fi
    echo "interop: building OpenTelemetry Collector $VERSION with $(go version)"
    build >"$scratch/build.log" 2>&1 || {
        tail -n 40 "$scratch/build.log" >&2
        fail "the Collector does not build"
    }
}

build() {
    cat >"$scratch/manifest.yaml" <<EOF
dist:
  name: otelcol
  version: $VERSION
  output_path: $scratch/otelcol
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v$VERSION
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v$VERSION
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter v$VERSION
EOF
    GOBIN="$scratch" timeout "$BUILD_LIMIT" go install "go.opentelemetry.io/collector/cmd/builder@v$VERSION"
    timeout "$BUILD_LIMIT" "$scratch/builder" --config "$scratch/manifest.yaml"
    mkdir -p "$(dirname "$otelcol")"
    # Moved into place in one step: two runs may build at once.
    cp "$scratch/otelcol/otelcol" "$otelcol.$$"
    mv "$otelcol.$$" "$otelcol"
}

# start NAME: a Collector that writes what it receives to $scratch/NAME.received.
start() {
    cat >"$scratch/config.yaml" <<EOF
receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:$PORT
exporters:
  file:
    path: $scratch/$1.received
    flush_interval: 100ms
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [file]
    logs:
      receivers: [otlp]
      exporters: [file]
    metrics:
      receivers: [otlp]
      exporters: [file]
EOF
    "$otelcol" --config "$scratch/config.yaml" >"$scratch/$1.log" 2>&1 &
    collector=$!
    # The notice of a killed job would only look like a failure.
    disown "$collector"
    local polls=$((READY_LIMIT_S * 10))
    until grep -q "Everything is ready" "$scratch/$1.log"; do
        kill -0 "$collector" 2>/dev/null && [ $((polls -= 1)) -gt 0 ] || {
            cat "$scratch/$1.log" >&2
            fail "the Collector is not ready on port $PORT"
        }
        sleep 0.1
    done
}

# Ends the Collector in good order: it writes what it holds.
stop() {
    kill -TERM "$collector"
    local polls=$((STOP_LIMIT_S * 10))
    while kill -0 "$collector" 2>/dev/null; do
        [ $((polls -= 1)) -gt 0 ] || fail "the Collector did not end within $STOP_LIMIT_S s"
        sleep 0.1
    done
    collector=
}

# Sets $python to one that has the packages, or leaves it empty.
obtain_python() {
    local venv="${XDG_CACHE_HOME:-$HOME/.cache}/spanwire/upb-${PYTHON_PACKAGES[0]#*==}"
    python="$venv/bin/python"
    "$python" -c 'import opentelemetry.proto.trace.v1.trace_pb2' 2>/dev/null && return
    echo "interop: installing ${PYTHON_PACKAGES[*]}"
    rm -rf "$venv"
    { python3 -m venv "$venv" && timeout "$PIP_LIMIT" "$venv/bin/pip" install --quiet "${PYTHON_PACKAGES[@]}"; } \
        >"$scratch/pip.log" 2>&1 && return
    tail -n 20 "$scratch/pip.log" >&2
    skip "no protobuf in Python, because it cannot be installed"
    python=
}

# check DRIVER
check() {
    [ -z "$otelcol" ] || check_collector "$1"
    [ -z "$python" ] || check_upb "$1"
}

check_upb() {
    SPANWIRE_IO=$1 timeout --kill-after=5s "$SEND_LIMIT" \
        "$python" ci/interop_upb.py "$scratch/$1.upb" "$sender" '{}' "$scratch/$1.sent" ||
        fail "upb does not decode what was sent over $1"
    echo "interop: upb, $1: $(ci/interop_compare.py "$scratch/$1.sent" "$scratch/$1.upb")"
}

check_collector() {
    start "$1"
    SPANWIRE_IO=$1 timeout --kill-after=5s "$SEND_LIMIT" \
        "$sender" "http://127.0.0.1:$PORT" "$scratch/$1.sent" || {
        tail -n 20 "$scratch/$1.log" >&2
        fail "the sender failed over $1"
    }
    stop
    echo "interop: Collector, $1: $(ci/interop_compare.py "$scratch/$1.sent" "$scratch/$1.received")"
}

obtain
[ -z "$otelcol" ] || echo "interop: $("$otelcol" --version)"
obtain_python
cargo build --locked -p spanwire --example interop_send
sender="${CARGO_TARGET_DIR:-target}/debug/examples/interop_send"

check epoll
if ci/has_uring.py; then
    check uring
else
    echo "interop: io_uring is not available here, so only epoll was tried"
fi
