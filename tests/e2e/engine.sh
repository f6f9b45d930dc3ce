#!/usr/bin/env bash
# One dockerd in its own network and mount namespace, all of its state in one folder.
#
#   engine.sh up    NAME DIR INDEX [BINDIR|-] [dockerd args...]   namespace + daemon; returns when it answers
#   engine.sh stop  NAME DIR INDEX                                the daemon only (containers stop too)
#   engine.sh start NAME DIR INDEX [BINDIR|-] [dockerd args...]   the daemon again, in the same namespace
#   engine.sh down  NAME DIR INDEX                                everything that `up` made, also after a crash
#
# NAME   name of the network namespace, e.g. dge28
# DIR    absolute folder; the socket is DIR/docker.sock, the daemon's log DIR/log, its pid DIR/pid. Its /run/docker
#        is DIR/run/docker, where a plugin for it puts its socket: it sees none of the machine's and of other engines'
# INDEX  1..250: the namespace is 10.66.INDEX.2, the host's end of the veth pair 10.66.INDEX.1
# BINDIR folder with another dockerd, containerd, shim and docker-proxy ("-": the installed ones).
#        Only these: runc and iptables always come from the machine itself.
#
# ENGINE_MEMORY=1        keeps images, containers and volumes in memory, if there is enough of it: what an engine waits for
#                        most is the disk
# ENGINE_NAT=1           lets containers reach the outside (adds three iptables rules on the host, removed by `down`)
# DOCKER_MIN_API_VERSION is handed to dockerd; nothing else of the caller's environment is.
set -euo pipefail

