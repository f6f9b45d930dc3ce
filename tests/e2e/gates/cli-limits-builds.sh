# One build at a time: the next one is refused in a sentence that clients print, by the classic builder and by BuildKit, and has its
# turn when the first is over, or its client gone.
. "$E2E_LIB/gate.sh"
gate g < <(cat << X
[[listener]]
name = "ci"
url = "unix://$PWD/ci.sock"
policies = ["conservative", "few"]
[policy.few]
kind = "limits"
max = { builds = 1 }
X
)
export DOCKER_HOST=unix://$PWD/ci.sock BUILDKIT_PROGRESS=plain
mkdir held quick
printf 'FROM busybox\nRUN echo begun; sleep 3000\n' > held/Dockerfile
printf 'FROM busybox\nRUN true\n' > quick/Dockerfile
FULL='dockgate: builds: must be at most 1 at the same time, and so many on this listener run \(rule limits.builds\)'

# while one builds, by BuildKit or not, nobody else builds, in whatever form
while_building() { # DOCKER_BUILDKIT
    DOCKER_BUILDKIT=$1 "$DOCKER" build --no-cache held > held"$1".log 2>&1 &
    local holder=$!
    eventually grep -qE '(^|[^"]) ?begun$' held"$1".log
    DOCKER_BUILDKIT=0 fails "$FULL" d build quick
    if [ "$buildx" = yes ]; then DOCKER_BUILDKIT=1 fails "$FULL" d build quick; fi
    works - d ps
    kill -KILL "$holder"
    wait "$holder" 2> /dev/null
    DOCKER_BUILDKIT=0 eventually d build quick
    DOCKER_BUILDKIT=0 works - d build quick
    if [ "$buildx" = yes ]; then DOCKER_BUILDKIT=1 works - d build quick; fi
}
buildx=no
"$DOCKER" buildx version > /dev/null 2>&1 && buildx=yes
while_building 0
[ "$buildx" = no ] || while_building 1
