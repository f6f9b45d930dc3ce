#!/usr/bin/env bash
# Real clients, real engines: every case runs directly and through the gateway, and must print the same.
#
#   run.sh quick|all [--engine NAME]... [--case GLOB]... [--cli 20|28] [--repeat N] [--jobs N]
#
# DOCKGATE=path of the binary (default: target/release/dockgate of this repository). See README.md.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
export DOCKGATE_E2E_CACHE=${DOCKGATE_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dockgate-e2e}
cache=$DOCKGATE_E2E_CACHE
mkdir -p "$cache"

# one run at a time on a machine: the namespaces have fixed names
exec 9> "$cache/lock"
flock -n 9 || { echo "run.sh: waiting for another run to end" >&2; flock -w 900 9; } || { echo "run.sh: another run holds $cache/lock" >&2; exit 1; }

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
tier=${1:-} engines=() globs=() only_cli='' repeat=1 jobs=2
case $tier in quick | all) shift ;; *) usage ;; esac
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
        --engine) engines+=("$2") ;;
        --case) globs+=("$2") ;;
        --cli) only_cli=$2 ;;
        --repeat) repeat=$2 ;;
        --jobs) jobs=$2 ;;
        *) usage ;;
    esac
    shift 2
done
if [ ${#engines[@]} -eq 0 ]; then
    engines=(28 20.10)
    [ "$tier" = quick ] || engines+=(26 28-containerd 28-min1.44)
fi

dockgate=${DOCKGATE:-$here/../../target/release/dockgate}
[ -x "$dockgate" ] || { echo "run.sh: no gateway at $dockgate; cargo build --release, or set DOCKGATE" >&2; exit 1; }

unset "${!DOCKER_@}" "${!COMPOSE_@}" http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
export LC_ALL=C.UTF-8 TZ=UTC

. "$here/lib/ports.sh"
"$here/setup.sh" "$tier" "${engines[@]}"

codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
python=$cache/venv/bin/python # not `python3`: where that is a script of pyenv's, it takes longer to start than all the rest

work=$(mktemp -d "${TMPDIR:-/tmp}/dge.XXXXXX")
mkdir "$work/results"

# ---- what is started is ended, whatever happens ----

kill_tree() {
    local child
    for child in $(cat "/proc/$1"/task/*/children 2> /dev/null); do kill_tree "$child"; done
    kill -TERM "$1" 2> /dev/null || true
}

kill_pidfile() { # the gateway of FILE, with time to end by itself
    local pid i
    pid=$(cat "$1" 2> /dev/null) || return 0
    rm -f "$1"
    kill -TERM "$pid" 2> /dev/null || return 0
    for ((i = 0; i < 300; i++)); do [ -d "/proc/$pid" ] || return 0; sleep 0.1; done
    kill -KILL "$pid" 2> /dev/null || true
}

engines_down() { # FILE of lines NAME DIR INDEX
    local name dir index
    [ -e "$1" ] || return 0
    while read -r name dir index; do
        "$here/engine.sh" down "$name" "$dir" "$index" || true
        rm -rf "$dir"
    done < "$1"
    rm -f "$1"
}

workers=()
finish() {
    local pid file
    trap '' INT TERM
    for pid in "${workers[@]}"; do kill_tree "$pid"; done
    for file in "$work"/*.gateway-pid; do kill_pidfile "$file"; done
    engines_down "$cache/running"
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
engines_down "$cache/running" # of a run that was killed

# ---- engines ----

engine_index() {
    case $1 in 20.10) echo 20 ;; 28) echo 21 ;; 26) echo 22 ;; 28-containerd) echo 23 ;; 28-min1.44) echo 24 ;; *) return 1 ;; esac
}

engine_args() { # ACTION ENGINE: runs engine.sh with that engine's folder, binaries and settings
    local index bin=- min=
    index=$(engine_index "$2")
    case $2 in 28*) bin=$cache/suite-forky/bin ;; 26) bin=$cache/suite-trixie/bin ;; esac
    case $2 in *-min*) min=${2#*-min} ;; esac
    ENGINE_MEMORY=1 DOCKER_MIN_API_VERSION=$min "$here/engine.sh" "$1" "dge$index" "$work/e$index" "$index" "$bin" $(engine_tls "$index")
}

# beside its unix socket: `dockgate certs` for the engine itself, and for who asks it
engine_tls() { # INDEX
    local certs=$work/e$1/certs
    echo "--host tcp://10.66.$1.2:2376 --tlsverify --tlscacert $certs/ca.pem --tlscert $certs/server-cert.pem --tlskey $certs/server-key.pem"
}

engine_start() {
    local index
    index=$(engine_index "$1")
    mkdir "$work/e$index"
    case $1 in *-containerd) echo '{"features":{"containerd-snapshotter":true}}' > "$work/e$index/daemon.json" ;; esac
    "$dockgate" certs "$work/e$index/certs" --host "10.66.$index.2" > /dev/null
    "$dockgate" certs "$work/certs$index" > /dev/null
    echo "dge$index $work/e$index $index" >> "$cache/running"
    engine_args up "$1"
    "$here/image.sh" "$work/e$index/docker.sock" > "$work/e$index.image"
}

tls_port() { # INDEX
    [ -e "$work/port$1" ] || free_ports "$1" 1 > "$work/port$1"
    cat "$work/port$1"
}

gateway_config() { # NAME ENGINE_SOCKET SOCKET POLICY
    local index=${1%%-*} policies=
    # with what lib/build-servers.sh serves
    [ "$4" != building ] || printf '[policy.building]\nkind = "conservative"\nregistries = ["docker.io", "127.0.0.1:5000"]\nfetch = ["http://127.0.0.1:5080/"]\n'
    [ "$4" = none ] || policies="\"$4\""
    if [ "$4" = namespace ]; then
        printf '[policy.namespace]\nkind = "namespace"\nname = "{listener}"\nkey = "namespace.key"\nnetwork_pool = "10.213.0.0/16"\n'
        printf 'shared = ["docker.io/library/busybox"]\n'
        [ -e "$work/namespace.key" ] || head -c 32 /dev/urandom > "$work/namespace.key"
    fi
    cat << X
[engine]
url = "unix://$2"
[[listener]]
name = "unix"
url = "unix://$3"
policies = [$policies]
X
    # one gate of an engine has TLS too: for the cases with \`tls=yes\`
    [ "$1" = "$index" ] || return 0
    cat << X
[[listener]]
name = "tls"
url = "tls://127.0.0.1:$(tls_port "$index")"
policies = [$policies]
auth = ["certificate"]
[listener.tls]
cert = "certs$index/server-cert.pem"
key = "certs$index/server-key.pem"
client_ca = "certs$index/ca.pem"
client_auth = "required"
[auth.certificate]
kind = "certificate"
X
}

gateway_start() { # NAME ENGINE_SOCKET SOCKET POLICY
    local i
    gateway_config "$@" > "$work/$1.toml"
    setsid "$dockgate" serve -c "$work/$1.toml" > "$work/$1.gateway-log" 2>&1 < /dev/null &
    echo $! > "$work/$1.gateway-pid"
    for ((i = 0; i < 600; i++)); do
        ! curl -sf -m 10 -o /dev/null --unix-socket "$3" http://engine/_ping || return 0
        sleep 0.1
    done
    echo "run.sh: the gateway in front of $2 does not answer:" >&2
    tail -n 20 "$work/$1.gateway-log" >&2
    return 1
}

# ---- cases ----

directive() { # FILE KEY: the value in its line `# e2e: key=value ...` (`// e2e:` in JavaScript)
    sed -nE "s,^(#|//) e2e: (.* )?$2=([^ ]*).*,\3,p" "$1" | head -n 1
}

matches() { # WORD COMMA_SEPARATED_GLOBS
    local g
    for g in ${2//,/ }; do
        # shellcheck disable=SC2053
        [[ $1 != $g ]] || return 0
    done
    return 1
}

wanted() { # FILE ENGINE
    local name g e tier_of
    name=$(basename "$1")
    name=${name%.*}
    if [ ${#globs[@]} -gt 0 ]; then
        for g in "${globs[@]}"; do
            # shellcheck disable=SC2053
            [[ $name == *$g* ]] && break
        done
        # shellcheck disable=SC2053
        [[ $name == *$g* ]] || return 1
    fi
    tier_of=$(directive "$1" tier)
    [ "${tier_of:-quick}" = quick ] || [ "$tier" = all ] || return 1
    e=$(directive "$1" engines)
    [ -z "$e" ] || matches "$2" "$e"
}

cli_path() { # 20|28, or an engine's name: the CLI that goes with it
    case $1 in 20 | 20.10) echo /usr/bin/docker ;; *) echo "$cache/suite-forky/usr/bin/docker" ;; esac
}

now_ms() { local t=${EPOCHREALTIME/./}; echo $((t / 1000)); }

report() { # ok|FAIL|skip ENGINE CASE MILLISECONDS [FILE to show]
    local line
    line=$(printf '%s %s %s %d.%d' "$1" "$2" "$3" $(($4 / 1000)) $(($4 % 1000 / 100)))
    {
        flock 8
        echo "$line"
        [ -z "${5:-}" ] || head -n 60 "$5" | sed 's/^/    /'
        echo "$1 $2 $3" >> "$work/results/all"
    } 8>> "$work/results/lock"
}

# run_script ENGINE CLI SOCKET FILE OUT: one run of one script in its own folder; its status
run_script() {
    local engine=$1 cli=${2/#-/$1} sock=$3 file=$4 out=$5 index dir rc=0 command netns=() limit
    index=$(engine_index "$engine")
    dir=$(mktemp -d "$work/case.XXXXXX")
    mkdir -p "$dir/tmp" "$dir/config/cli-plugins" "$dir/home"
    echo '{}' > "$dir/config/config.json"
    [[ $cli != 2[68]* ]] || ln -s "$cache"/suite-forky/usr/libexec/docker/cli-plugins/* "$dir/config/cli-plugins/"
    case $file in
        *.sh) command=bash ;;
        *.py) command=$python ;;
        *.mjs) command=node ;;
    esac
    [ "$(directive "$file" netns)" != yes ] || netns=(nsenter "--net=/run/netns/dge$index")
    limit=$(directive "$file" timeout)
    # over TLS, a case knows of nothing but its environment
    local host="unix://$sock" tls=()
    if [[ $sock == tls:* ]]; then
        host=tcp://${sock#tls:}
        tls=(DOCKER_TLS_VERIFY=1 "DOCKER_CERT_PATH=$work/certs$index")
        sock=${sock#tls:}
    fi
    (cd "$dir/tmp" && exec timeout -k 5 "${limit:-600}" "${netns[@]}" env \
        HOME="$dir/home" TMPDIR="$dir/tmp" DOCKER_CONFIG="$dir/config" DOCKER_HOST="$host" "${tls[@]}" \
        DOCKER="$(cli_path "$cli")" E2E_CLI="$cli" E2E_ENGINE="$engine" E2E_SOCK="$sock" E2E_TMP="$dir/tmp" \
        E2E_LIB="$here/lib" PYTHONPATH="$here/lib" PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore E2E_NODE="$cache/node" \
        E2E_PYTHON="$python" E2E_BOLLARD="$cache/bollard" E2E_REGISTRY="$cache/suite-$codename/usr/bin/docker-registry" \
        E2E_DOCKGATE="$dockgate" E2E_INDEX="$index" E2E_ENGINE_TLS="10.66.$index.2:2376" E2E_ENGINE_CERTS="$work/e$index/certs" \
        E2E_ENGINE_CONTROL="$work/control.$index" E2E_ENGINE_PID="$work/e$index/pid" \
        E2E_ENGINE_PLUGINS="$work/e$index/run/docker/plugins" E2E_GATEWAY_LOG="$work/$index.gateway-log" \
        "$command" "$file" > "$out.raw" 2>&1 < /dev/null) || rc=$?
    "$python" "$here/lib/normalise.py" "$out.raw" "$sock=SOCKET" "$dir/tmp=TMP" "$dir/config=CONFIG" "$dir/home=HOME" > "$out"
    [ "$rc" = 0 ] || echo "the script ended with status $rc" >> "$out"
    rm -rf "$dir"
    return "$rc"
}

reset() { "$python" "$here/lib/reset.py" "$work/e$1/docker.sock" "$(cat "$work/e$1.image")"; }

# the same script directly and through the gateway
compare() { # ENGINE CLI FILE LABEL
    local engine=$1 index out=$work/out.$1 t0 where
    index=$(engine_index "$engine")
    t0=$(now_ms)
    reset "$index"
    if ! run_script "$engine" "$2" "$work/e$index/docker.sock" "$3" "$out.direct"; then
        { echo "this case fails without the gateway:"; tail -n 50 "$out.direct"; } > "$out.diff"
        report FAIL "$engine" "$4" $(($(now_ms) - t0)) "$out.diff"
        return
    fi
    if [ "$(directive "$3" plain)" != no ]; then
        through "$work/gw$index.sock" "$@"
        [ "$(directive "$3" tls)" != yes ] || { t0=$(now_ms); through "tls:127.0.0.1:$(tls_port "$index")" "${@:1:3}" "tls/$4"; }
        t0=$(now_ms)
    fi
    # (CLIs below 23 ask for BuildKit in a form that is refused with engines from 24 on)
    where=$(directive "$3" conservative)
    [ "$2.$engine" = 20.20.10 ] || [ "$2" != 20 ] || where=
    [ -z "$where" ] || ! matches "$engine" "$where" || through "$work/gb$index.sock" "${@:1:3}" "same-under-conservative/$4"
    where=$(directive "$3" namespace)
    [ -z "${E2E_NAMESPACE:-}" ] || where=20.10,26,28,28-containerd
    [ -z "$where" ] || ! matches "$engine" "$where" || through "$work/gn$index.sock" "${@:1:3}" "same-in-a-namespace/$4"
}

# What the gateway prints must be what the engine itself prints. Where an engine prints one thing or another (how often a
# container's first line is in an attach with logs), it is one of those: it runs directly again, and each print counts.
through() { # SOCKET ENGINE CLI FILE LABEL: with what `compare` has prepared
    local again
    reset "$index"
    run_script "$engine" "$3" "$1" "$4" "$out.gateway" || true
    diff -u --label direct "$out.direct" --label gateway "$out.gateway" > "$out.diff" || for again in 2 3 4 5; do
        reset "$index"
        run_script "$engine" "$3" "$work/e$index/docker.sock" "$4" "$out.again" || continue
        cmp -s "$out.again" "$out.gateway" || continue
        report ok "$engine" "$5 (directly in run $again)" $(($(now_ms) - t0))
        return
    done
    if cmp -s "$out.direct" "$out.gateway"; then
        report ok "$engine" "$5" $(($(now_ms) - t0))
    else
        report FAIL "$engine" "$5" $(($(now_ms) - t0)) "$out.diff"
    fi
}

# a script that judges by itself
judge() { # ENGINE CLI SOCKET FILE LABEL
    local engine=$1 out=$work/out.$1.judge t0
    t0=$(now_ms)
    reset "$(engine_index "$engine")"
    if run_script "$engine" "$2" "$3" "$4" "$out"; then
        report ok "$engine" "$5" $(($(now_ms) - t0))
    else
        grep -v '^ok: ' "$out" > "$out.bad" || true
        report FAIL "$engine" "$5" $(($(now_ms) - t0)) "$out.bad"
    fi
}

clis_of() { # FILE ENGINE: the CLIs a case runs with, "-" for none
    local have=${only_cli:-20 28} want c
    case $(basename "$1") in cli-*) want=$(directive "$1" clis) ;; *) echo -; return ;; esac
    # quick: the other engine's CLI only with the cases that are about the connection
    [ "$tier" = all ] || [ -n "$only_cli" ] || [ "$(directive "$1" cross)" != all ] || want=${2%%[.-]*}
    [ -n "$want" ] || case $2 in *-min1.44) want=28 ;; *) want=20,28 ;; esac
    for c in $have; do ! matches "$c" "$want" || echo "$c"; done
}

connections() { # SOCKET: how many are accepted there
    awk -v path="$1" '$6 == "03" && $8 == path' /proc/net/unix | wc -l
}

sockets_of() { find "/proc/$1/fd" -lname 'socket:*' | wc -l; } # PID

tcp_connections() { # PORT: how many are accepted there, or closed by the client only
    ss -Htn state established state close-wait "sport = :$1" | wc -l
}

# every client has gone: the gateway must hold none of them, and of the engine no more than a small pool. The gateway's
# side is counted: dockerd itself leaves the connection of an `exec -i` open until its next garbage collection
leak_check() { # ENGINE GATEWAY_SOCKET INDEX
    local i t0 clients sockets pid
    t0=$(now_ms)
    pid=$(cat "$work/$3.gateway-pid")
    for ((i = 0; i < 600; i++)); do
        clients=$(($(connections "$2") + $(tcp_connections "$(tls_port "$3")")))
        sockets=$(($(sockets_of "$pid") - $(cat "$work/$3.gateway-sockets")))
        if [ "$clients" = 0 ] && [ "$sockets" -le 8 ]; then
            report ok "$1" no-leaked-connections $(($(now_ms) - t0))
            return
        fi
        sleep 0.1
    done
    echo "after all cases the gateway still has $clients clients and $sockets sockets more than the $(cat "$work/$3.gateway-sockets") at its start" > "$work/out.$1.diff"
    report FAIL "$1" no-leaked-connections $(($(now_ms) - t0)) "$work/out.$1.diff"
}

with_clis() { # FUNCTION ENGINE SOCKET|- FILE [PREFIX]
    local cli label
    for cli in $(clis_of "$4" "$2"); do
        label=${5:-}$(basename "$4")
        label=${label%.*}
        [ "$cli" = - ] || label="${label}[cli$cli]"
        if [ "$cli" != - ] && [ ! -x "$(cli_path "$cli")" ]; then
            report skip "$2" "$label" 0
        elif [ "$1" = compare ]; then
            compare "$2" "$cli" "$4" "$label"
        else
            judge "$2" "$cli" "$3" "$4" "$label"
        fi
    done
}

worker() { # ENGINE
    local engine=$1 index file pid n t0
    index=$(engine_index "$engine")
    t0=$(now_ms)
    if ! engine_start "$engine" > "$work/out.$engine.start" 2>&1; then
        report FAIL "$engine" engine-start $(($(now_ms) - t0)) "$work/out.$engine.start"
        return
    fi
    # for faults/: `bash $E2E_ENGINE_CONTROL stop|start`
    printf '#!/bin/bash\nDOCKER_MIN_API_VERSION=%q %q "$1" %q %q %q %q %s\n' "$(case $engine in *-min*) echo "${engine#*-min}" ;; esac)" \
        "$here/engine.sh" "dge$index" "$work/e$index" "$index" \
        "$(case $engine in 28*) echo "$cache/suite-forky/bin" ;; 26) echo "$cache/suite-trixie/bin" ;; *) echo - ;; esac)" "$(engine_tls "$index")" > "$work/control.$index"
    if ! gateway_start "$index" "$work/e$index/docker.sock" "$work/gw$index.sock" none > "$work/out.$engine.start" 2>&1; then
        report FAIL "$engine" gateway-start $(($(now_ms) - t0)) "$work/out.$engine.start"
        return
    fi
    pid=$(cat "$work/$index.gateway-pid")
    sockets_of "$pid" > "$work/$index.gateway-sockets"
    if ! gateway_start "$index-building" "$work/e$index/docker.sock" "$work/gb$index.sock" building > "$work/out.$engine.start" 2>&1; then
        report FAIL "$engine" conservative-gateway-start $(($(now_ms) - t0)) "$work/out.$engine.start"
        return
    fi
    if ! gateway_start "$index-namespace" "$work/e$index/docker.sock" "$work/gn$index.sock" namespace > "$work/out.$engine.start" 2>&1; then
        report FAIL "$engine" namespace-gateway-start $(($(now_ms) - t0)) "$work/out.$engine.start"
        return
    fi

    for ((n = 0; n < repeat; n++)); do
        for file in "$here"/cases/*; do
            ! wanted "$file" "$engine" || with_clis compare "$engine" - "$file"
        done
    done
    leak_check "$engine" "$work/gw$index.sock" "$index"
    kill_pidfile "$work/$index-building.gateway-pid"
    kill_pidfile "$work/$index-namespace.gateway-pid"

    # (not with CLIs that this engine does not take)
    case $engine in 20.10 | 26 | 28 | 28-containerd)
        if ! gateway_start "$index-conservative" "$work/e$index/docker.sock" "$work/gc$index.sock" conservative > "$work/out.$engine.start" 2>&1; then
            report FAIL "$engine" conservative-gateway-start 0 "$work/out.$engine.start"
        else
            for file in "$here"/conservative/*; do
                ! wanted "$file" "$engine" || with_clis judge "$engine" "$work/gc$index.sock" "$file" conservative/
            done
            kill_pidfile "$work/$index-conservative.gateway-pid"
        fi
        ;;
    esac

    for file in "$here"/gates/*; do
        ! wanted "$file" "$engine" || with_clis judge "$engine" "$work/e$index/docker.sock" "$file" gates/
    done

    # last: these stop the engine
    for file in "$here"/faults/*; do
        ! wanted "$file" "$engine" || with_clis judge "$engine" "$work/gw$index.sock" "$file" faults/
    done
    if [ "$(cat "$work/$index.gateway-pid")" = "$pid" ] && [ -d "/proc/$pid" ]; then
        kill_pidfile "$work/$index.gateway-pid"
    else
        tail -n 20 "$work/$index.gateway-log" > "$work/out.$engine.diff"
        report FAIL "$engine" gateway-survives 0 "$work/out.$engine.diff"
    fi
    engine_args down "$engine"
}

for engine in "${engines[@]}"; do
    engine_index "$engine" > /dev/null || { echo "run.sh: no such engine: $engine (20.10 28 26 28-containerd 28-min1.44)" >&2; exit 2; }
    ! grep -q "^SKIPPED engine $engine:" "$cache/skipped" || { echo "skip $engine all-cases" >> "$work/results/all"; continue; }
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    worker "$engine" 9>&- & # its daemons must not inherit the lock
    workers+=($!)
done
wait

touch "$work/results/all"
grep -E "^SKIPPED engine ($(IFS='|'; echo "${engines[*]//./\\.}")):" "$cache/skipped" || true
grep '^skip ' "$work/results/all" | sed 's/^skip/SKIPPED/' || true
passed=$(grep -c '^ok ' "$work/results/all" || true)
failed=$(grep -c '^FAIL ' "$work/results/all" || true)
skipped=$(grep -c '^skip ' "$work/results/all" || true)
[ "$failed" = 0 ] || { echo; grep '^FAIL ' "$work/results/all"; }
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