die() { echo "engine.sh: $*" >&2; exit 1; }
[ $# -ge 4 ] || die "usage: engine.sh up|stop|start|down NAME DIR INDEX [BINDIR|-] [dockerd args...]"
action=$1 name=$2 dir=$3 index=$4
shift 4
bindir=${1:--}
[ $# -eq 0 ] || shift

[ "$(id -u)" = 0 ] || die "needs root"
case $dir in /*) ;; *) die "DIR must be absolute: $dir" ;; esac
[ ${#dir} -le 64 ] || die "DIR is too long for the sockets below it: $dir"
[[ $name =~ ^[a-z][a-z0-9]{1,13}$ ]] || die "NAME must be short lower-case letters and digits: $name"
[[ $index =~ ^[0-9]+$ && $index -ge 1 && $index -le 250 ]] || die "INDEX must be 1..250: $index"

sock=$dir/docker.sock
veth=dgev$index

answers() { curl -sf -m 10 -o /dev/null --unix-socket "$sock" http://engine/_ping; }

# Is process $1 alive and a daemon of this very folder? A pid file may be stale and its number reused.
ours() {
    [ -n "$1" ] && [ -r "/proc/$1/cmdline" ] || return 1
    tr '\0' '\n' < "/proc/$1/cmdline" 2> /dev/null | grep -qF -- "$dir/"
}

wait_gone() { # PID SECONDS
    local i
    for ((i = 0; i < $2 * 10; i++)); do
        [ -d "/proc/$1" ] || return 0
        # a zombie waiting for its parent is gone for our purpose
        [ "$(awk '/^State:/{print $2}' "/proc/$1/status" 2> /dev/null)" = Z ] && return 0
        sleep 0.1
    done
    return 1
}

nat() { # A|D: append or delete
    local i=$1
    iptables "-t" nat "-$i" POSTROUTING -s "10.66.$index.0/24" ! -o "$veth" -j MASQUERADE
    iptables "-$i" FORWARD -i "$veth" -j ACCEPT
    iptables "-$i" FORWARD -o "$veth" -j ACCEPT
}

net_up() {
    [ ! -e "/run/netns/$name" ] || die "network namespace $name exists already; end it with: engine.sh down $name $dir $index"
    ip netns add "$name"
    ip link add "$veth" type veth peer name eth0 netns "$name"
    ip addr add "10.66.$index.1/24" dev "$veth"
    ip link set "$veth" up
    ip -n "$name" link set lo up
    ip -n "$name" addr add "10.66.$index.2/24" dev eth0
    ip -n "$name" link set eth0 up
    if [ "${ENGINE_NAT:-}" != 1 ]; then
        # what cannot be reached must fail at once: a name that is looked up would cost 20 s
        ip -n "$name" route add unreachable default
    else
        ip -n "$name" route add default via "10.66.$index.1"
        sysctl -qw net.ipv4.ip_forward=1
        nat A
        : > "$dir/nat"
    fi
}

net_down() {
    [ ! -e "$dir/nat" ] || { nat D || true; rm -f "$dir/nat"; }
    ip link del "$veth" 2> /dev/null || true
    [ ! -e "/run/netns/$name" ] || ip netns del "$name" || true
}

# (on the machine, and not in the engine's namespace: it outlives a `stop`)
data_up() {
    [ "${ENGINE_MEMORY:-}" = 1 ] && [ "$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)" -ge 6000000 ] || return 0
    mkdir -p "$dir/data"
    mount -t tmpfs -o mode=711,size=2g dockgate-engine "$dir/data"
}

# What dockerd looks for in a fixed place: plugins (moby's pkg/plugins/discovery*.go: a dead socket there holds up every
# call about an unknown volume for 30 s), a containerd of the machine's (`systemContainerdRunning`), whose containers the
# engines would share.
# shellcheck disable=SC2016
own_mounts='
    mount --bind "$1/run/docker" /run/docker
    mount --bind "$1/run/containerd" /run/containerd
    for specs in /etc/docker/plugins /usr/lib/docker/plugins; do
        [ ! -d "$specs" ] || mount -t tmpfs -o ro none "$specs"
    done
    shift
    exec "$@"
'

start() {
    local path=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin pid i attempt
    [ "$bindir" = - ] || path=$bindir:$path
    [ -e "$dir/daemon.json" ] || echo '{}' > "$dir/daemon.json"
    mkdir -p /run/docker /run/containerd "$dir/run/docker/plugins" "$dir/run/containerd"
    rm -f "$dir/pid" "$sock"
    # own session and closed stdio, or the caller's pipe never ends; an empty environment, for dockerd
    # would use the caller's proxies and certificates; nsenter, for `ip netns exec` hides the cgroups; the mounts are
    # slaves: it sees what is mounted on the machine later, and its own end with it
    # 20.10 sometimes ends in its own start, with a trace of Go's: then it is started again
    for attempt in 1 2 3; do
        setsid nsenter --net="/run/netns/$name" unshare --mount --propagation slave sh -euc "$own_mounts" engine "$dir" \
            env -i PATH="$path" HOME="$dir" \
            ${DOCKER_MIN_API_VERSION:+"DOCKER_MIN_API_VERSION=$DOCKER_MIN_API_VERSION"} \
            dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \
            --host "unix://$sock" --config-file "$dir/daemon.json" "$@" \
            >> "$dir/log" 2>&1 < /dev/null &
        pid=$!
        for ((i = 0; i < 1200; i++)); do
            answers && return 0
            [ -d "/proc/$pid" ] || break
            sleep 0.1
        done
        [ ! -d "/proc/$pid" ] || break
        rm -f "$dir/pid"
    done
    tail -n 15 "$dir/log" >&2
    die "dockerd ($name) does not answer"
}

stop() {
    local pid
    pid=$(cat "$dir/pid" 2> /dev/null) || pid=
    if ours "$pid"; then
        kill -CONT "$pid" 2> /dev/null || true # it may be one that a test has stopped
        kill -TERM "$pid" 2> /dev/null || true
        wait_gone "$pid" 60 || { kill -KILL "$pid" 2> /dev/null || true; wait_gone "$pid" 5 || true; }
    fi
    # after a SIGKILL: containerd, its shims and docker-proxy live on; all of them name our folder
    local p child
    for p in /proc/[0-9]*; do
        p=${p#/proc/}
        [ "$p" != $$ ] && [ "$p" != "$BASHPID" ] || continue
        case $(readlink "/proc/$p/exe" 2> /dev/null) in
            */dockerd | */containerd | */containerd-shim* | */docker-proxy) ours "$p" || continue ;;
            *) continue ;;
        esac
        # a shim that goes leaves its container running: end that first
        case $(readlink "/proc/$p/exe") in
            *shim*) for child in $(cat "/proc/$p"/task/*/children 2> /dev/null); do kill -KILL "$child" 2> /dev/null || true; done ;;
        esac
        kill -TERM "$p" 2> /dev/null || true
        wait_gone "$p" 10 || kill -KILL "$p" 2> /dev/null || true
    done
    rm -f "$dir/pid"
}

# An engine's own mounts end with its namespace. What is mounted below DIR on the machine, `rm -rf DIR` would go into.
unmount_all() {
    local round m left=
    for round in 1 2 3 4 5; do
        # whole paths below DIR only, deepest first
        left=$(awk -v d="$dir/" 'index($5, d) == 1 {print length($5), $5}' /proc/self/mountinfo | sort -rn | cut -d' ' -f2-)
        [ -n "$left" ] || return 0
        while IFS= read -r m; do
            if [ "$round" -lt 3 ]; then umount "$m" 2> /dev/null || true; else umount -l "$m" 2> /dev/null || true; fi
        done <<< "$left"
    done
    echo "engine.sh: still mounted: $left" >&2
}

case $action in
    up)
        mkdir -p "$dir"
        net_up
        data_up
        start "$@"
        ;;
    start) start "$@" ;;
    stop) stop ;;
    down)
        stop
        unmount_all
        net_down
        ;;
    *) die "unknown action: $action" ;;
esac
