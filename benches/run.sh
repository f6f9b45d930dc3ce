#!/bin/sh
# make bench: builds the gateway and its benchmark, installs HAProxy, nginx, squid and wrk if they are
# missing, and prints the tables. Arguments are --quick and --only NAME (`--only cache`: the second
# table only). Nothing of it needs a network but the installation.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
DOCKGATE=${DOCKGATE:-$here/../target/release/dockgate}

HAPROXY=$(command -v haproxy || echo /usr/sbin/haproxy)
if [ ! -x "$HAPROXY" ]; then
    apt-get install -y -qq --no-install-recommends haproxy >&2 ||
        { apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends haproxy >&2; } ||
        echo "bench: haproxy could not be installed; its column stays empty" >&2
    service haproxy stop >/dev/null 2>&1 || true
fi

[ -n "${BENCH_NO_BUILD:-}" ] || cargo build --release --locked --manifest-path "$here/../Cargo.toml" >&2
CARGO_TARGET_DIR=$here/target cargo build --release --locked --manifest-path "$here/Cargo.toml" >&2

TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/dockgate-bench.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM
chmod 755 "$TMPDIR" # squid changes its user
status=0
case " $*" in
    *' --only cache'*) ;;
    *) "$here/target/release/bench" run --dockgate "$DOCKGATE" --haproxy "$HAPROXY" "$@" || status=$? ;;
esac
case " $*" in
    *' --only '[!c]* | *' --only c'[!a]*) ;;
    *)
        "$here/../tests/cache/setup.sh" bench || true # what is missing becomes a note
        echo
        DOCKGATE=$DOCKGATE "$here/cache.py" "$@" || status=$?
        ;;
esac
exit "$status"
