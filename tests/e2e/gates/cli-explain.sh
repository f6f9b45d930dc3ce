# `dockgate explain -- COMMAND`: real clients go to their end, all that they send is judged, and the engine has nothing of it.
. "$E2E_LIB/gate.sh"
cat > g.toml << X
[engine]
url = "unix://$E2E_SOCK"
[[listener]]
name = "ci"
url = "unix://$PWD/ci.sock"
policies = ["conservative", "sizes"]
[policy.sizes]
kind = "limits"
max = { memory = "1g" }
X
# explained CODE COMMAND...
explained() {
    local wanted=$1 code=0
    shift
    timeout 120 "$E2E_DOCKGATE" explain -c g.toml -- "$@" > "$E2E_TMP/.out" 2> "$E2E_TMP/.err" < /dev/null || code=$?
    [ "$code" = "$wanted" ] && { echo "ok: $*"; return; }
    bad "$code, not $wanted: $*"
}
has() { grep -qF -- "$1" "$E2E_TMP/.out" || bad "nothing of: $1"; }

explained 0 "$DOCKER" run --rm --name e-plain busybox true
has 'allowed  POST /containers/create?name=e-plain'
has 'allowed  POST /containers/e-plain/start'
explained 3 "$DOCKER" run --rm --name e-bad --privileged --memory 2g -v /:/host busybox true
has 'conservative: HostConfig.Binds: must not name a path of the host that was not given away (rule container.bind)'
has 'conservative: HostConfig.Privileged: must be false (rule container.privileged)'
has 'sizes: HostConfig.Memory: must be at most 1g, asked 2g (rule limits.memory)'
explained 0 "$DOCKER" exec e-plain true
explained 0 "$DOCKER" network create e-net
explained 0 "$DOCKER" volume create e-vol
explained 0 "$DOCKER" pull busybox
explained 3 "$DOCKER" network create -d macvlan e-net

mkdir ctx
printf 'FROM busybox\nRUN true\n' > ctx/Dockerfile
explained 0 env DOCKER_BUILDKIT=0 "$DOCKER" build -t e-image ctx
explained 3 env DOCKER_BUILDKIT=0 "$DOCKER" build --network host ctx
has 'denied   POST /build'
if "$DOCKER" buildx version > /dev/null 2>&1; then
    explained 0 "$DOCKER" build -t e-image ctx
    has 'allowed  POST /moby.buildkit.v1.frontend.LLBBridge/Solve'
    explained 3 "$DOCKER" build --network host ctx
    has '(rule build.entitlement)'
fi
printf 'FROM scratch\nADD http://127.0.0.1/x /\n' > ctx/Dockerfile
explained 3 env DOCKER_BUILDKIT=0 "$DOCKER" build ctx
has '(rule build.fetch)'

if "$DOCKER" compose version > /dev/null 2>&1; then
    cat > compose.yaml << 'X'
name: e
services:
  bad: {image: busybox, privileged: true}
  good: {image: busybox, volumes: ["data:/data"], depends_on: [bad]}
volumes: {data: {}}
X
    explained 3 "$DOCKER" compose up -d
    has 'denied   POST /containers/create?name=e-bad-1'
    has 'allowed  POST /containers/create?name=e-good-1'
    has 'allowed  POST /containers/e-good-1/start'
fi
explained 4 true
explained 2 "$DOCKER" -H "unix://$E2E_SOCK" ps

# nothing of all this was done
works '' d -H "unix://$E2E_SOCK" ps -aq --filter name=e-
works '' d -H "unix://$E2E_SOCK" network ls -q --filter name=e-
works '' d -H "unix://$E2E_SOCK" volume ls -q --filter name=e-
works '' d -H "unix://$E2E_SOCK" image ls -q e-image
