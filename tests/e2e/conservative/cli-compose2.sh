# e2e: clis=28
# compose 2 under `--policy conservative`.
. "$E2E_LIB/assert.sh"
cat > compose.yaml <<'X'
name: k3
services:
  web: {image: busybox, command: sh -c 'echo up; exec sleep 3000', init: true, volumes: ["data:/data"], stop_grace_period: 1s}
volumes: {data: {}}
X
works - d compose up -d
works running d compose ps --format '{{.State}}'
works hi d compose exec -T web echo hi
works - d compose logs
works - d compose down -v
cat > compose.yaml <<'X'
name: k4
services:
  web: {image: busybox, command: sleep 3000, privileged: true}
X
refused d compose up -d
works - d compose down -v
cp "$E2E_LIB/three-services.yaml" compose.yaml
name() { d ps -q -f "label=com.docker.compose.service=$1"; }
c() { d compose --progress plain -p k7 "$@" 2>&1 | grep -v 'is obsolete' ; return "${PIPESTATUS[0]}"; }
. "$E2E_LIB/three-services.sh"
