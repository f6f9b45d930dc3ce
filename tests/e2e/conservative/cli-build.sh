# What builds with BuildKit may not do under `--policy conservative`: one line says so, with the rule.
# e2e: clis=28 engines=26,28,28-containerd
. "$E2E_LIB/assert.sh"
export BUILDKIT_PROGRESS=plain
mkdir ctx
printf 'FROM busybox\nRUN id\n' > ctx/Dockerfile

# no RULE COMMAND...: fails, and the reason is said in one line (the last one; the step in question may show it too)
no() {
    local rule=$1 rc=0
    shift
    timeout -k 2 120 "$@" > "$E2E_TMP/.out" 2> "$E2E_TMP/.err" || rc=$?
    if [ "$rc" = 0 ] || [ "$rc" = 124 ] || [ "$rc" = 137 ]; then
        bad "status $rc: $*"
    elif [ "$(grep -h '^ERROR' "$E2E_TMP/.out" "$E2E_TMP/.err" | grep -c "dockgate: .*(rule $rule)")" != 1 ]; then
        bad "not one line with $rule: $*"
    else
        echo "ok: $rule: $*"
    fi
}

no build.network "$DOCKER" build --network host ctx
no build.entitlement "$DOCKER" buildx build --allow network.host ctx
no build.entitlement "$DOCKER" buildx build --allow security.insecure ctx
no build.cgroup-parent "$DOCKER" build --cgroup-parent /x ctx
no build.exporter "$DOCKER" build --push -t 127.0.0.1:5000/x ctx
no build.cache "$DOCKER" build --cache-from type=registry,ref=10.0.0.1/x ctx
no build.cache "$DOCKER" build --cache-from type=s3,region=x,bucket=y ctx
no build.fetch "$DOCKER" build http://127.0.0.1:5080/r.git
no build.fetch "$DOCKER" build http://127.0.0.1:5080/file
no build.cache-list "$DOCKER" buildx du
no build.prune "$DOCKER" buildx prune -f
no build.prune "$DOCKER" builder prune -f

# what a Dockerfile says (BuildKit's source policy speaks where nobody could see it before)
refused_by() { # REGEX DOCKERFILE [OPTION...]
    local regex=$1
    printf '%b' "$2" > said
    shift 2
    fails "$regex" timeout -k 2 120 "$DOCKER" build --no-cache -f said "$@" ctx
}
FETCH='rule build.fetch|not allowed by policy|denied by policy'
IMAGE='rule registry.host|not allowed by policy|denied by policy'
refused_by "$FETCH" 'FROM busybox\nADD http://127.0.0.1/x /x\n'
refused_by "$FETCH" 'FROM busybox\nADD http://127.0.0.1/x.git /x\n'
refused_by "$FETCH" 'FROM busybox\nCOPY --from=x / /x\n' --build-context x=http://127.0.0.1/x.git
refused_by "$IMAGE" 'FROM busybox\nCOPY --from=x / /x\n' --build-context x=docker-image://10.0.0.1/x
refused_by "$IMAGE" 'FROM 10.0.0.1/x\n'
refused_by "$IMAGE" '# syntax=10.0.0.1/x\nFROM busybox\n'
refused_by "$IMAGE" 'FROM busybox\nCOPY --from=10.0.0.1/x / /x\n'
refused_by 'network.host is not allowed|rule build' 'FROM busybox\nRUN --network=host id\n'

works - "$DOCKER" build -q ctx

works - d buildx history ls
works - d buildx history logs
works - d buildx history inspect
works - d buildx history rm --all
works - d version
