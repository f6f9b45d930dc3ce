# shellcheck shell=bash
# Sourced by the scripts of conservative/ and faults/, which judge by themselves: exit 0 is good.
# Each check prints one line; a failed one shows what was got and makes the script end with 1.
set -uo pipefail

failures=0
trap '[ "$failures" = 0 ] || exit 1' EXIT
d() { timeout -k 2 "${T:-120}" "$DOCKER" "$@"; }
bad() {
    failures=$((failures + 1))
    echo "not ok: $1"
    sed 's/^/    /' "$E2E_TMP/.out" "$E2E_TMP/.err"
}

# works EXPECTED COMMAND...: exit 0, and the whole stdout is EXPECTED ("-": whatever)
works() {
    local want=$1 rc=0
    shift
    "$@" > "$E2E_TMP/.out" 2> "$E2E_TMP/.err" || rc=$?
    if [ "$rc" != 0 ]; then
        bad "status $rc: $*"
    elif [ "$want" != - ] && [ "$(cat "$E2E_TMP/.out")" != "$want" ]; then
        bad "not '$want': $*"
    else
        echo "ok: $*"
    fi
}

# refused COMMAND...: exit other than 0, and a message of dockgate's on stderr
refused() {
    local rc=0
    "$@" > "$E2E_TMP/.out" 2> "$E2E_TMP/.err" || rc=$?
    if [ "$rc" = 0 ]; then
        bad "was not refused: $*"
    elif [ "$rc" = 124 ] || [ "$rc" = 137 ]; then
        bad "hung: $*"
    elif ! grep -q 'dockgate: ' "$E2E_TMP/.err"; then
        bad "refused, but not with a message of dockgate's: $*"
    else
        echo "ok: refused: $*"
    fi
}

# fails REGEX COMMAND...: exit other than 0, stderr or stdout matches
fails() {
    local re=$1 rc=0
    shift
    "$@" > "$E2E_TMP/.out" 2> "$E2E_TMP/.err" || rc=$?
    if [ "$rc" = 0 ]; then
        bad "did not fail: $*"
    elif ! grep -qE -- "$re" "$E2E_TMP/.err" "$E2E_TMP/.out"; then
        bad "failed, but not with /$re/: $*"
    else
        echo "ok: fails: $*"
    fi
}

# eventually COMMAND...: succeeds; only what never comes takes the two minutes
eventually() {
    local end=$((SECONDS + 120))
    until "$@" > "$E2E_TMP/.out" 2> "$E2E_TMP/.err"; do
        ((SECONDS < end)) || { bad "never: $*"; return; }
        sleep 0.1
    done
    echo "ok: $*"
}
cd "$E2E_TMP" || exit 1
