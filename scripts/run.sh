#!/usr/bin/env bash
# `make run`: dockgate in front of an engine, shown at work, in the foreground until Ctrl-C.
#
#   run.sh                 ENGINE=URL     the engine to use; otherwise DOCKER_HOST, otherwise /var/run/docker.sock,
#                                         otherwise a private one is installed and started for this run
#                          DOCKGATE=FILE  a gateway that is built already
#
# All that is started or made here is ended and removed again, whatever happens: see `finish`.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
e2e=$root/tests/e2e

state='' home='' engine='' private='' demo='' image='' busy='' gateway='' tail='' stopped_by='' ready='' forward=''

# ---- the end ----

gone() { # PID TENTHS: waits for a child of ours to end
    local i
    for ((i = 0; i < $2; i++)); do
        kill -0 "$1" 2> /dev/null || return 0
        sleep 0.1
    done
    return 1
}

finish() {
    local rc=$?
    set +e
    trap '' INT TERM HUP PIPE
    trap - EXIT
    if [ -n "$busy" ] && kill -0 "$busy" 2> /dev/null; then
        kill -TERM -- "-$busy"
        gone "$busy" 50 || kill -KILL -- "-$busy"
    fi 2> /dev/null
    [ -z "$ready" ] || say "removing what was started"
    if [ -n "$tail" ]; then kill "$tail"; wait "$tail"; fi 2> /dev/null
    if [ -n "$engine" ] && [ -z "$private" ]; then # a private engine goes with all it has
        [ -z "$demo" ] || DOCKER_HOST=$engine timeout 30 docker rm -f "$demo"
        [ -z "$image" ] || DOCKER_HOST=$engine timeout 30 docker rmi -f "$image"
    fi > /dev/null 2>&1
    if [ -n "$gateway" ]; then
        kill -TERM "$gateway"
        if ! gone "$gateway" 20; then
            kill -TERM "$gateway" # the second one does not wait for open streams
            gone "$gateway" 30 || kill -KILL "$gateway"
        fi
        wait "$gateway"
    fi 2> /dev/null
    if [ -n "$private" ]; then
        # shellcheck disable=SC2086
        "$e2e/engine.sh" down $private
        [ "$forward" != 0 ] || ip link show | grep -qE ' (docker0|dgev[0-9]+)[:@]' || sysctl -qw net.ipv4.ip_forward=0
    fi
    [ -z "$home" ] || rm -rf --one-file-system "$home"
    [ -z "$state" ] || rm -rf "$state"
    [ -z "$stopped_by" ] || [ -z "$ready" ] || rc=0
    exit "$rc"
}
trap finish EXIT
trap 'stopped_by=INT; exit 130' INT
trap 'stopped_by=TERM; exit 143' TERM
trap 'stopped_by=HUP; exit 129' HUP
trap 'exit 141' PIPE

# Runs a command that may take long. Signals reach us at once, because `wait` can be interrupted and a
# foreground command cannot; the command has a session of its own, so that Ctrl-C reaches only us.
run() {
    local rc=0
    setsid "$@" &
    busy=$!
    wait "$busy" || rc=$?
    busy=''
    return "$rc"
}

# ---- an engine, and what is needed to talk to it ----

answers() { # URL
    local place=${1#*://}
    case $1 in
        unix://*) [ -S "$place" ] || return 1 ;;
        tcp://*) ;;
        *) return 1 ;;
    esac
    if command -v curl > /dev/null; then
        case $1 in
            unix://*) curl -sf -m 3 -o /dev/null --unix-socket "$place" http://engine/_ping ;;
            tcp://*) curl -sf -m 3 -o /dev/null --noproxy '*' "http://${place%/}/_ping" ;;
        esac
    elif command -v docker > /dev/null; then
        DOCKER_HOST=$1 timeout 5 docker version > /dev/null 2>&1
    else
        return 1
    fi
}

# everything from here on as root, when something has to be installed or an engine started
as_root_from_here() {
    [ "$(id -u)" != 0 ] || return 0
    command -v sudo > /dev/null || fail "$1 needs root, and there is no sudo"
    say "$1 needs root: going on with sudo"
    trap - EXIT
    exec sudo env PATH="$PATH" ENGINE="${ENGINE:-}" DOCKER_HOST="${DOCKER_HOST:-}" DOCKGATE="$dockgate" "$root/scripts/run.sh"
}

# What is missing is asked for before anything is compiled.
[ -n "${DOCKGATE:-}" ] || need_cargo
need=()
command -v docker > /dev/null ||
    need+=("$(if apt-cache show docker-cli > /dev/null 2>&1; then echo docker-cli; else echo docker.io; fi)")
unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION DOCKER_CONTEXT
if [ -n "${ENGINE:-}" ]; then
    answers "$ENGINE" || fail "no engine answers at ENGINE=$ENGINE (unix:///path or tcp://host:port)"
    engine=$ENGINE
else
    for url in "${DOCKER_HOST:-}" unix:///var/run/docker.sock; do
        [ -n "$url" ] || continue
        if answers "$url"; then engine=$url; break; fi
        [ "$url" != "${DOCKER_HOST:-}" ] || say "no engine that dockgate can use answers at DOCKER_HOST=$url"
    done
fi
if [ -n "$engine" ]; then
    say "engine: $engine"
