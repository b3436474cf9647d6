# An authority, and a certificate for either end. Sourced by ci/interop.sh.

make_certificates() {
    (
        cd "$scratch"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=interop authority" \
            -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem
        sign server serverAuth "DNS:localhost,IP:127.0.0.1"
        sign client clientAuth "DNS:client"
        # For servers that want both in one file.
        cat server.pem server.key >server.both
    ) >"$scratch/openssl.log" 2>&1 || {
        cat "$scratch/openssl.log" >&2
        fail "no certificates"
    }
}

# sign NAME USAGE NAMES
sign() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
    printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=%s\n' "$2" "$3" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.pem"
}
