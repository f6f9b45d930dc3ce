# The engine goes and comes back; the gateway stays.
. "$E2E_LIB/assert.sh"
works - d ps
# a stream that is open when the engine goes must end
timeout -k 2 300 "$DOCKER" events --filter type=volume > events 2>&1 &
events=$!
happens() { d volume create seen && d volume rm seen && grep -q seen events; }
eventually happens
works - bash "$E2E_ENGINE_CONTROL" stop
wait "$events"
rc=$?
works - test "$rc" != 124
fails '502|dockgate: ' d ps
works 502 curl -s -m 120 -o body -w '%{http_code}' --unix-socket "$E2E_SOCK" http://engine/_ping
works 502 curl -s -m 120 -o body -w '%{http_code}' --unix-socket "$E2E_SOCK" -X POST -H 'Content-Type: application/json' -d '{}' http://engine/containers/create
works - "$E2E_PYTHON" -c 'import json; assert json.load(open("body"))["message"].startswith("dockgate: "), open("body").read()'
works - bash "$E2E_ENGINE_CONTROL" start
works - d ps
works hello d run --rm busybox echo hello
