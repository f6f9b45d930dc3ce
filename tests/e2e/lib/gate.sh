# shellcheck shell=bash
# Sourced by the scripts of gates/, which start gates of their own in front of $E2E_SOCK, the engine, and judge by themselves.
# They have $PORT to $((PORT + 9)) of this machine, and their working folder for everything else.
. "$E2E_LIB/assert.sh"
. "$E2E_LIB/ports.sh"
PORT=$(free_ports $((E2E_INDEX * 10 + 100)) 10)
gates=()
trap 'for pid in "${gates[@]}"; do kill -KILL "$pid" 2> /dev/null; done; [ "$failures" = 0 ] || exit 1' EXIT

# gate NAME [COMMAND...] < <(CONFIG): serves NAME.toml, logs to NAME.err and NAME.access; $gate is its process. (Not in a pipe: that is
# another shell.)
# COMMAND starts it, as in `gate g systemd-socket-activate ...`.
gate() {
    local name=$1 i wanted
    shift
    { printf '[engine]\nurl = "%s"\n%s\n' "${ENGINE_URL:-unix://$E2E_SOCK}" "${ENGINE_KEYS:-}"; cat; } > "$name.toml"
    wanted=$(grep -c '^\[\[listener\]\]' "$name.toml")
    : > "$name.err" # it is looked at before the process has opened it
    # it must not outlive a script that is killed
    setpriv --pdeathsig KILL "$@" "$E2E_DOCKGATE" serve -c "$name.toml" > "$name.access" 2> "$name.err" < /dev/null &
    gate=$!
    gates+=("$gate")
    [ $# = 0 ] || return 0
    for ((i = 0; i < 600; i++)); do
        [ "$(grep -c 'listening on' "$name.err")" -lt "$wanted" ] || return 0
        sleep 0.1
    done
    bad "the gate does not start"
    cat "$name.err"
    exit 1
}

# a listener with TLS for clients with certificates of `dockgate certs certs`; further lines of [listener.tls] may follow
tls_listener() { # NAME PORT
    printf '[[listener]]\nname = "%s"\nurl = "tls://127.0.0.1:%s"\n%s\n[listener.tls]\n' "$1" "$2" "${3:-}"
    printf 'cert = "certs/server-cert.pem"\nkey = "certs/server-key.pem"\nclient_ca = "certs/ca.pem"\n'
}

over_tls() { # PORT CERTS COMMAND...: the docker CLI's settings for a TLS gate
    local port=$1 certs=$2
    shift 2
    DOCKER_HOST=tcp://127.0.0.1:$port DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=$certs "$@"
}

lines() { [ "$(grep -cE -- "$2" "$1")" = "$3" ]; } # FILE REGEX COUNT
