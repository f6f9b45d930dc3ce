# e2e: engines=20.10,26,28,28-containerd
# compose 1.29 (docker-py 5): up, ps, logs, exec, run, down.
. "$E2E_LIB/case.sh"
mkdir p1
cat > p1/docker-compose.yml <<'X'
version: "2.4"
services:
  web:
    image: busybox
    command: sh -c 'echo web up; exec sleep 3000'
    init: true
    stop_grace_period: 1s
    environment: {A: "1"}
    volumes: ["data:/data"]
    depends_on: [db]
  db:
    build: .
    init: true
    command: sleep 3000
volumes: {data: {}}
X
printf 'FROM busybox\nRUN echo built > /built\n' > p1/Dockerfile
cd p1 || exit 1
c() { timeout -k 2 120 docker-compose --no-ansi -p p1 "$@"; }
export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0
t c up -d --build
t c ps
until_ok eval 'c logs web 2>&1 | grep -q "web up"'
t c logs --no-color web
t c exec -T web sh -c 'echo $A; exit 3'
t c exec -T db cat /built
t c run --rm -T --no-deps web sh -c 'echo once; exit 4' 2>&1 | grep -v '^! Creating' # its name is random
t c up -d
t c top web | awk '/sleep/ {print $NF}'
t c down -v -t 1 2>&1 | sort
