# e2e: netns=yes
# Testcontainers under `testcontainers.toml`, with a Ryuk that starts only if the socket it got is the listener's.
. "$E2E_LIB/gate.sh"
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
mkdir ryuk
cat > ryuk/Dockerfile << X
FROM busybox
EXPOSE 8080
ENV WANTED=$(stat -c %d:%i "$E2E_TMP/ci.sock")
CMD ["sh", "/start"]
COPY start /start
X
cat > ryuk/start << 'X'
[ "$(stat -c %d:%i /var/run/docker.sock)" = "$WANTED" ] || exit 1
(while :; do nc -l -p 8080 -e sh -c 'while read line; do echo ACK; done'; done) &
until grep -q ':1F90 .* 0A ' /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done
echo 2000/01/01 00:00:00 Started!
wait
X
export DOCKER_BUILDKIT=0
works - d build -t ryuk:e2e ryuk

# it is the listener's own, whatever a client takes for the engine's
works - d -H "unix://$E2E_TMP/ci.sock" create --name own -v /var/run/docker.sock:/s busybox
# (as a mount: of a bind the engine would make a directory where the socket is while dockgate does not run)
works "bind $E2E_TMP/ci.sock /s" d inspect -f '{{range .HostConfig.Mounts}}{{.Type}} {{.Source}} {{.Target}}{{end}}' own
refused d -H "unix://$E2E_TMP/ci.sock" create -v "${engine#unix://}:/s" busybox
refused d -H "unix://$E2E_TMP/ci.sock" create -v "$E2E_TMP:/s" busybox
works own d rm own

cases=$E2E_LIB/../cases
export RYUK_CONTAINER_IMAGE=ryuk:e2e TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE=/var/run/docker.sock
with_python() { (mkdir "$1" && cd "$1" && exec "$E2E_PYTHON" "$cases/testcontainers-python.py"); }
with_node() { (mkdir "$1" && cd "$1" && exec node "$cases/testcontainers-node.mjs"); }
ryuks() { d events --since "$1" --until "$(date +%s.%N)" --filter event=create --filter image=ryuk:e2e --format x; }
for client in python node; do
    direct=$("with_$client" "$client-direct" 2> /dev/null)
    since=$(date +%s.%N)
    TESTCONTAINERS_RYUK_DISABLED=false DOCKER_HOST=unix://$E2E_TMP/ci.sock works "$direct" "with_$client" "$client-gate"
    works x ryuks "$since"
done
