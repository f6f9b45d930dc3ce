#!/usr/bin/env bash
# Real clients in containers behind a transparent cache, on real engines.
#
#   run.sh quick|all [proof.py's options]...
#
# DOCKGATE=path of the binary (default: target/release/dockgate of this repository). See README.md.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
tier=${1:-}
case $tier in quick | all) shift ;; *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;; esac
packages=(openssl python3)
command -v debootstrap > /dev/null || packages+=(debootstrap)
command -v git > /dev/null || packages+=(git)
command -v go > /dev/null || packages+=(golang-go)
install_packages "${packages[@]}"

unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
export LC_ALL=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1
names=(debian get)
[ "$tier" = quick ] || names+=(clients)
"$here/images.py" "${names[@]}" > /dev/null || true # proof.py says why there is none

work=$(mktemp -d "${TMPDIR:-/tmp}/dgtr.XXXXXX")
pids=()
finish() {
    trap '' INT TERM
    [ ${#pids[@]} -eq 0 ] || kill -TERM "${pids[@]}" 2> /dev/null || true
    wait || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

engines=(28 20.10)
for engine in "${engines[@]}"; do
    "$here/proof.py" "$tier" --engine "$engine" "$@" > "$work/$engine" 2>&1 &
    pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
pids=()
for engine in "${engines[@]}"; do
    echo "engine $engine"
    cat "$work/$engine"
done
exit $failed