else
    command -v dockerd > /dev/null || need+=(docker.io)
    command -v iptables > /dev/null || need+=(iptables)
    command -v ip > /dev/null || need+=(iproute2)
    command -v curl > /dev/null || need+=(curl)
    command -v busybox > /dev/null || need+=(busybox-static)
fi
[ ${#need[@]} = 0 ] || say "to be installed: ${need[*]}"
if [ ${#need[@]} -gt 0 ] || [ -z "$engine" ]; then
    [ "$(id -u)" = 0 ] || say "that needs root: asking sudo"
    as_root true
fi

# ---- the gateway: a build without optimisation is ready in a third of the time, and is enough for a demonstration ----

dockgate=${DOCKGATE:-$root/target/debug/dockgate}
if [ -z "${DOCKGATE:-}" ]; then
    say "cargo build (not optimised: for use, \`cargo build --release\`)"
    cd "$root" && run cargo build
fi
[ -x "$dockgate" ] || fail "no gateway at $dockgate"
[ -n "$engine" ] || as_root_from_here "starting a private engine"
[ ${#need[@]} = 0 ] || install_packages "${need[@]}"

base=${XDG_RUNTIME_DIR:-}
[ -n "$base" ] && [ -d "$base" ] && [ -w "$base" ] && [ ${#base} -le 40 ] || base=/tmp
state=$(mktemp -d "$base/dockgate-run.XXXXXX")

if [ -z "$engine" ]; then
    for ((index = 100; index < 200; index++)); do
        [ ! -e "/run/netns/dgrun$index" ] && ! ip link show "dgev$index" > /dev/null 2>&1 && break
    done
    say "engine: a private dockerd, only for this run"
    forward=$(cat /proc/sys/net/ipv4/ip_forward)
    home=$(mktemp -d /var/tmp/dockgate-engine.XXXXXX) # images and layers: not on a tmpfs
    private="dgrun$index $home $index"
    # shellcheck disable=SC2086
    ENGINE_NAT=1 run "$e2e/engine.sh" up $private
    engine=unix://$home/docker.sock
fi

# ---- dockgate in front of it ----

url=unix://$state/docker.sock
setsid "$dockgate" serve --engine "$engine" --listen "$url" --policy conservative --access-log text \
    > "$state/access.log" 2> "$state/dockgate.log" < /dev/null &
gateway=$!
for ((i = 0; i < 100; i++)); do
    answers "$url" && break
    kill -0 "$gateway" 2> /dev/null || break
    sleep 0.1
done
answers "$url" || { cat "$state/dockgate.log" >&2; fail "the gateway does not answer"; }
if [ -n "${SUDO_UID:-}" ]; then # the caller is to use it
    chown "$SUDO_UID:${SUDO_GID:-0}" "$state" "$state/docker.sock"
fi

# ---- a tiny image, without any registry ----

rootfs() { # FILE: a tar with a shell and a few commands
    local busybox fs=$state/rootfs c lib
    busybox=$(command -v busybox || true)
    if [ -n "$busybox" ] && ! ldd "$busybox" > /dev/null 2>&1; then
        TMPDIR=$state run "$e2e/image.sh" --tar "$1"
        return
    fi
    mkdir -p "$fs"/{bin,tmp,proc,sys,dev,etc}
    for c in sh cat echo id ls uname; do
        cp -L "$(type -P "$c")" "$fs/bin/$c"
        for lib in $(ldd "$fs/bin/$c" | grep -oE '/[^ ]+'); do
            mkdir -p "$fs$(dirname "$lib")"
            cp -L "$lib" "$fs$lib"
        done
    done
    tar -C "$fs" --owner=0 --group=0 -cf "$1" .
    rm -rf "$fs"
}
rootfs "$state/rootfs.tar"

# ---- at work: like a terminal session ----

show() { # prints a command and runs it
    echo
    printf '$ %s\n' "${*@Q}" | sed "s/'\([A-Za-z0-9_.,:=/@-]*\)'/\1/g"
    run timeout 60 "$@"
}

refused() { # a command that the gateway has to refuse
    local rc=0
    show "$@" > "$state/out" 2>&1 || rc=$?
    cat "$state/out"
    if [ "$rc" = 0 ] || ! grep -q 'dockgate: ' "$state/out"; then fail "that should have been refused"; fi
}

name='dockgate-demo'
! DOCKER_HOST=$engine timeout 30 docker image inspect "$name" > /dev/null 2>&1 || name=dockgate-demo:$$
demo=dockgate-demo-$$
export DOCKER_HOST=$url

echo
echo "\$ export DOCKER_HOST=$DOCKER_HOST"
image=$name
show docker import --change 'CMD ["sh"]' --change 'ENV PATH=/bin' "$state/rootfs.tar" "$name"
show docker run --rm --name "$demo" "$name" echo "hello from a container, through dockgate"
refused docker run --rm --name "$demo" --privileged "$name" echo "this is not printed"
refused docker run --rm --name "$demo" -v /:/host "$name" ls /host
rm -f "$state/rootfs.tar" "$state/out"

cat << EOT

dockgate stands in front of $engine with the policy \`conservative\`. In another terminal:

    export DOCKER_HOST=$DOCKER_HOST
    docker run --rm -it $name sh

One line for each call follows. Ctrl-C ends this and removes what it started.

EOT
sleep 0.2 # the access log writes a moment later
ready=yes
tail -n 0 -f "$state/access.log" &
tail=$!
rc=0
wait "$gateway" || rc=$?
gateway=''
cat "$state/dockgate.log" >&2
fail "the gateway has ended with status $rc"
