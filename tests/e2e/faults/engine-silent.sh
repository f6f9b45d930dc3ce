# e2e: engines=28
# The engine accepts connections and says nothing: 504; then it goes on and all is well.
. "$E2E_LIB/assert.sh"
works - d ps
pid=$(cat "$E2E_ENGINE_PID")
trap 'kill -CONT "$pid"; [ "$failures" = 0 ] || exit 1' EXIT
kill -STOP "$pid"
works 504 curl -s -m 120 -o body -w '%{http_code}' --unix-socket "$E2E_SOCK" http://engine/version
works - "$E2E_PYTHON" -c 'import json; assert json.load(open("body"))["message"].startswith("dockgate: "), open("body").read()'
kill -CONT "$pid"
works - d ps
works hello d run --rm busybox echo hello
