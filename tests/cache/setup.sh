#!/usr/bin/env bash
# What the tests of the caching proxy need beyond tests/e2e/setup.sh. Says nothing and takes no time when it is all there.
#
#   setup.sh quick|all|bench
#
# quick: the conformance suite of npm. bench: Debian's nginx, squid and wrk. all: both.
set -euo pipefail

tier=${1:-quick}
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
cache=${DOCKGATE_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dockgate-e2e}
mkdir -p "$cache"

packages=(openssl python3 util-linux e2fsprogs)
if [ "$tier" != bench ]; then
    command -v node > /dev/null || packages+=(nodejs)
    command -v npm > /dev/null || packages+=(npm)
fi
if [ "$tier" != quick ]; then
    command -v nginx > /dev/null || packages+=(nginx-light)
    packages+=(squid wrk)
fi
install_packages "${packages[@]}"

if [ "$tier" != bench ] && ! cmp -s "$here/suite/package-lock.json" "$cache/cache-suite/.stamp"; then
    say "the HTTP caching conformance suite"
    rm -rf "$cache/cache-suite"
    mkdir -p "$cache/cache-suite"
    cp "$here/suite/package.json" "$here/suite/package-lock.json" "$cache/cache-suite/"
    (cd "$cache/cache-suite" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null)
    cp "$here/suite/package-lock.json" "$cache/cache-suite/.stamp"
fi
