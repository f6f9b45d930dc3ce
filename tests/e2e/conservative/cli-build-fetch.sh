# What a Dockerfile makes the engine fetch is judged: nobody comes to a server inside.
. "$E2E_LIB/assert.sh"
export DOCKER_BUILDKIT=0
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
build() { printf "$1" | d build --no-cache -; }
refused build "FROM busybox\nADD http://$at/x /x\n"
refused build "FROM $at/x\n"
refused build "FROM busybox\nCOPY --from=$at/x /x /x\n"
refused build "FROM busybox\nONBUILD ADD http://$at/x /x\n"
refused build "ARG A=$at\nFROM \$A/x\n"
refused build "FROM busybox\nARG A=http://$at\nADD \$A /x\n"
mkdir ctx
printf 'FROM busybox\nADD http://%s/x /x\n' "$at" > ctx/other
printf 'FROM busybox AS one\nRUN echo kept > /f\nFROM busybox\nCOPY --from=one /f /f\nADD data /\n' > ctx/Dockerfile
echo data > ctx/data
refused d build -f ctx/other ctx
works - d build -t fetched ctx
works kept d run --rm fetched cat /f
tar -C ctx -czf ctx.tar.gz .
works - d build -t fetched - < ctx.tar.gz
works data d run --rm fetched cat /data
works - d rmi fetched
works /reached cat hits
