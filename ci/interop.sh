#!/usr/bin/env bash
# What others decode is what was sent, field by field, over both drivers: spans, log records and metrics.
#
# The others are an OpenTelemetry Collector, by HTTP, gRPC and JSON, plain, compressed, and with TLS and client
# certificates; the same behind nginx and haproxy, which close connections often and are killed meanwhile; and Google's
# protobuf and gRPC in Python (upb, which reads 100 nested messages and no more).
#
# The Collector is $OTELCOL_BIN (it needs the otlp receiver and the file exporter) or, where Go is installed, one
# built by the collector's own builder through the Go module proxy with checksums on: two minutes the first time,
# kept in ${XDG_CACHE_HOME:-~/.cache}/spanwire. Python needs its venv module and the package index, once; the proxies are
# installed by apt. What is missing is named and passed over, but fails under CI.
#
# SPANWIRE_INTEROP_PORT moves the ports (six from there on). Every wait has a limit; children are gone when this ends.
set -euo pipefail
cd "$(dirname "$0")/.."

# The newest one whose modules the proxy has complete.
VERSION=0.145.0
HTTP_PORT="${SPANWIRE_INTEROP_PORT:-14318}"
GRPC_PORT=$((HTTP_PORT + 1))
HTTPS_PORT=$((HTTP_PORT + 2))
GRPCS_PORT=$((HTTP_PORT + 3))
PROXY_PORT=$((HTTP_PORT + 4))
PROXY_GRPC_PORT=$((HTTP_PORT + 5))
BUILD_LIMIT=10m
READY_LIMIT_S=20
SEND_LIMIT=90s
STOP_LIMIT_S=20
PIP_LIMIT=3m
# The newest of each on 2026-11-21.
PYTHON_PACKAGES=(opentelemetry-proto==1.45.2 protobuf==7.36.2 grpcio)

scratch=$(mktemp -d)
collector=
proxy=
cleanup() {
    # The processes first, so that nothing writes below what is removed.
    [ -z "$collector" ] || kill -KILL "$collector" 2>/dev/null || true
    for proxy in $proxy $(cat "$scratch"/*.restarted 2>/dev/null); do stop_proxy; done
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

# send NAME ENDPOINT [VARIABLE=VALUE...]: writes what it sends to $scratch/NAME.sent.
send() {
    local name=$1 endpoint=$2
    shift 2
    env SPANWIRE_IO="$driver" "$@" timeout --kill-after=5s "$SEND_LIMIT" \
        "$sender" "$endpoint" "$scratch/$name.sent" >"$scratch/$name.sender" 2>&1 || {
        tail -n 5 "$scratch/$name.sender" >&2
        return 1
    }
}

. ci/interop/certificates.sh
. ci/interop/collector.sh
. ci/interop/proxies.sh

# Sets $python to one that has the packages, or leaves it empty.
obtain_python() {
    local venv="${XDG_CACHE_HOME:-$HOME/.cache}/spanwire/upb-grpc-${PYTHON_PACKAGES[0]#*==}"
    python="$venv/bin/python"
    "$python" -c 'import grpc, opentelemetry.proto.trace.v1.trace_pb2' 2>/dev/null && return
    echo "interop: installing ${PYTHON_PACKAGES[*]}"
    rm -rf "$venv"
    { python3 -m venv "$venv" && timeout "$PIP_LIMIT" "$venv/bin/pip" install --quiet "${PYTHON_PACKAGES[@]}"; } \
        >"$scratch/pip.log" 2>&1 && return
    tail -n 20 "$scratch/pip.log" >&2
    skip "no protobuf in Python, because it cannot be installed"
    python=
}

# check_upb DRIVER PROTOCOL
check_upb() {
    env SPANWIRE_IO="$1" OTEL_EXPORTER_OTLP_PROTOCOL="$2" timeout --kill-after=5s "$SEND_LIMIT" \
        "$python" ci/interop_upb.py "$2" "$scratch/$1.upb" "$sender" '{}' "$scratch/$1.sent" ||
        fail "upb does not decode what was sent over $1 by $2"
    echo "interop: upb, $1, $2: $(ci/interop_compare.py "$scratch/$1.sent" "$scratch/$1.upb")"
}

check() {
    driver=$1
    if [ -n "$otelcol" ]; then
        check_collector "$driver"
        [ -z "$have_proxies" ] || check_proxies "$driver"
    fi
    if [ -n "$python" ]; then
        check_upb "$driver" http/protobuf
        check_upb "$driver" grpc
    fi
}

make_certificates
obtain_collector
[ -z "$otelcol" ] || echo "interop: $("$otelcol" --version)"
obtain_python
have_proxies=
if obtain_proxies; then have_proxies=yes; fi
cargo build --locked -p spanwire --features grpc,tls,zstd --example interop_send
sender="${CARGO_TARGET_DIR:-target}/debug/examples/interop_send"

check epoll
if ci/has_uring.py; then
    check uring
else
    echo "interop: io_uring is not available here, so only epoll was tried"
fi
