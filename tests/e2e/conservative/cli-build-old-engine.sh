# Engines below 24 have no source policy to hold a build by, and neither has the form in which CLIs below 23 ask for BuildKit: there
# the Dockerfile is judged on its way through the session, as it is for the classic builder.
# e2e: timeout=120
. "$E2E_LIB/assert.sh"
export BUILDKIT_PROGRESS=plain DOCKER_BUILDKIT=1
mkdir ctx
printf 'FROM busybox\nRUN id\n' > ctx/Dockerfile
case $E2E_CLI.$E2E_ENGINE in
    *.20.10 | 20.*) ;;
    *)
        works - d build ctx
        exit
        ;;
esac

host=10.66.$E2E_INDEX.1
python3 - "$host" > hits 2> served <<'PY' &
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

server = http.server.HTTPServer((sys.argv[1], 0), Handler)
print(server.server_port, file=sys.stderr, flush=True)
server.serve_forever()
PY
server=$!
trap 'kill "$server"; [ "$failures" = 0 ] || exit 1' EXIT
until [ -s served ]; do kill -0 "$server" || exit 1; done
at=$host:$(head -n 1 served)
works - curl -sf "http://$at/reached"

works - d build -t kept ctx
works - d build ctx
# the folder is the same and the engine has the files of before: what has changed is seen, and what has not is asked for again
build() { printf "$1" > ctx/Dockerfile; shift; d build --no-cache "$@" ctx; }
fails 'dockgate: Dockerfile:2: .*\(rule build.fetch\)' build "FROM busybox\nADD http://$at/x /x\n"
fails 'dockgate: Dockerfile:2: .*\(rule build.fetch\)' build "FROM busybox\nADD http://$at/x /x\n"
fails 'dockgate: Dockerfile:1: .*\(rule registry.host\)' build "FROM $at/x\n"
fails 'dockgate: Dockerfile:2: .*\(rule registry.host\)' build "FROM busybox\nCOPY --from=$at/x /x /x\n"
fails 'dockgate: Dockerfile:2: .*\(rule registry.host\)' build "FROM busybox\nRUN --mount=from=$at/x,target=/x id\n"
fails 'dockgate: Dockerfile:2: .*\(rule registry.host\)' build 'ARG B=busybox\nFROM $B\n' --build-arg "B=$at/x"
works - build 'ARG B\nFROM $B\n' --build-arg B=busybox
fails 'dockgate: Dockerfile:1: .*\(rule build.frontend\)' build '# syntax=docker/dockerfile:1\nFROM busybox\n'
fails 'dockgate: .*\(rule build\.' build 'FROM busybox\n' --build-arg BUILDKIT_SYNTAX=docker/dockerfile:1
printf 'FROM busybox\nADD http://%s/x /x\n' "$at" > ctx/other
fails '\(rule build.fetch\)' d build -f ctx/other ctx
printf '*\n!prod\n' > ctx/.dockerignore
printf 'FROM busybox\nCOPY prod /\n' > ctx/prod
ln -sf prod ctx/Dockerfile
works - d build ctx
from_stdin() { printf "$1" | d build -f - ctx; }
works - from_stdin 'FROM busybox\nRUN id\n'
fails '\(rule build.fetch\)' from_stdin "FROM busybox\nADD http://$at/x /x\n"
fails 'dockgate: ' d build "http://$at/x.git"
fails 'dockgate: ' d build "http://$at/x.tgz"
tar -C ctx -cf ctx.tar .
fails 'dockgate: ' d build - < ctx.tar
works /reached cat hits
works - d rmi kept
