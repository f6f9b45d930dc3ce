# SIGHUP: a new configuration for new connections, while what runs goes on; a bad one changes nothing.
# e2e: cross=all
. "$E2E_LIB/gate.sh"
works - "$E2E_DOCKGATE" certs certs
works - "$E2E_DOCKGATE" certs other
gate g < <(tls_listener tls "$PORT")
over_tls "$PORT" certs d run -i --rm busybox sh -c 'cat; echo tail' > stream 2>&1 < <(echo one; while [ ! -e go ]; do sleep 0.1; done; echo two) &
stream=$!
eventually grep -q one stream
# a server certificate of another authority, and who it has signed
sed -i 's|certs/|other/|' g.toml
kill -HUP "$gate"
ping() { over_tls "$PORT" "$1" d version --format '{{.Server.Os}}'; }
eventually ping other
fails 'x509|tls' ping certs
# a bad file: said, and nothing else
echo 'nonsense = 1' >> g.toml
kill -HUP "$gate"
eventually grep -q nonsense g.err
works linux ping other
sed -i '$d' g.toml
kill -HUP "$gate"
touch go
wait "$stream"
works 'one
two
tail' cat stream
works linux ping other
works - kill -0 "$gate"
