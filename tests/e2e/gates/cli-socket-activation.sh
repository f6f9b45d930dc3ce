# Sockets that the service manager opened: unix by its name, and TLS on an inherited port.
# e2e: cross=all
. "$E2E_LIB/gate.sh"
works - "$E2E_DOCKGATE" certs certs
start() { # SOCKET NAME: with one inherited socket
    gate "$2" systemd-socket-activate -l "$1" --fdname="$2"
}
start "$PWD/plain.sock" plain < <(printf '[[listener]]\nname = "a"\nurl = "systemd:plain"\n')
export DOCKER_HOST=unix://$PWD/plain.sock
eventually d version
run() { printf abc | d run -i --rm busybox sh -c 'cat; sleep 1; echo tail'; }
works abctail run
works abctail run
start "127.0.0.1:$PORT" encrypted < <(tls_listener a "$PORT" | sed 's|^url = .*|url = "systemd:encrypted"|')
eventually over_tls "$PORT" certs d version
works abctail over_tls "$PORT" certs run
# a name that nobody passes
printf '[engine]\nurl = "unix://%s"\n[[listener]]\nname = "a"\nurl = "systemd:absent"\n' "$E2E_SOCK" > c.toml
fails 'absent' "$E2E_DOCKGATE" serve -c c.toml
