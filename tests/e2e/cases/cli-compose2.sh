# e2e: clis=28 conservative=20.10,26,28,28-containerd
# compose 2, the CLI's plugin: up, ps, logs, exec, run, down; build; a second up changes nothing.
. "$E2E_LIB/case.sh"
mkdir proj
cat > proj/compose.yaml <<'X'
name: p2
services:
  web:
    image: busybox
    command: sh -c 'echo web up; exec sleep 3000'
    init: true
    environment: {A: "1"}
    volumes: ["data:/data"]
    depends_on: {db: {condition: service_healthy}}
  db:
    build: {context: ., dockerfile_inline: "FROM busybox\nRUN echo built > /built"}
    command: sleep 3000
    init: true
    healthcheck: {test: ["CMD", "true"], interval: 1s}
volumes: {data: {}}
X
cd proj || exit 1
c() { d compose --ansi never --progress plain "$@"; }
# progress comes in any order and any number of times: only that each step was reached
steps() { t c "$@" 2>&1 | grep -E '^(! )? *(Container|Network|Volume) .*(Created|Started|Healthy|Removed|Stopped|Running)' | sed 's/^! *//; s/^ *//; s/  */ /g' | sort -u; }
steps up -d --build --quiet-pull
t c ps --format '{{.Service}} {{.State}}'
until_ok eval 'c logs web 2>&1 | grep -q "web up"'
t c logs --no-color web
t c exec -T web sh -c 'echo $A; ping -c 1 -W 30 db | grep -c received; exit 3'
printf abc | t c exec -T web cat
t c exec -T db cat /built
steps run --rm -T --no-deps web sh -c 'echo once; exit 4'
printf 'via run' | c run --rm -T --no-deps web cat 2> /dev/null; echo
steps up -d
t c top web | awk 'NR > 2 {print $NF}'
t c config --services | sort
t c images --format json | grep -o '"Repository":"[^"]*"' | sort -u
steps down -v -t 1
t d ps -aq
t d volume ls -q
