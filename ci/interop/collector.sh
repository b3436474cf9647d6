# An OpenTelemetry Collector: built once, started anew for each way. Sourced by ci/interop.sh.

# Sets $otelcol, or leaves it empty.
obtain_collector() {
    otelcol="${OTELCOL_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/spanwire/otelcol-$VERSION}"
    [ -x "$otelcol" ] && return
    [ -z "${OTELCOL_BIN:-}" ] || fail "OTELCOL_BIN is $OTELCOL_BIN, which is not an executable file"
    if ! command -v go >/dev/null; then
        skip "no Collector, because OTELCOL_BIN is not set and Go is not installed"
        otelcol=
        return
    fi
    echo "interop: building OpenTelemetry Collector $VERSION with $(go version)"
    build_collector >"$scratch/build.log" 2>&1 || {
        tail -n 40 "$scratch/build.log" >&2
        fail "the Collector does not build"
    }
}

build_collector() {
    cat >"$scratch/manifest.yaml" <<YAML
dist:
  name: otelcol
  version: $VERSION
  output_path: $scratch/otelcol
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v$VERSION
exporters:
  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v$VERSION
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter v$VERSION
YAML
    GOBIN="$scratch" timeout "$BUILD_LIMIT" go install "go.opentelemetry.io/collector/cmd/builder@v$VERSION"
    timeout "$BUILD_LIMIT" "$scratch/builder" --config "$scratch/manifest.yaml"
    mkdir -p "$(dirname "$otelcol")"
    # Moved into place in one step: two runs may build at once.
    cp "$scratch/otelcol/otelcol" "$otelcol.$$"
    mv "$otelcol.$$" "$otelcol"
}

# start_collector NAME: one that writes what it receives to $scratch/NAME.received, over HTTP, gRPC, and both with TLS and
# client certificates.
start_collector() {
    cat >"$scratch/config.yaml" <<YAML
receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:$HTTP_PORT
      grpc:
        endpoint: 127.0.0.1:$GRPC_PORT
  otlp/tls:
    protocols:
      http:
        endpoint: 127.0.0.1:$HTTPS_PORT
        tls: &tls
          cert_file: $scratch/server.pem
          key_file: $scratch/server.key
          client_ca_file: $scratch/ca.pem
      grpc:
        endpoint: 127.0.0.1:$GRPCS_PORT
        tls: *tls
exporters:
  file:
    path: $scratch/$1.received
    flush_interval: 100ms
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    traces: &pipeline
      receivers: [otlp, otlp/tls]
      exporters: [file]
    logs: *pipeline
    metrics: *pipeline
YAML
    "$otelcol" --config "$scratch/config.yaml" >"$scratch/$1.log" 2>&1 &
    collector=$!
    # The notice of a killed job would only look like a failure.
    disown "$collector"
    local polls=$((READY_LIMIT_S * 10))
    until grep -qs "Everything is ready" "$scratch/$1.log"; do
        kill -0 "$collector" 2>/dev/null && [ $((polls -= 1)) -gt 0 ] || {
            cat "$scratch/$1.log" >&2
            fail "the Collector is not ready on port $HTTP_PORT and the three after it"
        }
        sleep 0.1
    done
}

# Ends the Collector in good order: it writes what it holds.
stop_collector() {
    kill -TERM "$collector"
    local polls=$((STOP_LIMIT_S * 10))
    while kill -0 "$collector" 2>/dev/null; do
        [ $((polls -= 1)) -gt 0 ] || fail "the Collector did not end within $STOP_LIMIT_S s"
        sleep 0.1
    done
    collector=
}

# way NAME ENDPOINT [VARIABLE=VALUE...]: sends everything that way, and compares it field by field.
way() {
    local name=$1 endpoint=$2
    shift 2
    start_collector "$name"
    send "$name" "$endpoint" "$@" || {
        tail -n 20 "$scratch/$name.log" >&2
        fail "the sender failed: $name"
    }
    stop_collector
    echo "interop: Collector, $name: $(ci/interop_compare.py "$scratch/$name.sent" "$scratch/$name.received")"
}

# check_collector DRIVER: every transport, coding and kind of connection.
check_collector() {
    local http=http://127.0.0.1:$HTTP_PORT grpc=http://127.0.0.1:$GRPC_PORT
    way "$1-http" "$http" OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
    way "$1-http-gzip" "$http" OTEL_EXPORTER_OTLP_COMPRESSION=gzip
    way "$1-http-zstd" "$http" OTEL_EXPORTER_OTLP_COMPRESSION=zstd
    way "$1-http-json" "$http" OTEL_EXPORTER_OTLP_PROTOCOL=http/json
    way "$1-http-json-gzip" "$http" OTEL_EXPORTER_OTLP_PROTOCOL=http/json OTEL_EXPORTER_OTLP_COMPRESSION=gzip
    way "$1-grpc" "$grpc" OTEL_EXPORTER_OTLP_PROTOCOL=grpc
    way "$1-grpc-gzip" "$grpc" OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_COMPRESSION=gzip
    way "$1-grpc-zstd" "$grpc" OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_COMPRESSION=zstd
    local tls=(
        OTEL_EXPORTER_OTLP_CERTIFICATE="$scratch/ca.pem"
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE="$scratch/client.pem"
        OTEL_EXPORTER_OTLP_CLIENT_KEY="$scratch/client.key"
    )
    way "$1-https-mtls" "https://localhost:$HTTPS_PORT" "${tls[@]}"
    way "$1-https-mtls-zstd" "https://localhost:$HTTPS_PORT" "${tls[@]}" OTEL_EXPORTER_OTLP_COMPRESSION=zstd
    way "$1-grpc-mtls" "https://localhost:$GRPCS_PORT" "${tls[@]}" OTEL_EXPORTER_OTLP_PROTOCOL=grpc
}
