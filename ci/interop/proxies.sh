# nginx and haproxy before a Collector, with limits on kept connections, and restarted meanwhile; nghttpd as a server that is
# no collector. Sourced by ci/interop.sh.

# Requests small enough that there are many: limits on connections are met often.
MANY=(OTEL_BSP_MAX_EXPORT_BATCH_SIZE=64 OTEL_BLRP_MAX_EXPORT_BATCH_SIZE=8)

obtain_proxies() {
    local missing=()
    command -v nginx >/dev/null || missing+=(nginx-light)
    command -v haproxy >/dev/null || missing+=(haproxy)
    command -v nghttpd >/dev/null || missing+=(nghttp2-server)
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "interop: installing ${missing[*]}"
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    { "${root[@]}" apt-get update -q && "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$scratch/apt.log" 2>&1 && return
    tail -n 20 "$scratch/apt.log" >&2
    skip "no proxies: ${missing[*]} cannot be installed"
    return 1
}

# started NAME PORT PID: waits until something listens there.
started() {
    local polls=$((READY_LIMIT_S * 10))
    until (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; do
        kill -0 "$3" 2>/dev/null && [ $((polls -= 1)) -gt 0 ] || {
            cat "$scratch/$1.log" >&2
            fail "$1 does not listen on port $2"
        }
        sleep 0.1
    done
}

stop_proxy() {
    # Its whole session: workers must not outlive their master on its port.
    kill -KILL -- "-$proxy" 2>/dev/null || true
    proxy=
}

# keepalive_requests closes a connection (GOAWAY in HTTP/2) after a few requests.
start_nginx() {
    mkdir -p "$scratch/nginx"
    cat >"$scratch/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $scratch/nginx/pid;
error_log $scratch/nginx/error.log;
events { worker_connections 256; }
http {
    access_log off;
    client_max_body_size 8m;
    client_body_buffer_size 8m;
    client_body_temp_path $scratch/nginx/body;
    proxy_temp_path $scratch/nginx/proxy;
    fastcgi_temp_path $scratch/nginx/fastcgi;
    uwsgi_temp_path $scratch/nginx/uwsgi;
    scgi_temp_path $scratch/nginx/scgi;
    keepalive_requests 5;
    server {
        listen 127.0.0.1:$PROXY_PORT;
        location / { proxy_pass http://127.0.0.1:$HTTP_PORT; proxy_http_version 1.1; }
    }
    server {
        listen 127.0.0.1:$PROXY_GRPC_PORT http2;
        location / { grpc_pass grpc://127.0.0.1:$GRPC_PORT; }
    }
}
CONF
    setsid nginx -p "$scratch/nginx" -e "$scratch/nginx/error.log" -c "$scratch/nginx.conf" >"$scratch/nginx.log" 2>&1 &
    proxy=$!
    disown "$proxy"
    started nginx "$PROXY_PORT" "$proxy"
}

start_haproxy() {
    cat >"$scratch/haproxy.cfg" <<CONF
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 20s
    timeout http-keep-alive 50ms
frontend http
    bind 127.0.0.1:$PROXY_PORT
    default_backend http
backend http
    server collector 127.0.0.1:$HTTP_PORT
frontend grpc
    bind 127.0.0.1:$PROXY_GRPC_PORT proto h2
    default_backend grpc
backend grpc
    server collector 127.0.0.1:$GRPC_PORT proto h2
CONF
    setsid haproxy -db -f "$scratch/haproxy.cfg" >"$scratch/haproxy.log" 2>&1 &
    proxy=$!
    disown "$proxy"
    started haproxy "$PROXY_PORT" "$proxy"
}

# through PROXY DRIVER TRANSPORT PORT: as `way`, and the proxy is killed and started again while requests are under way.
through() {
    local name=$2-$1-${3%%/*}
    start_collector "$name"
    "start_$1"
    (
        sleep 0.3
        stop_proxy
        "start_$1"
        echo "$proxy" >"$scratch/$name.restarted"
    ) &
    local restart=$!
    local sent=0
    send "$name" "http://127.0.0.1:$4" "OTEL_EXPORTER_OTLP_PROTOCOL=$3" "${MANY[@]}" || sent=$?
    wait "$restart"
    [ "$sent" = 0 ] || {
        tail -n 5 "$scratch/$1.log" "$scratch/$name.log" >&2
        fail "the sender failed: $name"
    }
    proxy=$(cat "$scratch/$name.restarted")
    stop_proxy
    stop_collector
    # A request whose answer the restart has cut was sent again: that is what OTLP wants.
    echo "interop: $1, $name: $(ci/interop_compare.py --duplicates "$scratch/$name.sent" "$scratch/$name.received")"
}

# start_nghttpd ARGUMENT...: windows of 1 KiB, so that every request waits for more of them many times.
start_nghttpd() {
    mkdir -p "$scratch/empty"
    setsid nghttpd --address=127.0.0.1 --htdocs="$scratch/empty" --window-bits=10 --connection-window-bits=16 "$@" >"$scratch/nghttpd.log" 2>&1 &
    proxy=$!
    disown "$proxy"
    started nghttpd "$PROXY_GRPC_PORT" "$proxy"
}

# What it echoes is no answer that a collector gives, but one of gRPC: everything counts as delivered, over clear text and TLS.
# Without the trailer it is no gRPC at all, and everything has to be counted as refused.
check_nghttpd() {
    local name=$1-nghttpd gone=(--echo-upload --trailer "grpc-status: 0")
    start_nghttpd --no-tls "${gone[@]}" "$PROXY_GRPC_PORT"
    send "$name" "http://127.0.0.1:$PROXY_GRPC_PORT" OTEL_EXPORTER_OTLP_PROTOCOL=grpc || fail "the sender failed: $name"
    stop_proxy
    start_nghttpd "${gone[@]}" "$PROXY_GRPC_PORT" "$scratch/server.key" "$scratch/server.pem"
    send "$name-tls" "https://localhost:$PROXY_GRPC_PORT" OTEL_EXPORTER_OTLP_PROTOCOL=grpc \
        "OTEL_EXPORTER_OTLP_CERTIFICATE=$scratch/ca.pem" || fail "the sender failed: $name-tls"
    stop_proxy
    start_nghttpd --no-tls "$PROXY_GRPC_PORT"
    if send "$name-404" "http://127.0.0.1:$PROXY_GRPC_PORT" OTEL_EXPORTER_OTLP_PROTOCOL=grpc 2>/dev/null; then
        fail "a server that is no collector was believed"
    fi
    grep -q "UNIMPLEMENTED" "$scratch/$name-404.sender" || fail "nghttpd's 404 is not said to be UNIMPLEMENTED"
    stop_proxy
    echo "interop: nghttpd, $1: everything taken through windows of 1 KiB, with and without TLS; its 404 refused"
}

# check_proxies DRIVER
check_proxies() {
    local proxy_name
    for proxy_name in nginx haproxy; do
        through "$proxy_name" "$1" http/protobuf "$PROXY_PORT"
        through "$proxy_name" "$1" grpc "$PROXY_GRPC_PORT"
    done
    check_nghttpd "$1"
}
