#!/usr/bin/env bash
# Everything the end-to-end tests need on a Debian machine. Says nothing and takes no time when it is all there.
#
#   setup.sh quick|all [ENGINE]...      with what these engines need, too
#
# What cannot be had and is only one engine of several is written as a line `SKIPPED engine ...` into
# $cache/skipped; run.sh repeats these lines in its summary. Everything else that is missing ends with an error.
set -euo pipefail

tier=${1:-quick}
[ $# = 0 ] || shift
here=$(cd "$(dirname "$0")" && pwd)
cache=${DOCKGATE_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dockgate-e2e}
mkdir -p "$cache"
: > "$cache/skipped"

say() { echo "e2e setup: $*" >&2; }
[ "$(id -u)" = 0 ] || { say "needs root: it starts engines in network namespaces"; exit 1; }

# Debian packages
need=()
for p in docker.io iptables iproute2 util-linux busybox-static curl docker-compose; do
    case $(dpkg-query -W -f='${Status}' "$p" 2> /dev/null) in *'ok installed') ;; *) need+=("$p") ;; esac
done
command -v node > /dev/null || need+=(nodejs)
command -v npm > /dev/null || need+=(npm)
command -v python3 > /dev/null || need+=(python3)
command -v openssl > /dev/null || need+=(openssl)
command -v git > /dev/null || need+=(git)
command -v ssh-keygen > /dev/null || need+=(openssh-client)
command -v systemd-socket-activate > /dev/null || need+=(systemd)
python3 -c 'import ensurepip, venv' 2> /dev/null || need+=(python3-venv)
if [ ${#need[@]} -gt 0 ]; then
    say "apt-get install ${need[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    # no policy of ours and no running service: the tests start their own engines
    apt-get -qq install -y --no-install-recommends "${need[@]}" > "$cache/apt.log" 2>&1 || { tail -n 20 "$cache/apt.log" >&2; exit 1; }
fi

# Python and Node clients, side by side; the stamp is the list of what was asked for
python_clients() {
    cmp -s "$here/requirements.txt" "$cache/venv/.stamp" && return
    say "Python clients"
    rm -rf "$cache/venv"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" -q --disable-pip-version-check install -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$cache/venv/.stamp"
}
node_clients() {
    cmp -s "$here/node/package-lock.json" "$cache/node/.stamp" && return
    say "Node clients"
    rm -rf "$cache/node"
    mkdir -p "$cache/node"
    cp "$here/node/package.json" "$here/node/package-lock.json" "$cache/node/"
    (cd "$cache/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null)
    cp "$here/node/package-lock.json" "$cache/node/.stamp"
}
python_clients & python=$!
node_clients & node=$!
wait "$python" || { say "the Python clients could not be installed"; exit 1; }
wait "$node" || { say "the Node clients could not be installed"; exit 1; }

# Engines
skip() { echo "SKIPPED engine $1: $2" >> "$cache/skipped"; say "SKIPPED engine $1: $2"; }

version=$(/usr/sbin/dockerd --version 2> /dev/null || true)
case $version in
    *'version 20.10.'*) ;;
    *) skip 20.10 "this machine's docker.io is ${version:-missing}" ;;
esac
if ! why=$("$here/fetch-suite.sh" forky docker.io containerd docker-cli docker-buildx docker-compose 2>&1 > /dev/null); then
    for e in 28 28-containerd 28-min1.44; do
        [ "$tier" = quick ] && [ "$e" != 28 ] || skip "$e" "$why"
    done
fi
if [[ "$tier" = all || " $* " = *' 26 '* ]] && ! why=$("$here/fetch-suite.sh" trixie docker.io containerd 2>&1 > /dev/null); then
    skip 26 "$why"
fi

# A registry for builds to push to: unpacked only, for the package starts one on the machine
if ! why=$("$here/fetch-suite.sh" "$(. /etc/os-release && echo "$VERSION_CODENAME")" docker-registry 2>&1 > /dev/null); then
    say "no registry: $why"
    exit 1
fi

# bollard: a small crate of our own, compiled only for the slow tier (and left out of quick ones by its case)
if [ "$tier" = all ]; then
    (cd "$here/bollard" && CARGO_TARGET_DIR=$cache/bollard-target cargo build -q --locked)
    ln -sf bollard-target/debug/dockgate-e2e-bollard "$cache/bollard"
fi
