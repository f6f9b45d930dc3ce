# compose 1.29 under `--policy conservative`.
. "$E2E_LIB/assert.sh"
cat > docker-compose.yml <<'X'
version: "2.4"
services:
  web: {image: busybox, command: sh -c 'echo up; exec sleep 3000', init: true, volumes: ["data:/data"], stop_grace_period: 1s}
volumes: {data: {}}
X
c() { timeout -k 2 120 docker-compose --no-ansi -p k5 "$@"; }
works - c up -d
works hi c exec -T web echo hi
works - c logs
works - c down -v
cp "$E2E_LIB/three-services.yaml" docker-compose.yml
name() { d ps -q -f "label=com.docker.compose.service=$1"; }
c() { timeout -k 2 120 docker-compose --no-ansi -p k6 "$@"; }
. "$E2E_LIB/three-services.sh"
