# shellcheck shell=bash
# Sourced by the shell cases of cases/: they print, run.sh compares what was printed directly and through the gateway.
set -uo pipefail

# the docker CLI under test; a hung call, which nothing else reaches the end of the time of, ends the case and not the whole run
d() { timeout -k 2 "${T:-120}" "$DOCKER" "$@"; }

# Show a command, its stdout, its stderr (each line behind "! ") and its status unless 0 (behind "= ").
t() {
    local rc=0
    printf '$'
    printf ' %s' "$@"
    echo
    "$@" > "$E2E_TMP/.out" 2> "$E2E_TMP/.err" || rc=$?
    cat "$E2E_TMP/.out"
    # (a race inside the CLI 20.10 decides whether it says this one)
    sed '/error waiting for container: context canceled/d; s/^/! /' "$E2E_TMP/.err"
    [ "$rc" = 0 ] || echo "= $rc"
}

# Run quietly; what goes wrong is shown.
q() {
    local rc=0
    "$@" > "$E2E_TMP/.out" 2>&1 || rc=$?
    [ "$rc" = 0 ] || { printf 'failed (%s): %s\n' "$rc" "$*"; cat "$E2E_TMP/.out"; }
}

# Wait until a command succeeds: only what never comes takes the two minutes.
until_ok() {
    local end=$((SECONDS + 120))
    until "$@" > /dev/null 2>&1; do
        ((SECONDS < end)) || { echo "never succeeded: $*"; return 1; }
        sleep 0.1
    done
}

# Somebody's attach to the container is so far that it misses nothing of what is written from now on: the engine says so when
# the streams are connected (moby/daemon/attach.go).
attached() { d events --since 1 --until "$(date +%s.%N)" --filter event=attach --filter "container=$1" | grep -q .; }

sum() { sha256sum | cut -d' ' -f1 | cut -c1-40; } # not 64 digits: those are normalised as ids
cd "$E2E_TMP" || exit 1
