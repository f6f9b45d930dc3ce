#!/usr/bin/env bash
# The caching proxy from outside: the conformance suite, cold objects, lying origins, failing disks, real clients.
#
#   run.sh quick|all [conformance|probes|modes|liars|disk|clients]...
#
# DOCKGATE=path of the binary (default: target/release/dockgate of this repository). See README.md.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tier=${1:-}
case $tier in quick | all) shift ;; *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;; esac
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(conformance probes modes liars disk clients)

export DOCKGATE=${DOCKGATE:-$here/../../target/release/dockgate}
[ -x "$DOCKGATE" ] || { echo "run.sh: no gateway at $DOCKGATE; cargo build --release, or set DOCKGATE" >&2; exit 1; }
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
export LC_ALL=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1
"$here/setup.sh" "$tier"

work=$(mktemp -d "${TMPDIR:-/tmp}/dgc.XXXXXX")
pids=()
kill_tree() {
    local child
    # shellcheck disable=SC2013
    for child in $(cat "/proc/$1"/task/*/children 2> /dev/null); do kill_tree "$child"; done
    kill -TERM "$1" 2> /dev/null || true
}
finish() {
    local pid
    trap '' INT TERM
    for pid in "${pids[@]}"; do kill_tree "$pid"; done
    wait || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

part() {
    case $1 in
        conformance) exec "$here/conformance.sh" ;;
        probes) if [ "$tier" = all ]; then exec "$here/probes.py"; else exec "$here/probes.py" --subject dockgate; fi ;;
        modes | liars | disk) exec "$here/$1.py" "$tier" ;;
        clients) exec "$here/clients.py" ;;
        *) echo "FAIL $1: no such part"; exit 2 ;;
    esac
}

# conformance waits most of its time: it runs beside the others, which take turns
others() {
    local name
    for name in "${parts[@]}"; do
        [ "$name" = conformance ] || (part "$name") > "$work/$name" 2>&1 || echo "$name" >> "$work/failed"
        [ ! -e "$work/$name" ] || [ "$name" = conformance ] || cat "$work/$name"
    done
}
if [[ " ${parts[*]} " == *' conformance '* ]]; then
    (part conformance) > "$work/conformance" 2>&1 &
    pids+=($!)
fi
others &
pids+=($!)
wait "$!"
if [[ " ${parts[*]} " == *' conformance '* ]]; then
    wait "${pids[0]}" || echo conformance >> "$work/failed"
    grep -v '^  ' "$work/conformance" || true
    ! grep -qs conformance "$work/failed" || grep '^  ' "$work/conformance" || true
fi

count() { cat "$work"/* | grep -c "^$1 " || true; }
failed=$(count FAIL)
# a part that ended badly without a line of its own
[ "$failed" -gt 0 ] || [ ! -e "$work/failed" ] || { echo "FAIL $(tr '\n' ' ' < "$work/failed")"; failed=1; }
passed=$(count ok)
cat "$work"/* | grep '^SKIPPED ' || true
echo "$passed passed, $failed failed, $(count SKIPPED) skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
