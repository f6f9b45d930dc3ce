#!/usr/bin/env bash
# A root certificate put into containers of real engines, and taken out again: engines 28 and 20.10, no registry.
#
#   install.sh            needs root; INSTALL_INDEX, INSTALL_INDEX + 1: the engines' indexes (see tests/e2e/engine.sh)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scripts/lib.sh"
cd "$root"
need_cargo

index=${INSTALL_INDEX:-150}
cache=${DOCKGATE_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dockgate-e2e}
export DOCKGATE_E2E_CACHE=$cache
tests/e2e/setup.sh quick 28 20.10
work=$(mktemp -d "${TMPDIR:-/tmp}/dgi.XXXXXX")
ended() {
    for i in "${started[@]}"; do tests/e2e/engine.sh down "dgi$i" "$work/$i" "$i" || true; done
    rm -rf "$work"
}
started=()
trap ended EXIT

cargo test --lib --no-run
for engine in "28 $cache/suite-forky/bin" "20.10 -"; do
    read -r name bin <<< "$engine"
    i=$((index + ${#started[@]}))
    started+=("$i")
    ENGINE_MEMORY=1 tests/e2e/engine.sh up "dgi$i" "$work/$i" "$i" "$bin"
    echo "== engine $name"
    env DOCKGATE_REAL_ENGINE="$work/$i/docker.sock" DOCKER="$cache/suite-forky/usr/bin/docker" \
        cargo test --lib -- --ignored --test-threads 1 on_engine::
done
