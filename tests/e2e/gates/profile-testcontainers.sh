# e2e: netns=yes timeout=240
# Testcontainers under `testcontainers.toml`, with a Ryuk that only says that it is there: it gets the listener's socket.
. "$E2E_LIB/gate.sh"
export DOCKER_BUILDKIT=0
export RYUK_CONTAINER_IMAGE=ryuk:e2e TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE=/var/run/docker.sock
mkdir ryuk
cat > ryuk/Dockerfile <<'X'
FROM busybox
EXPOSE 8080
CMD ["sh", "-c", "test -S /var/run/docker.sock && echo 2000/01/01 00:00:00 Started! && while :; do nc -l -p 8080 -e sh -c 'while read line; do echo ACK; done'; done"]
X
works - d build -t ryuk:e2e ryuk
engine=$DOCKER_HOST

gate g << X
[[listener]]
name = "ci"
url = "unix://$E2E_TMP/ci.sock"
policies = ["testcontainers"]
[policy.testcontainers]
kind = "conservative"
rules = "$E2E_LIB/../../../policies/testcontainers.toml"
X
cases=$E2E_LIB/../cases
python() { (mkdir "$1" && cd "$1" && exec "$E2E_PYTHON" "$cases/testcontainers-python.py"); }
node() { (mkdir "$1" && cd "$1" && exec node "$cases/testcontainers-node.mjs"); }
# one container that has the listener's socket and no other
ryuk_has_own() { d -H "$engine" inspect -f '{{json .HostConfig.Binds}}' $(d -H "$engine" ps -q --filter ancestor=ryuk:e2e) | grep -F "[\"$E2E_TMP/ci.sock:/var/run/docker.sock"; }
for client in python node; do
    direct=$(TESTCONTAINERS_RYUK_DISABLED=true $client "$client-direct" 2> /dev/null)
    export DOCKER_HOST=unix://$E2E_TMP/ci.sock
    TESTCONTAINERS_RYUK_DISABLED=false works "$direct" $client "$client-gate"
    works - ryuk_has_own
    works - d -H "$engine" rm -f $(d -H "$engine" ps -q --filter ancestor=ryuk:e2e)
    export DOCKER_HOST=$engine
done
